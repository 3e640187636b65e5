package urza

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/pgtest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

// random steers TestRandomKills.
var random struct {
	kills int
	seed  uint64
}

func TestMain(m *testing.M) {
	flag.IntVar(&random.kills, "kills", 15, "kill -9 of a process that saves and scrubs, on each database")
	flag.Uint64Var(&random.seed, "seed", 1, "seed of the moments of those kills")
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := sharedPostgres.close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}))
}

// sharedPostgres is one server for all tests, started by the first that needs it.
var sharedPostgres postgresServer

type postgresServer struct {
	once   sync.Once
	server *pgtest.Server
	err    error
}

func (s *postgresServer) close() error {
	if s.server == nil {
		return nil
	}
	return s.server.Close()
}

// configFor returns the configuration of the library below a folder.
type configFor func(dir string) Config

// databases are what every test of the library's behaviour runs on.
var databases = []struct {
	name   string
	config func(t testing.TB) configFor
}{
	{"sqlite", func(testing.TB) configFor { return testConfig }},
	{"postgres", postgresConfigFor},
}

func onEachDatabase(t *testing.T, test func(t *testing.T, config configFor)) {
	for _, database := range databases {
		t.Run(database.name, func(t *testing.T) { test(t, database.config(t)) })
	}
}

// postgresConfigFor gives each folder a schema of its own on the shared server.
func postgresConfigFor(t testing.TB) configFor {
	t.Helper()
	s := &sharedPostgres
	s.once.Do(func() { s.server, s.err = pgtest.Launch() })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return func(dir string) Config {
		cfg := testConfig(dir)
		cfg.DatabaseURL = schemaURL(t, s.server, "t_"+artifact.Checksum([]byte(dir))[:20])
		return cfg
	}
}

func schemaURL(t testing.TB, server *pgtest.Server, schema string) string {
	t.Helper()
	db, err := sql.Open("pgx", server.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE SCHEMA IF NOT EXISTS " + schema); err != nil {
		t.Fatal(err)
	}
	return server.URL(schema)
}

// testConfig is a library below dir that asks the database on every read, so that
// no test has to wait for memory to be revalidated.
func testConfig(dir string) Config {
	return Config{
		DatabaseURL: "sqlite:///" + filepath.Join(dir, "catalog.db"), // dir is absolute: four slashes
		ArtifactDir: filepath.Join(dir, "artifacts"),
		Revalidate:  -1,
		SlowQuery:   time.Minute, // a busy machine is no failing database
	}
}

func openTest(t testing.TB, cfg Config) *Library {
	t.Helper()
	library, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	databaseURLs.Store(library, cfg.DatabaseURL)
	t.Cleanup(func() {
		if err := library.Close(); err != nil {
			t.Error(err)
		}
	})
	return library
}

const insertRow = `INSERT INTO blueprints (blueprint_id, name, tier, artifact_path, metadata_json) VALUES ($1, $2, $3, $4, $5)`

// fataler is a test, also one of package rapid.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// databaseURLs are those of the open libraries, for those who look behind them.
var databaseURLs sync.Map

// database is a connection of somebody else's to the database of a library.
func database(t fataler, library *Library) *sql.DB {
	t.Helper()
	value, _ := databaseURLs.Load(library)
	url, _ := value.(string)
	driver := "pgx"
	if path, found := strings.CutPrefix(url, "sqlite:///"); found {
		driver, url = "sqlite", "file:"+path+"?_pragma=busy_timeout(5000)"
	}
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func mustExec(t fataler, library *Library, query string, args ...any) {
	t.Helper()
	db := database(t, library)
	defer db.Close()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
}

// mustScan reads one value.
func mustScan(t fataler, library *Library, value any, query string) {
	t.Helper()
	db := database(t, library)
	defer db.Close()
	if err := db.QueryRow(query).Scan(value); err != nil {
		t.Fatal(err)
	}
}

func descriptor(id string) *leyline.BlueprintDescriptor {
	return &leyline.BlueprintDescriptor{
		BlueprintId: id, Name: "linear_projection", Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE,
		Risk: 0.1, Stage: 2, Description: "Linear <projection> 漢字",
		AllowedParameters: map[string]*leyline.BlueprintParameterBounds{"scale": {MinValue: 0.5, MaxValue: 2}},
	}
}

func save(t testing.TB, library *Library, id, content string) *leyline.KernelCatalogUpdate {
	t.Helper()
	update := &leyline.KernelCatalogUpdate{BlueprintId: id, GuardDigest: "guard-" + id, PrewarmMs: 24, CompileMs: 3}
	saved, err := library.Save(context.Background(), descriptor(id), []byte(content), update, nil)
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

func ask(t testing.TB, prefetcher *Prefetcher, id string) proto.Message {
	t.Helper()
	request := &leyline.KernelPrefetchRequest{RequestId: "prefetch-" + id, BlueprintId: id, TrainingRunId: "run-1"}
	answer, _, err := prefetcher.Answer(context.Background(), request, nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func wantReady(t testing.TB, answer proto.Message, checksum string) *leyline.KernelArtifactReady {
	t.Helper()
	ready, ok := answer.(*leyline.KernelArtifactReady)
	if !ok {
		t.Fatalf("answer %v, want ready", answer)
	}
	if ready.GetChecksum() != checksum {
		t.Fatalf("announced checksum %s, want %s", ready.GetChecksum(), checksum)
	}
	return ready
}

func wantRefused(t testing.TB, answer proto.Message, reason string) {
	t.Helper()
	refused, ok := answer.(*leyline.KernelArtifactError)
	if !ok || refused.GetReason() != reason {
		t.Fatalf("answer %v, want refusal %s", answer, reason)
	}
}

// flipBit damages a file in place, as a failing disk does.
func flipBit(t testing.TB, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func has(t testing.TB, library *Library, id string) bool {
	t.Helper()
	found, err := library.Has(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
