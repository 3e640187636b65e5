package urza

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// watchTimeout bounds one look at the database, whoever pays for it.
const watchTimeout = time.Second

// watcher notices that the catalogue changed, whichever process changed it. It
// keeps one connection, because SQLite's data_version only means something when
// it is compared on the same connection.
type watcher struct {
	db       *database
	interval time.Duration

	generation atomic.Uint64
	next       atomic.Int64 // by the library's clock

	mu      sync.Mutex
	conn    *sql.Conn
	version int64
}

// current is the catalogue's generation: it grows when something was committed.
// At most one caller per interval asks the database; the others go by what is
// known, so the answer is at most the interval and one question old.
func (w *watcher) current(ctx context.Context, now int64) (uint64, error) {
	if w.interval > 0 && (now < w.next.Load() || !w.mu.TryLock()) {
		return w.generation.Load(), nil
	}
	if w.interval <= 0 {
		w.mu.Lock()
	}
	defer w.mu.Unlock()
	err := w.look(ctx)
	w.next.Store(now + int64(w.interval))
	return w.generation.Load(), err
}

func (w *watcher) look(ctx context.Context) error {
	// The caller's impatience must not count against the connection all share.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), watchTimeout)
	defer cancel()
	version, err := w.ask(ctx)
	if err != nil {
		w.generation.Add(1) // unknown: look at each row again
		w.drop()
		return fmt.Errorf("watch catalogue: %w", err)
	}
	if version != w.version {
		w.version = version
		w.generation.Add(1)
	}
	return nil
}

func (w *watcher) ask(ctx context.Context) (version int64, err error) {
	if w.conn == nil {
		if w.conn, err = w.db.Conn(ctx); err != nil {
			return 0, err
		}
		w.generation.Add(1) // another connection counts from another number
	}
	err = w.conn.QueryRowContext(ctx, w.db.dialect.generation).Scan(&version)
	return version, err
}

func (w *watcher) drop() {
	if w.conn != nil {
		_ = w.conn.Close() // it is broken or no longer wanted; a new one is asked for
		w.conn = nil
	}
}

func (w *watcher) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop()
}
