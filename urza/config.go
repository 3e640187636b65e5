package urza

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"
)

// Config says where a library lives and how it behaves. The zero value of every
// field means its default.
type Config struct {
	// DatabaseURL in SQLAlchemy's form: sqlite:/// and a path, so three slashes for a
	// relative path and four for an absolute one. Default sqlite:///./var/urza/catalog.db.
	DatabaseURL string
	// ArtifactDir receives the artifacts. Default ./var/urza/artifacts.
	ArtifactDir string
	// CacheTTL bounds how long a record stays in memory; 0 keeps it. Files and rows
	// are never touched by it.
	CacheTTL time.Duration
	// CacheSize bounds the number of records in memory. Default 4096.
	CacheSize int
	// Revalidate is how long a record may be answered from memory without asking the
	// database whether anything changed. Default 10 ms; negative asks every time.
	Revalidate time.Duration
	// SlowQuery: a look-up slower than this counts as a breaker failure. Default 250 ms.
	SlowQuery time.Duration
	// BreakerFailures in a row open the breaker. Default 3.
	BreakerFailures uint32
	// BreakerOpen is how long an open breaker refuses before it probes. Default 30 s.
	BreakerOpen time.Duration
	// Logger; nil discards.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.DatabaseURL = orDefault(c.DatabaseURL, "sqlite:///./var/urza/catalog.db")
	c.ArtifactDir = orDefault(c.ArtifactDir, "./var/urza/artifacts")
	c.CacheSize = orDefault(c.CacheSize, 4096)
	c.Revalidate = orDefault(c.Revalidate, 10*time.Millisecond)
	c.SlowQuery = orDefault(c.SlowQuery, 250*time.Millisecond)
	c.BreakerFailures = orDefault(c.BreakerFailures, 3)
	c.BreakerOpen = orDefault(c.BreakerOpen, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// databaseFile turns a database URL into the absolute path of a SQLite file.
// SQLAlchemy's driver suffix (sqlite+pysqlite) and query options mean nothing here
// and are dropped. The URL of a server is not echoed: it may hold a password.
func databaseFile(databaseURL string) (string, error) {
	scheme, rest, found := strings.Cut(databaseURL, "://")
	scheme, _, _ = strings.Cut(scheme, "+")
	switch {
	case !found:
		return "", fmt.Errorf("database URL %q: want sqlite:///path", databaseURL)
	case scheme == "postgres" || scheme == "postgresql":
		return "", fmt.Errorf("%w: %s (use sqlite:///path)", ErrUnsupportedDatabase, scheme)
	case scheme != "sqlite":
		return "", fmt.Errorf("%w: scheme %q (use sqlite:///path)", ErrUnsupportedDatabase, scheme)
	}
	rest, _, _ = strings.Cut(rest, "?")
	path, found := strings.CutPrefix(rest, "/")
	if !found || path == "" || path == ":memory:" {
		return "", fmt.Errorf("database URL %q: names no file, want sqlite:///path", databaseURL)
	}
	return filepath.Abs(path)
}
