package catalogue

import (
	"fmt"
	"os"
	"path/filepath"
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
	t.Run("postgres", func(t *testing.T) { test(t, openTest(t, server.NewSchema(t))) })
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
