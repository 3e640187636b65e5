package catalogue

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	gooseDatabase "github.com/pressly/goose/v3/database"
)

// connectTimeout bounds a connection to a server that does not answer, unless the
// URL says otherwise.
const connectTimeout = 5 * time.Second

// migrationLock keeps two processes from migrating one server at a time. Like the
// writers' lock it belongs to the schema that the tables are in.
const (
	lockMigration   = "SELECT pg_advisory_lock(hashtext('urza migration'), hashtext(current_schema()))"
	unlockMigration = "SELECT pg_advisory_unlock(hashtext('urza migration'), hashtext(current_schema()))"
)

// openPostgres connects to the server and brings its tables up to date.
func openPostgres(ctx context.Context, databaseURL string) (*database, error) {
	config, err := postgresConfig(databaseURL)
	if err != nil {
		return nil, err
	}
	where := fmt.Sprintf("postgres %s:%d/%s", config.Host, config.Port, config.Database)
	db := stdlib.OpenDB(*config)
	bound(db)
	if err := preparePostgres(ctx, db); err != nil {
		_ = db.Close() // the reason it is unusable matters more
		return nil, fmt.Errorf("catalogue %s: %w", where, err)
	}
	return &database{DB: db, dialect: postgresDialect, where: where}, nil
}

// postgresConfig reads the URL. Its own words never appear in the error: they may
// hold a password.
func postgresConfig(databaseURL string) (*pgx.ConnConfig, error) {
	_, rest, _ := strings.Cut(databaseURL, "://")
	plain := "postgres://" + rest // without SQLAlchemy's driver suffix
	if _, err := url.Parse(plain); err != nil {
		return nil, errors.New("database URL: want postgres://user:password@host:port/name, with special characters escaped")
	}
	config, err := pgx.ParseConfig(plain)
	if err != nil {
		return nil, withoutURL(err)
	}
	config.ConnectTimeout = cmp.Or(config.ConnectTimeout, connectTimeout)
	return config, nil
}

// withoutURL keeps of an error what does not come from the URL: a masked one may still hold
// a password, under a name that the driver does not know.
func withoutURL(err error) error {
	text := err.Error()
	if at := strings.LastIndex(text, "`: "); at >= 0 {
		text = text[at+len("`: "):]
	}
	text, _, _ = strings.Cut(text, " (")
	if missing, is := errors.AsType[*fs.PathError](err); is {
		return fmt.Errorf("database URL: %s: %w", text, missing)
	}
	if cause := errors.Unwrap(err); cause != nil && !strings.ContainsAny(cause.Error(), ":\"'`=@") {
		text += ": " + cause.Error() // one that repeats a value does so behind one of these
	}
	return errors.New("database URL: " + text)
}

func preparePostgres(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, lockMigration); err != nil {
		return fmt.Errorf("migration lock: %w", err)
	}
	err = migrate(ctx, db, gooseDatabase.DialectPostgres,
		goose.NewGoMigration(postgresWatchVersion, &goose.GoFunc{RunTx: watchChanges}, nil),
		goose.NewGoMigration(postgresWatchVersion+1, &goose.GoFunc{RunTx: watchVariants}, nil))
	// Also when the boot was given up: the lock belongs to a connection of the pool.
	if _, unlocked := conn.ExecContext(context.WithoutCancel(ctx), unlockMigration); err == nil && unlocked != nil {
		err = fmt.Errorf("migration unlock: %w", unlocked)
	}
	if err != nil {
		return err
	}
	return checkTable(ctx, db, selectRows)
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
