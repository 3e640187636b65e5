package outbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"

	_ "modernc.org/sqlite" // driver "sqlite"
)

// ErrFull: the outbox holds as many messages of a type as it may. Nothing was put.
var ErrFull = errors.New("outbox is full")

// Publisher is what an outbox drains to.
type Publisher interface {
	Publish(ctx context.Context, msgs ...oona.Message) error
}

// Config says where an outbox lies and what it may hold. Zero values take the
// default in brackets.
type Config struct {
	File     string        // SQLite file; its folder is created
	Capacity int           // messages of one type, so that no flood keeps the others out [10 000]
	Pause    time.Duration // before a failed publish is tried again, then doubling up to 4 times that [250 ms]
	Logger   *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Capacity = cmp.Or(max(c.Capacity, 0), 10_000)
	c.Pause = cmp.Or(max(c.Pause, 0), 250*time.Millisecond)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// Outbox is one file of waiting messages. It is safe for concurrent use.
type Outbox struct {
	cfg  Config
	db   *sql.DB
	file os.FileInfo // as it was opened
	wake chan struct{}
	// stored are messages that the bus has and the file still holds; Run's own.
	stored map[int64]bool
	moved  atomic.Pointer[time.Time] // when the bus took a message, or it was opened
	fault  atomic.Pointer[fault]     // nil while the file is as it should be
}

const schema = `CREATE TABLE IF NOT EXISTS outbox (
	seq INTEGER PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL UNIQUE,
	type INTEGER NOT NULL,
	priority INTEGER NOT NULL,
	stream TEXT NOT NULL,
	attributes TEXT NOT NULL,
	payload BLOB NOT NULL,
	put_ms INTEGER NOT NULL,
	refused TEXT
)`

// Open opens or creates the file. What an earlier process left in it is waiting.
func Open(ctx context.Context, cfg Config) (*Outbox, error) {
	cfg = cfg.withDefaults()
	if cfg.File == "" {
		return nil, errors.New("open outbox: no file is named")
	}
	if err := os.MkdirAll(filepath.Dir(cfg.File), 0o750); err != nil {
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	if err := regularfile.CheckDatabase(cfg.File); err != nil {
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	db, err := openDatabase(ctx, cfg.File)
	if err != nil {
		return nil, fmt.Errorf("open outbox %s: %w", cfg.File, err)
	}
	info, err := os.Stat(cfg.File)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open outbox: %w", err), db.Close())
	}
	o := &Outbox{cfg: cfg, db: db, file: info, wake: make(chan struct{}, 1), stored: make(map[int64]bool)}
	o.move()
	return o, nil
}

// move notes that a message has left.
func (o *Outbox) move() {
	now := time.Now()
	o.moved.Store(&now)
}

func openDatabase(ctx context.Context, file string) (*sql.DB, error) {
	// FULL: in WAL mode NORMAL may forget the last commits when the power fails.
	options := "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+options)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Close closes the file. Run must have returned before.
func (o *Outbox) Close() error {
	if err := o.db.Close(); err != nil {
		return fmt.Errorf("close outbox: %w", err)
	}
	return nil
}

// Put stores messages, all or none, and returns when they are on disk. One that
// names itself (Message.Once) and waits already is not put again. It fails with
// ErrFull when they do not fit, with oona.ErrNotPublishable for a payload
// that is no bus message, and when somebody has removed the file.
func (o *Outbox) Put(ctx context.Context, msgs ...oona.Message) error {
	if err := o.InPlace(); err != nil {
		return fmt.Errorf("put into outbox: %w", err)
	}
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("put into outbox: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing to roll back once committed
	if err := o.checkRoom(ctx, tx, msgs); err != nil {
		return fmt.Errorf("put into outbox: %w", err)
	}
	for _, m := range msgs {
		if err := insert(ctx, tx, m, time.Now()); err != nil {
			return fmt.Errorf("put into outbox: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("put into outbox: %w", err)
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return nil
}

// InPlace reports the want of the file that was opened: what is put into it is gone with the
// process.
func (o *Outbox) InPlace() error { return regularfile.Still(o.cfg.File, o.file) }

func (o *Outbox) checkRoom(ctx context.Context, tx *sql.Tx, msgs []oona.Message) error {
	news := make(map[leyline.BusMessageType]int)
	for _, m := range msgs {
		news[leyline.TypeOf(m.Payload)]++
	}
	for kind, count := range news {
		var waiting int
		const question = "SELECT COUNT(*) FROM outbox WHERE refused IS NULL AND type = ?"
		if err := tx.QueryRowContext(ctx, question, int32(kind)).Scan(&waiting); err != nil {
			return err
		}
		if waiting+count > o.cfg.Capacity {
			return fmt.Errorf("%w: %d of %s are waiting", ErrFull, waiting, kind)
		}
	}
	return nil
}

func insert(ctx context.Context, tx *sql.Tx, m oona.Message, now time.Time) error {
	kind := leyline.TypeOf(m.Payload)
	if leyline.NewMessage(kind) == nil {
		return fmt.Errorf("%w: %T", oona.ErrNotPublishable, m.Payload)
	}
	payload, err := proto.Marshal(m.Payload)
	if err != nil {
		return fmt.Errorf("encode %s: %w", kind, err)
	}
	attributes, err := json.Marshal(m.Attributes)
	if err != nil {
		return fmt.Errorf("encode attributes: %w", err)
	}
	if m.Once == "" {
		m.Once = rand.Text()
	}
	// One that the bus will never accept does not keep its name from another try.
	if _, err := tx.ExecContext(ctx, "DELETE FROM outbox WHERE name = ? AND refused IS NOT NULL", m.Once); err != nil {
		return err
	}
	const statement = `INSERT OR IGNORE INTO outbox (name, type, priority, stream, attributes, payload, put_ms)
		VALUES (?, ?, ?, ?, ?, ?, ?)`
	_, err = tx.ExecContext(ctx, statement, m.Once, int32(kind), int32(m.Priority), m.Stream, string(attributes),
		payload, now.UnixMilli())
	return err
}

// Oldest is since when the oldest message waits, and none has left: for as long the
// outbox stands still. It returns zero when nothing waits; while Run cannot read the file,
// or not write to it, since when and why.
func (o *Outbox) Oldest(ctx context.Context) (since time.Time, err error) {
	if failing := o.fault.Load(); failing != nil {
		return failing.since, failing.err
	}
	const query = "SELECT put_ms FROM outbox WHERE refused IS NULL ORDER BY seq LIMIT 1"
	var put int64
	err = o.db.QueryRowContext(ctx, query).Scan(&put)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("oldest of outbox: %w", err)
	}
	if moved := *o.moved.Load(); moved.After(time.UnixMilli(put)) {
		return moved, nil
	}
	return time.UnixMilli(put), nil
}

// Waiting counts the messages the bus has not stored yet, and those among the
// stored ones that it will never accept.
func (o *Outbox) Waiting(ctx context.Context) (waiting, refused int, err error) {
	const query = "SELECT COUNT(*), COUNT(refused) FROM outbox"
	if err := o.db.QueryRowContext(ctx, query).Scan(&waiting, &refused); err != nil {
		return 0, 0, fmt.Errorf("count outbox: %w", err)
	}
	return waiting - refused, refused, nil
}
