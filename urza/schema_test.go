package urza

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLookAtTheSchemaChangesNothing(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		cfg := config(t.TempDir())
		before, err := InspectSchema(t.Context(), cfg.DatabaseURL)
		if err != nil || before.Exists || before.Current() || before.Where == "" {
			t.Fatalf("before there is a catalogue: %+v, %v", before, err)
		}
		again, err := InspectSchema(t.Context(), cfg.DatabaseURL)
		if err != nil || again != before {
			t.Fatalf("the look made %+v, %v", again, err)
		}
		library, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer library.Close()
		if after, err := InspectSchema(t.Context(), cfg.DatabaseURL); err != nil || !after.Current() {
			t.Errorf("an open catalogue: %+v, %v", after, err)
		}
	})
}

func TestSchemaOfSomethingElseIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "catalog.db")
	if err := os.WriteFile(file, []byte("no database at all, only this text in its place"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"sqlite:///" + file, "sqlite:///", "postgres://127.0.0.1:1/none?connect_timeout=2"} {
		if schema, err := InspectSchema(t.Context(), url); err == nil {
			t.Errorf("%s: %+v", url, schema)
		}
	}
}
