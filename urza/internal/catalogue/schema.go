package catalogue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/esper-lite/weatherlight/internal/regularfile"
)

// Schema is the state of a catalogue, as found without changing it.
type Schema struct {
	Where   string // the file, or the server and database
	Exists  bool   // there is a catalogue; Open makes one
	Version int64  // of its tables; 0 is none, or the prototype's
	Wanted  int64  // that this program works with; Open brings older tables up to it
}

// Current reports whether Open has nothing to bring up to date.
func (s Schema) Current() bool { return s.Exists && s.Version == s.Wanted }

// Inspect looks at the catalogue that a URL names, without making or changing anything.
func Inspect(ctx context.Context, databaseURL string) (Schema, error) {
	wanted, err := newestMigration()
	if err != nil {
		return Schema{}, err
	}
	db, schema, err := openForLook(databaseURL)
	if err != nil || db == nil {
		schema.Wanted = wanted
		return schema, err
	}
	defer db.Close()
	schema.Wanted = wanted
	if err := db.PingContext(ctx); err != nil {
		return schema, fmt.Errorf("catalogue %s: %w", schema.Where, err)
	}
	schema.Version, schema.Exists, err = readVersion(ctx, db)
	if err != nil {
		return schema, fmt.Errorf("catalogue %s: %w", schema.Where, err)
	}
	return schema, nil
}

// openForLook opens a catalogue without a right to write; db is nil when there is
// none.
func openForLook(databaseURL string) (db *sql.DB, schema Schema, err error) {
	if schemeOf(databaseURL) != "sqlite" {
		config, err := postgresConfig(databaseURL)
		if err != nil {
			return nil, schema, err
		}
		config.RuntimeParams["default_transaction_read_only"] = "on"
		schema.Where = fmt.Sprintf("postgres %s:%d/%s", config.Host, config.Port, config.Database)
		return stdlib.OpenDB(*config), schema, nil
	}
	file, err := databaseFile(databaseURL)
	if err != nil {
		return nil, schema, err
	}
	schema.Where = file
	if err := regularfile.CheckDatabase(file); err != nil {
		return nil, schema, fmt.Errorf("catalogue: %w", err)
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, schema, nil
	}
	db, err = sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+lookOptions(file))
	if err != nil {
		return nil, schema, fmt.Errorf("catalogue %s: %w", file, err)
	}
	return db, schema, nil
}

// lookOptions keep a look from leaving files beside the catalogue, as even a
// reader does. Without a journal there nobody has it open.
func lookOptions(file string) string {
	if _, err := os.Stat(file + "-wal"); errors.Is(err, fs.ErrNotExist) {
		return "?mode=ro&immutable=1"
	}
	return "?mode=ro&_pragma=busy_timeout(2000)"
}

// readVersion reads the version that the migrations noted. Without their table
// the catalogue is the prototype's, or is none.
func readVersion(ctx context.Context, db *sql.DB) (version int64, exists bool, err error) {
	query := fmt.Sprintf("SELECT COALESCE(MAX(version_id), 0) FROM urza_schema_version WHERE version_id < %d", postgresWatchVersion)
	noted := db.QueryRowContext(ctx, query).Scan(&version)
	if noted == nil {
		return version, true, nil
	}
	err = checkTable(ctx, db, selectPrototype)
	if err == nil {
		return 0, true, nil
	}
	if isMissingTable(err) {
		return 0, false, nil
	}
	return 0, false, err
}

// isMissingTable recognises the words of both databases.
func isMissingTable(err error) bool {
	return strings.Contains(err.Error(), "no such table") || strings.Contains(err.Error(), "SQLSTATE 42P01")
}

// newestMigration is the version that the migrations shared by all databases
// lead to.
func newestMigration() (newest int64, err error) {
	entries, err := fs.ReadDir(migrations, "migrations")
	if err != nil {
		return 0, fmt.Errorf("migrations: %w", err)
	}
	for _, entry := range entries {
		number, _, _ := strings.Cut(entry.Name(), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("migration %s: %w", entry.Name(), err)
		}
		newest = max(newest, version)
	}
	return newest, nil
}
