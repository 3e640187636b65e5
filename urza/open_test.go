package urza

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

func TestOpenSaysWhatIsWrong(t *testing.T) {
	file := func(t *testing.T, path, content string) {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name    string
		prepare func(t *testing.T, dir string) Config
		fault   string
	}{
		{"not a database", func(t *testing.T, dir string) Config {
			file(t, filepath.Join(dir, "catalog.db"), strings.Repeat("these are notes, not a catalogue\n", 100))
			return testConfig(dir)
		}, "not a database"},
		{"somebody else's table", func(t *testing.T, dir string) Config {
			db, err := sql.Open("sqlite", filepath.Join(dir, "catalog.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec("CREATE TABLE blueprints (id INTEGER PRIMARY KEY)"); err != nil {
				t.Fatal(err)
			}
			return testConfig(dir)
		}, "blueprints table"},
		{"catalogue is a folder", func(t *testing.T, dir string) Config {
			if err := os.Mkdir(filepath.Join(dir, "catalog.db"), 0o755); err != nil {
				t.Fatal(err)
			}
			return testConfig(dir)
		}, "catalog.db"},
		{"artifact folder below a file", func(t *testing.T, dir string) Config {
			file(t, filepath.Join(dir, "artifacts"), "")
			return testConfig(dir)
		}, "artifact folder"},
		{"catalogue folder below a file", func(t *testing.T, dir string) Config {
			file(t, filepath.Join(dir, "db"), "")
			cfg := testConfig(dir)
			cfg.DatabaseURL = "sqlite:///" + filepath.Join(dir, "db", "catalog.db")
			return cfg
		}, "catalogue folder"},
		{"unwritable folder", func(_ *testing.T, dir string) Config {
			cfg := testConfig(dir)
			cfg.ArtifactDir = "/proc/urza" // not even root may write there
			return cfg
		}, "artifact folder"},
		{"no URL", databaseURL("var/catalog.db"), "want sqlite:///path"},
		{"another server", databaseURL("mysql://u:hunter2@db/urza"), `not supported: scheme "mysql"`},
		{"nobody listens", databaseURL("postgres://u:hunter2@127.0.0.1:1/urza"), "postgres 127.0.0.1:1/urza"},
		{"nobody listens, for Python", databaseURL("postgresql+psycopg://u:hunter2@127.0.0.1:1/urza"), "connect"},
		{"not escaped", databaseURL("postgres://u:hunter2%zz@127.0.0.1:1/urza"), "special characters escaped"},
		{"odd option", databaseURL("postgres://u:hunter2@127.0.0.1:1/urza?sslmode=perhaps"), "sslmode"},
		{"no signing key", func(_ *testing.T, dir string) Config {
			cfg := testConfig(dir)
			cfg.SigningKeyFile = filepath.Join(dir, "none.key")
			return cfg
		}, "signing key"},
		{"no trusted key", func(_ *testing.T, dir string) Config {
			cfg := testConfig(dir)
			cfg.TrustedKeys = []string{"RWnonsense"}
			return cfg
		}, "trusted key"},
		{"no bucket", artifactURL("s3://"), "want s3://bucket/prefix"},
		{"credentials in the URL", artifactURL("s3://key:hunter2@bucket"), "credentials apart"},
		{"odd endpoint", artifactURL("s3://bucket?endpoint=ftp://host"), "endpoint"},
		{"dead endpoint", artifactURL("s3://bucket?endpoint=http://127.0.0.1:1"), "artifact store"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			library, err := Open(context.Background(), test.prepare(t, t.TempDir()))
			if err == nil {
				_ = library.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), test.fault) || !strings.HasPrefix(err.Error(), "urza: ") ||
				strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q does not name %q", err, test.fault)
			}
		})
	}
}

func TestPathsWithOddCharactersAreJustPaths(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "odd #%20&_pragma=x é")
	library := openTest(t, testConfig(dir))
	save(t, library, "BP001", "kernel")
	if _, err := os.Stat(filepath.Join(dir, "catalog.db")); err != nil {
		t.Fatal(err)
	}
	wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), artifact.Checksum([]byte("kernel")))
}

func TestManyOpenAtOnce(t *testing.T) {
	cfg := testConfig(t.TempDir())
	errs := make(chan error)
	for range 8 {
		go func() {
			library, err := Open(context.Background(), cfg)
			if err == nil {
				err = library.Close()
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestClosedLibraryIsUnavailable(t *testing.T) {
	ctx := context.Background()
	library := openTest(t, testConfig(t.TempDir()))
	save(t, library, "BP001", "kernel")
	if _, err := library.Get(ctx, "BP001"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := library.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, get := library.Get(ctx, "BP001")
	_, list := library.List(ctx)
	_, has := library.Has(ctx, "BP001")
	_, maintain := library.Maintain(ctx)
	_, merge := library.MergeCapabilities(ctx, "BP001", nil)
	_, saved := library.Save(ctx, descriptor("BP001"), []byte("x"), nil, nil)
	for i, err := range []error{get, list, has, maintain, merge, saved, library.Verify(ctx, "BP001")} {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("operation %d: %v, want ErrUnavailable", i, err)
		}
	}
}

func databaseURL(url string) func(*testing.T, string) Config {
	return func(_ *testing.T, dir string) Config {
		cfg := testConfig(dir)
		cfg.DatabaseURL = url
		return cfg
	}
}

func artifactURL(url string) func(*testing.T, string) Config {
	return func(_ *testing.T, dir string) Config {
		cfg := testConfig(dir)
		cfg.ArtifactURL = url
		return cfg
	}
}

func TestManyOpenOneServerAtOnce(t *testing.T) {
	cfg := postgresConfigFor(t)(t.TempDir())
	errs := make(chan error)
	for range 8 {
		go func() {
			library, err := Open(context.Background(), cfg)
			if err == nil {
				err = library.Close()
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
