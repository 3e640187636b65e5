package runstore

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/internal/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

var (
	// ErrNotFound: the store has no such run, or the run no such seed.
	ErrNotFound = errors.New("not in the store")
	// ErrExists: a run that is imported is there already.
	ErrExists = errors.New("run is in the store already")
)

// Config says where a store is and how much it keeps. Zero values take the default in
// brackets.
type Config struct {
	URL       string           // sqlite:///path or postgres://user:password@host/name
	Retention time.Duration    // age at which what is kept is removed [30 days]
	MostBytes int64            // size from which the oldest runs make room [1 GiB]
	Series    int              // last values that those who share it tell each other [20,000]
	SeriesTTL time.Duration    // one that was not heard of for so long is forgotten [15 min]
	Now       func() time.Time // by the clock by which messages are dated [this machine's]
}

// Store is an open store. It is safe for concurrent use, also by several processes on one
// database.
type Store struct {
	db     *database.DB
	each   string        // the rows of the JSON list that is the first argument
	writer chan struct{} // held by whoever writes: waiting for it costs less than SQLite's own polling
	heard  string        // when a seed was heard of last, to the second, of its record
	lock   string        // the first statement of a transaction that writes; empty where beginning one is enough
	config Config

	looked time.Time                       // at the clock, of who tidies up
	begun  map[string]Sighting[unfinished] // imports that were not done, of who tidies up, by their runs

	mu      sync.Mutex
	head    int64         // newest place known
	changed chan struct{} // closed when head has grown
}

// Open opens the database, creates what is missing, and brings its tables up to date.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg.Retention = cmp.Or(max(cfg.Retention, 0), 30*24*time.Hour)
	cfg.MostBytes = cmp.Or(max(cfg.MostBytes, 0), 1<<30)
	cfg.Series = cmp.Or(max(cfg.Series, 0), 20_000)
	cfg.SeriesTTL = cmp.Or(max(cfg.SeriesTTL, 0), 15*time.Minute)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	db, err := database.Open(ctx, database.Config{
		URL: cfg.URL, Name: "nissa", What: "store of runs", Migrations: files,
		SQLite: map[int64]database.Change{
			1001: changes("CREATE TABLE nissa_seen (" + seenColumns + ") WITHOUT ROWID"), 1002: changes(seenIndex),
		},
		Postgres: map[int64]database.Change{
			1001: changes("CREATE TABLE nissa_seen ("+seenColumns+")", widen("reports"), widen("events")), 1002: changes(seenIndex),
			1003: changes(widen("unjudged")),
		},
	})
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, writer: make(chan struct{}, 1), config: cfg, changed: make(chan struct{})}
	s.each, s.heard = "json_each($1)", "SUBSTR(record->>'last_at', 1, 19)"
	if db.Postgres {
		s.each = "jsonb_array_elements($1::jsonb) AS t(value)"
		s.heard = "SUBSTR(record::jsonb->>'last_at', 1, 19)"
		s.lock = "SELECT pg_advisory_xact_lock(hashtext('nissa'), hashtext(current_schema()))"
	}
	if err := s.Refresh(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// seenColumns are those of the marks by which messages that were taken in are known. What
// is told at one time lies together.
const seenColumns = "made BIGINT NOT NULL, hash BIGINT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (made, hash)"

// seenIndex is by what marks are forgotten.
const seenIndex = "CREATE INDEX nissa_seen_at ON nissa_seen (at)"

// widen makes keys of 64 bits, which SQLite's INTEGER has.
func widen(table string) string {
	return "ALTER TABLE nissa_" + table + " ALTER COLUMN seq TYPE BIGINT"
}

func changes(statements ...string) database.Change {
	return func(ctx context.Context, tx *sql.Tx) error {
		for _, statement := range statements {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("tables of one kind of database: %w", err)
			}
		}
		return nil
	}
}

// Close releases the database.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close store of runs: %w", err)
	}
	return nil
}

// Where is the file, or the server and the database.
func (s *Store) Where() string { return s.db.Where }

// Ping asks for a sign of life.
func (s *Store) Ping(ctx context.Context) error { return s.Refresh(ctx) }

// Writable returns nil when a transaction that changes nothing gets to the disk, which one on
// a full disk does not.
func (s *Store) Writable(ctx context.Context) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE nissa_clock SET number = number")
		return err
	})
}

// writeTimeout bounds a transaction in a database that hangs.
const writeTimeout = 30 * time.Second

// write runs one transaction in which nobody else writes, in this process or another.
func (s *Store) write(ctx context.Context, change func(context.Context, *sql.Tx) error) error {
	select {
	case s.writer <- struct{}{}:
		defer func() { <-s.writer }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := s.db.InPlace(); err != nil {
		return fmt.Errorf("store of runs: %w", err)
	}
	err := s.transact(ctx, change)
	s.db.Doubt(err)
	return err
}

func (s *Store) transact(ctx context.Context, change func(context.Context, *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("store of runs: begin: %w", err)
	}
	if s.lock != "" {
		_, err = tx.ExecContext(ctx, s.lock)
	}
	if err == nil {
		err = change(ctx, tx)
	}
	if err != nil {
		if undone := tx.Rollback(); undone != nil && !errors.Is(undone, sql.ErrTxDone) {
			err = errors.Join(err, undone)
		}
		return fmt.Errorf("store of runs: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("store of runs: commit: %w", err)
	}
	return nil
}

// Refresh looks whether another process has written.
func (s *Store) Refresh(ctx context.Context) error {
	head, err := first(look(ctx, s, scanInteger, "SELECT number FROM nissa_clock"))
	if err == nil {
		s.advance(head)
	}
	return err
}

func (s *Store) advance(head int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if head > s.head {
		s.head = head
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// Head is the newest place that is known, and a channel that is closed when there is a
// newer one.
func (s *Store) Head() (int64, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, s.changed
}
