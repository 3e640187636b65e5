package catalogue

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
	gooseDatabase "github.com/pressly/goose/v3/database"

	"modernc.org/sqlite" // driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// connections bounds the pool: readers beside the one writer and the watcher.
const connections = 6

// openSQLite opens, or creates, the file and brings its tables up to date.
func openSQLite(ctx context.Context, file string) (*database, error) {
	if err := atomicfile.Writable(filepath.Dir(file), ".save-*.tmp"); err != nil {
		return nil, fmt.Errorf("catalogue folder: %w", err)
	}
	if err := regularfile.CheckDatabase(file); err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	db, err := sql.Open("sqlite", dataSource(file))
	if err != nil {
		return nil, fmt.Errorf("catalogue %s: %w", file, err)
	}
	bound(db)
	if err := prepareSQLite(ctx, db, file); err != nil {
		_ = db.Close() // the reason it is unusable matters more
		return nil, fmt.Errorf("catalogue %s: %w", file, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("catalogue: %w", err), db.Close())
	}
	return &database{DB: db, dialect: sqliteDialect, where: file, folder: filepath.Dir(file), file: info}, nil
}

func bound(db *sql.DB) {
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
}

// doubt closes the connections that may have cached what is damaged in the file. They would
// not see that it was mended: only a commit tells them to read it again.
func (d *database) doubt(err error) {
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

// inPlace reports the want of the file that was opened: what is committed without it is
// gone with the process, and a new connection would make an empty one beside its journal.
func (d *database) inPlace() error {
	if d.file == nil {
		return nil
	}
	if err := regularfile.Still(d.where, d.file); err != nil {
		return fmt.Errorf("%w: %w", fault.ErrUnavailable, err)
	}
	return nil
}

// dataSource is the driver's name for the file. WAL lets readers and one writer
// work side by side, also across processes. synchronous is FULL because in WAL
// mode NORMAL may forget the last commits when the power fails, and a save that
// was announced must not be forgotten: an imported artifact cannot be compiled
// again. Transactions take the write lock at once, so that a read-modify-write
// never has to be given up half way.
func dataSource(file string) string {
	options := "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	return "file:" + (&url.URL{Path: file}).EscapedPath() + "?" + options
}

func prepareSQLite(ctx context.Context, db *sql.DB, file string) error {
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err := migrateSQLite(ctx, db, file+".lock"); err != nil {
		return err
	}
	return checkTable(ctx, db, selectRows)
}

// lockRetry is the pause before the lock of another process is asked for again.
const lockRetry = 20 * time.Millisecond

// migrateSQLite brings the tables up to date, one process at a time.
func migrateSQLite(ctx context.Context, db *sql.DB, lockFile string) error {
	if err := regularfile.Check(lockFile); err != nil {
		return fmt.Errorf("migration lock: %w", err)
	}
	lock := flock.New(lockFile, flock.SetPermissions(0o644))
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return fmt.Errorf("migration lock: %w", err)
	}
	return errors.Join(migrate(ctx, db, gooseDatabase.DialectSQLite3), lock.Close())
}

// migrate applies the migrations that all databases share, and those given for one.
func migrate(ctx context.Context, db *sql.DB, dialect gooseDatabase.Dialect, own ...*goose.Migration) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	store, err := gooseDatabase.NewStore(dialect, "urza_schema_version")
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	provider, err := goose.NewProvider("", db, files,
		goose.WithStore(store), goose.WithDisableGlobalRegistry(true),
		goose.WithAllowOutofOrder(true), // one database's own are numbered above the shared ones
		goose.WithGoMigrations(own...))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		if foreign := checkTable(ctx, db, selectPrototype); foreign != nil {
			return foreign // says more than the migration that stumbled over it
		}
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// checkTable refuses a database whose blueprints table is somebody else's.
func checkTable(ctx context.Context, db *sql.DB, query string) error {
	rows, err := db.QueryContext(ctx, query+" LIMIT 0")
	if err != nil {
		return fmt.Errorf("blueprints table: %w", err)
	}
	defer rows.Close()
	return rows.Err()
}
