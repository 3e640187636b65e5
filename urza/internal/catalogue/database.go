package catalogue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

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

// database is an open catalogue database with its tables up to date.
type database struct {
	*sql.DB
	dialect dialect
	where   string      // for messages: never with a password
	folder  string      // of the file; empty for a server
	file    os.FileInfo // as it was opened; nil for a server
}

// openDatabase opens the database that the URL names, and creates what is missing.
func openDatabase(ctx context.Context, databaseURL string) (*database, error) {
	switch scheme := schemeOf(databaseURL); scheme {
	case "postgres", "postgresql":
		return openPostgres(ctx, databaseURL)
	case "sqlite":
		file, err := databaseFile(databaseURL)
		if err != nil {
			return nil, err
		}
		return openSQLite(ctx, file)
	case "":
		return nil, errors.New("database URL: want sqlite:///path or postgres://host/name")
	default:
		// The URL is not repeated: it may hold a password.
		return nil, fmt.Errorf("%w: scheme %q (use sqlite:///path or postgres://host/name)", fault.ErrUnsupportedDatabase, scheme)
	}
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

// databaseFile turns a SQLite URL into the absolute path of its file. Query options
// mean nothing here and are dropped.
func databaseFile(databaseURL string) (string, error) {
	_, rest, _ := strings.Cut(databaseURL, "://")
	rest, _, _ = strings.Cut(rest, "?")
	path, found := strings.CutPrefix(rest, "/")
	if !found || path == "" || path == ":memory:" {
		return "", errors.New("database URL: names no file, want sqlite:///path")
	}
	return filepath.Abs(path)
}
