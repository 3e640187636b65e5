package catalogue

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/pgtest"
)

// server is one Postgres for all tests, with a schema for each catalogue.
var server *pgtest.Server

func TestMain(m *testing.M) {
	var err error
	if server, err = pgtest.Launch(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}))
}

// onEachDatabase opens an empty catalogue in each.
func onEachDatabase(t *testing.T, test func(t *testing.T, c *Catalogue)) {
	t.Run("sqlite", func(t *testing.T) { test(t, openTest(t, "sqlite:///"+filepath.Join(t.TempDir(), "catalog.db"))) })
	t.Run("postgres", func(t *testing.T) { test(t, openTest(t, newSchema(t))) })
}

var schemas atomic.Int64

func newSchema(t *testing.T) string {
	t.Helper()
	db, err := sql.Open("pgx", server.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	schema := fmt.Sprint("t_", schemas.Add(1))
	if _, err := db.Exec("CREATE SCHEMA " + schema); err != nil {
		t.Fatal(err)
	}
	return server.URL(schema)
}

func openTest(t *testing.T, url string) *Catalogue {
	t.Helper()
	c, err := Open(t.Context(), Config{URL: url, MaxVariants: 2, Slow: 1 << 40, Failures: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
