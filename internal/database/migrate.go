package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
	gooseDatabase "github.com/pressly/goose/v3/database"
)

// lockRetry is the pause before the lock of another process is asked for again.
const lockRetry = 20 * time.Millisecond

// migrateSQLite brings the tables up to date, one process at a time.
func (cfg *Config) migrateSQLite(ctx context.Context, db *sql.DB, lockFile string) error {
	lock := flock.New(lockFile, flock.SetPermissions(0o644))
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return fmt.Errorf("migration lock: %w", err)
	}
	return errors.Join(cfg.migrate(ctx, db, gooseDatabase.DialectSQLite3, cfg.SQLite), lock.Close())
}

// migratePostgres does so under a lock of the server, which belongs to the schema that the
// tables are in.
func (cfg *Config) migratePostgres(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	name := cfg.Name + " migration"
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock(hashtext($1), hashtext(current_schema()))", name); err != nil {
		return fmt.Errorf("migration lock: %w", err)
	}
	err = cfg.migrate(ctx, db, gooseDatabase.DialectPostgres, cfg.Postgres)
	// Also when the boot was given up: the lock belongs to a connection of the pool.
	_, unlocked := conn.ExecContext(context.WithoutCancel(ctx),
		"SELECT pg_advisory_unlock(hashtext($1), hashtext(current_schema()))", name)
	if err == nil && unlocked != nil {
		err = fmt.Errorf("migration unlock: %w", unlocked)
	}
	return err
}

// migrate applies the migrations that both kinds share, and those given for one.
func (cfg *Config) migrate(ctx context.Context, db *sql.DB, dialect gooseDatabase.Dialect, own map[int64]Change) error {
	var changes []*goose.Migration
	for number, change := range own {
		changes = append(changes, goose.NewGoMigration(number, &goose.GoFunc{RunTx: change}, nil))
	}
	store, err := gooseDatabase.NewStore(dialect, cfg.Name+"_schema_version")
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	provider, err := goose.NewProvider("", db, cfg.Migrations,
		goose.WithStore(store), goose.WithDisableGlobalRegistry(true),
		goose.WithAllowOutofOrder(true), // one database's own are numbered above the shared ones
		goose.WithGoMigrations(changes...))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		if foreign := cfg.Foreign(ctx, db); foreign != nil {
			return foreign // says more than the migration that stumbled over it
		}
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}
