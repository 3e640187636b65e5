package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite" // driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
)

// connections bounds the pool: readers beside the one writer and a watcher.
const connections = 6

// openSQLite opens, or creates, the file and brings its tables up to date.
func (cfg *Config) openSQLite(ctx context.Context, file string) (*DB, error) {
	if err := atomicfile.Writable(filepath.Dir(file), ".save-*.tmp"); err != nil {
		return nil, fmt.Errorf("%s folder: %w", cfg.What, err)
	}
	if err := errors.Join(regularfile.CheckDatabase(file), regularfile.Check(lockOf(file))); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.What, err)
	}
	db, err := sql.Open("sqlite", dataSource(file))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", cfg.What, file, err)
	}
	bound(db)
	if err := cfg.prepareSQLite(ctx, db, file); err != nil {
		_ = db.Close() // the reason it is unusable matters more
		return nil, fmt.Errorf("%s %s: %w", cfg.What, file, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", cfg.What, err), db.Close())
	}
	return &DB{DB: db, Where: file, Folder: filepath.Dir(file), file: info}, nil
}

// lockOf is the file that only one process migrates with.
func lockOf(file string) string { return file + ".lock" }

func bound(db *sql.DB) {
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
}

// Doubt closes the connections that may have cached what is damaged in the file, if that is
// what the error tells of. They would not see that it was mended: only a commit tells them to
// read it again.
func (d *DB) Doubt(err error) {
	failure, isSQLite := errors.AsType[*sqlite.Error](err)
	if !isSQLite {
		return
	}
	switch failure.Code() & 0xff { // without what is beside the primary code
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR:
		d.SetMaxIdleConns(0)
		bound(d.DB)
	}
}

// InPlace reports the want of the file that was opened: what is committed without it is
// gone with the process, and a new connection would make an empty one beside its journal.
func (d *DB) InPlace() error {
	if d.file == nil {
		return nil
	}
	return regularfile.Still(d.Where, d.file)
}

// dataSource is the driver's name for the file. WAL lets readers and one writer
// work side by side, also across processes. synchronous is FULL because in WAL
// mode NORMAL may forget the last commits when the power fails, and what was
// announced or acknowledged must not be forgotten. Transactions take the write lock
// at once, so that a read-modify-write never has to be given up half way.
func dataSource(file string) string {
	options := "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	return "file:" + (&url.URL{Path: file}).EscapedPath() + "?" + options
}

func (cfg *Config) prepareSQLite(ctx context.Context, db *sql.DB, file string) error {
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	return cfg.migrateSQLite(ctx, db, lockOf(file))
}
