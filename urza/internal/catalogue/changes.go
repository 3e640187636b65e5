package catalogue

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// watchTimeout bounds one question to the database, whoever pays for it.
const watchTimeout = time.Second

// Changes notices that the catalogue changed, whichever process changed it. It
// keeps one connection, because SQLite's data_version only means something when
// it is compared on the same connection.
type Changes struct {
	db       *catalogueDatabase
	interval time.Duration

	generation atomic.Uint64
	next       atomic.Int64 // by the clock of those who ask

	mu      sync.Mutex
	conn    *sql.Conn
	version int64
}

// Current is the catalogue's generation: it grows when something was committed. now is
// in nanoseconds, by a clock that only goes forward. At most one caller per interval asks the database; the others go by what is
// known, so the answer is at most the interval and one question old.
func (c *Changes) Current(ctx context.Context, now int64) (uint64, error) {
	if c.interval > 0 && (now < c.next.Load() || !c.mu.TryLock()) {
		return c.generation.Load(), nil
	}
	if c.interval <= 0 {
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	err := c.sample(ctx)
	c.next.Store(now + int64(c.interval))
	return c.generation.Load(), err
}

// Known is the generation as it was last seen; nobody is asked.
func (c *Changes) Known() uint64 { return c.generation.Load() }

func (c *Changes) sample(ctx context.Context) error {
	// The caller's impatience must not count against the connection all share.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), watchTimeout)
	defer cancel()
	version, err := c.ask(ctx)
	if err != nil {
		c.generation.Add(1) // unknown: look at each row again
		c.drop()
		return fmt.Errorf("watch catalogue: %w", err)
	}
	if version != c.version {
		c.version = version
		c.generation.Add(1)
	}
	return nil
}

func (c *Changes) ask(ctx context.Context) (version int64, err error) {
	if c.conn == nil {
		if c.conn, err = c.db.Conn(ctx); err != nil {
			return 0, err
		}
		c.generation.Add(1) // another connection counts from another number
	}
	err = c.conn.QueryRowContext(ctx, c.db.dialect.generation).Scan(&version)
	return version, err
}

func (c *Changes) drop() {
	if c.conn != nil {
		_ = c.conn.Close() // it is broken or no longer wanted; a new one is asked for
		c.conn = nil
	}
}

func (c *Changes) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}
