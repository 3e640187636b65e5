// Package database opens an SQL database by its URL, SQLite in a file or a PostgreSQL
// server, and brings its tables up to date, one process at a time. What the tables mean is
// the caller's.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/esper-lite/weatherlight/internal/regularfile"
)

// ErrUnsupported: the URL names a kind of server that cannot be used.
var ErrUnsupported = errors.New("database not supported")

// Change is a migration that is no text.
type Change = func(context.Context, *sql.Tx) error

// Config says where a database is and what its tables are.
type Config struct {
	// URL is sqlite:///path or postgres://user:password@host/name.
	URL  string
	Name string // of the owner: of its locks, and of its table <name>_schema_version
	What string // what the database holds, for messages

	Migrations fs.FS // numbered .sql files that both kinds understand
	// Those of a file and of a server alone, numbered above the others.
	SQLite, Postgres map[int64]Change
	// Foreign says in what a database whose migration failed is somebody else's, or nil.
	Foreign func(context.Context, *sql.DB) error
}

// DB is an open database.
type DB struct {
	*sql.DB
	Postgres bool   // a server, not a file
	Where    string // for messages: never with a password
	Folder   string // of the file; empty for a server

	file os.FileInfo // as it was opened; nil for a server
}

// Open opens the database, creates what is missing, and applies the migrations.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Foreign == nil {
		cfg.Foreign = func(context.Context, *sql.DB) error { return nil }
	}
	switch scheme := schemeOf(cfg.URL); scheme {
	case "postgres", "postgresql":
		return cfg.openPostgres(ctx)
	case "sqlite":
		file, err := fileOf(cfg.URL)
		if err != nil {
			return nil, err
		}
		return cfg.openSQLite(ctx, file)
	case "":
		return nil, errors.New("database URL: want sqlite:///path or postgres://host/name")
	default:
		// The URL is not repeated: it may hold a password.
		return nil, fmt.Errorf("%w: scheme %q (use sqlite:///path or postgres://host/name)", ErrUnsupported, scheme)
	}
}

// Look opens a database without a right to write and without making anything; its DB is
// nil when there is no file.
func Look(databaseURL string) (*DB, error) {
	if schemeOf(databaseURL) != "sqlite" {
		config, err := postgresConfig(databaseURL)
		if err != nil {
			return nil, err
		}
		config.RuntimeParams["default_transaction_read_only"] = "on"
		return &DB{DB: stdlib.OpenDB(*config), Postgres: true, Where: whereOf(config)}, nil
	}
	file, err := fileOf(databaseURL)
	if err != nil {
		return nil, err
	}
	found := &DB{Where: file, Folder: filepath.Dir(file)}
	if err := errors.Join(regularfile.CheckDatabase(file), regularfile.Check(lockOf(file))); err != nil {
		return found, err
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if found.DB, err = sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+lookOptions(file)); err != nil {
		return found, fmt.Errorf("%s: %w", file, err)
	}
	return found, nil
}

// lookOptions keep a look from leaving files beside the database, as even a
// reader does. Without a journal there nobody has it open.
func lookOptions(file string) string {
	if _, err := os.Stat(file + "-wal"); errors.Is(err, fs.ErrNotExist) {
		return "?mode=ro&immutable=1"
	}
	return "?mode=ro&_pragma=busy_timeout(2000)"
}

// schemeOf is a URL's scheme without SQLAlchemy's driver suffix (sqlite+pysqlite),
// which means nothing here; empty when there is none.
func schemeOf(databaseURL string) string {
	scheme, _, found := strings.Cut(databaseURL, "://")
	if !found {
		return ""
	}
	scheme, _, _ = strings.Cut(scheme, "+")
	return scheme
}

// fileOf turns a SQLite URL into the absolute path of its file. Query options
// mean nothing here and are dropped.
func fileOf(databaseURL string) (string, error) {
	_, rest, _ := strings.Cut(databaseURL, "://")
	rest, _, _ = strings.Cut(rest, "?")
	path, found := strings.CutPrefix(rest, "/")
	if !found || path == "" || path == ":memory:" {
		return "", errors.New("database URL: names no file, want sqlite:///path")
	}
	return filepath.Abs(path)
}
