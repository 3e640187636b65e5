package catalogue

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/esper-lite/weatherlight/internal/database"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// ErrUnsupportedDatabase is urza's error of that name.
var ErrUnsupportedDatabase = database.ErrUnsupported

// dialect is what the two databases say differently. Everything else is one text.
type dialect struct {
	// byID orders rows by the bytes of their blueprint id.
	byID string
	// byVariant orders the rows of variants likewise.
	byVariant string
	// lock is the first statement of a writing transaction: from then on nobody else
	// writes. Empty where beginning one is enough.
	lock string
	// generation is a number that changes with every commit to the catalogue.
	generation string
}

var (
	sqliteDialect = dialect{
		byID: " ORDER BY b.blueprint_id", byVariant: " ORDER BY v.blueprint_id, v.variant",
		// It only means something when it is compared on one connection.
		generation: "PRAGMA data_version",
	}
	postgresDialect = dialect{
		byID:       ` ORDER BY b.blueprint_id COLLATE "C"`,
		byVariant:  ` ORDER BY v.blueprint_id COLLATE "C", v.variant COLLATE "C"`,
		lock:       "SELECT pg_advisory_xact_lock(hashtext('urza'), hashtext(current_schema()))",
		generation: "SELECT number FROM urza_generation",
	}
)

//go:embed migrations/*.sql
var migrations embed.FS

// catalogueDatabase is an open catalogue database with its tables up to date.
type catalogueDatabase struct {
	*database.DB
	dialect dialect
}

// openDatabase opens the database that the URL names, and creates what is missing.
func openDatabase(ctx context.Context, databaseURL string) (*catalogueDatabase, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	db, err := database.Open(ctx, database.Config{
		URL: databaseURL, Name: "urza", What: "catalogue", Migrations: files,
		Postgres: map[int64]database.Change{postgresWatchVersion: watchChanges, postgresWatchVersion + 1: watchVariants},
		Foreign:  func(ctx context.Context, db *sql.DB) error { return checkTable(ctx, db, selectPrototype) },
	})
	if err != nil {
		return nil, err
	}
	if err := checkTable(ctx, db.DB, selectRows); err != nil {
		return nil, errors.Join(fmt.Errorf("catalogue %s: %w", db.Where, err), db.Close())
	}
	opened := &catalogueDatabase{DB: db, dialect: sqliteDialect}
	if db.Postgres {
		opened.dialect = postgresDialect
	}
	return opened, nil
}

// inPlace reports the want of the file that was opened.
func (d *catalogueDatabase) inPlace() error {
	if err := d.InPlace(); err != nil {
		return fmt.Errorf("%w: %w", fault.ErrUnavailable, err)
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

// postgresWatchVersion is far above the versions of the shared migrations.
const postgresWatchVersion = 1001

// watchChanges counts commits, whoever makes them, as SQLite does by itself. The
// counter is a row and no sequence, because a sequence would be seen to move
// before the change itself can be seen.
func watchChanges(ctx context.Context, tx *sql.Tx) error {
	statements := []string{
		`CREATE TABLE urza_generation (number BIGINT NOT NULL)`,
		`INSERT INTO urza_generation VALUES (1)`,
		`CREATE FUNCTION urza_advance() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS
			$$ BEGIN UPDATE urza_generation SET number = number + 1; RETURN NULL; END $$`,
	}
	for _, table := range []string{"blueprints", "urza_quarantine", "urza_reviews"} {
		statements = append(statements, `CREATE TRIGGER urza_watch AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON `+
			table+` FOR EACH STATEMENT EXECUTE FUNCTION urza_advance()`)
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("watch changes: %w", err)
		}
	}
	return nil
}

// watchVariants counts what changes a variant. That one was used does not.
func watchVariants(ctx context.Context, tx *sql.Tx) error {
	statement := `CREATE TRIGGER urza_watch AFTER INSERT OR DELETE OR TRUNCATE
		OR UPDATE OF name, tier, artifact_path, metadata_json, quarantined_at
		ON urza_variants FOR EACH STATEMENT EXECUTE FUNCTION urza_advance()`
	if _, err := tx.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("watch variants: %w", err)
	}
	return nil
}
