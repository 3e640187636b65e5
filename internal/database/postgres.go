package database

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// connectTimeout bounds a connection to a server that does not answer, unless the
// URL says otherwise.
const connectTimeout = 5 * time.Second

// openPostgres connects to the server and brings its tables up to date.
func (cfg *Config) openPostgres(ctx context.Context) (*DB, error) {
	config, err := postgresConfig(cfg.URL)
	if err != nil {
		return nil, err
	}
	where := whereOf(config)
	db := stdlib.OpenDB(*config)
	bound(db)
	if err := cfg.migratePostgres(ctx, db); err != nil {
		_ = db.Close() // the reason it is unusable matters more
		return nil, fmt.Errorf("%s %s: %w", cfg.What, where, err)
	}
	return &DB{DB: db, Postgres: true, Where: where}, nil
}

func whereOf(config *pgx.ConnConfig) string {
	return fmt.Sprintf("postgres %s:%d/%s", config.Host, config.Port, config.Database)
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
