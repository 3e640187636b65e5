package urza

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/pgtest"
	"github.com/esper-lite/weatherlight/leyline"
)

// A server that goes away must not look like missing kernels, and nobody has to
// restart the service when it is back.
func TestPostgresThatComesBackIsUsedAgain(t *testing.T) {
	ctx := context.Background()
	server := pgtest.Start(t)
	cfg := testConfig(t.TempDir())
	cfg.DatabaseURL = server.URL("")
	cfg.BreakerOpen = 50 * time.Millisecond
	library := openTest(t, cfg)
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	hot := save(t, library, "BP001", "hot")
	cold := save(t, library, "BP002", "cold")
	settledFile(t, hot.GetArtifactRef())
	wantReady(t, ask(t, prefetcher, "BP001"), hot.GetChecksum())

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		request := &leyline.KernelPrefetchRequest{RequestId: "r", BlueprintId: "BP002"}
		if answer, _, err := prefetcher.Answer(ctx, request, nil); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("answered %v, %v", answer, err)
		}
		if _, err := library.Has(ctx, "BP002"); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
	wantReady(t, ask(t, prefetcher, "BP001"), hot.GetChecksum())
	if _, err := library.Save(ctx, descriptor("BP003"), []byte("new"), nil, nil); err == nil {
		t.Fatal("saved without a database")
	}

	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for err := library.Verify(ctx, "BP002"); err != nil; err = library.Verify(ctx, "BP002") {
		if time.Now().After(deadline) {
			t.Fatal("does not come back: ", err)
		}
	}
	wantReady(t, ask(t, prefetcher, "BP002"), cold.GetChecksum())
	save(t, library, "BP003", "new")
}

// The prototype writes the same table through SQLAlchemy: its rows are seen as soon
// as our own, and a table that it made is taken over.
func TestAnotherProgramsRowsInPostgresAreSeen(t *testing.T) {
	cfg := postgresConfigFor(t)(t.TempDir())
	python, err := sql.Open("pgx", cfg.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer python.Close()
	_, err = python.Exec(`CREATE TABLE blueprints (blueprint_id VARCHAR NOT NULL PRIMARY KEY, name VARCHAR NOT NULL,
		tier VARCHAR NOT NULL, artifact_path VARCHAR NOT NULL, metadata_json TEXT NOT NULL)`)
	if err != nil {
		t.Fatal(err)
	}
	library := openTest(t, cfg)
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	wantRefused(t, ask(t, prefetcher, "BP001"), "missing_artifact")
	saved := save(t, library, "BP002", "kernel")
	_, err = python.Exec(`INSERT INTO blueprints VALUES ('BP001', 'n', 'BLUEPRINT_TIER_SAFE', $1, '{"_urza":{}}')`,
		saved.GetArtifactRef())
	if err != nil {
		t.Fatal(err)
	}
	wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
	if _, err := python.Exec(`DELETE FROM blueprints WHERE blueprint_id = 'BP001'`); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, ask(t, prefetcher, "BP001"), "missing_artifact")
}
