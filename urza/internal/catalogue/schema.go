package catalogue

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/internal/database"
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
	db, err := database.Look(databaseURL)
	if db == nil {
		return Schema{Wanted: wanted}, err
	}
	schema := Schema{Where: db.Where, Wanted: wanted}
	if err != nil {
		return schema, fmt.Errorf("catalogue: %w", err)
	}
	if db.DB == nil {
		return schema, nil
	}
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return schema, fmt.Errorf("catalogue %s: %w", schema.Where, err)
	}
	schema.Version, schema.Exists, err = readVersion(ctx, db.DB)
	if err == nil && schema.Current() {
		err = checkTable(ctx, db.DB, selectRows) // as Open does
	}
	if err != nil {
		return schema, fmt.Errorf("catalogue %s: %w", schema.Where, err)
	}
	return schema, nil
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
