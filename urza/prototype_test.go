package urza

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

// openPrototype opens a copy of the golden library, from the prototype's working folder.
func openPrototype(t *testing.T) *Library {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/prototype")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	return openTest(t, Config{Revalidate: -1, SlowQuery: time.Minute}) // as for testConfig
}

func TestPrototypeCatalogueIsServed(t *testing.T) {
	library := openPrototype(t)
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	content := func(id string) string { return artifact.Checksum([]byte("PK\x03\x04 opaque kernel of " + id)) }
	const guard = "c0e3ed3adc7800b37bf6f90a7156046c87111dcef83232afad8a9e0addde055f"

	ready := wantReady(t, ask(t, prefetcher, "BP001"), content("BP001"))
	if ready.GetRequestId() != "prefetch-BP001" || filepath.Base(ready.GetArtifactRef()) != "BP001.pt" ||
		!filepath.IsAbs(ready.GetArtifactRef()) || ready.GetGuardDigest() != guard ||
		ready.GetPrewarmP50Ms() != 24 || ready.GetPrewarmP95Ms() != 24 {
		t.Errorf("BP001: %v", ready)
	}
	ready = wantReady(t, ask(t, prefetcher, "BP002"), content("BP002"))
	if ready.GetPrewarmP50Ms() != 20 || ready.GetPrewarmP95Ms() != 29 {
		t.Errorf("BP002 percentiles: %v", ready)
	}
	wantReady(t, ask(t, prefetcher, "BP003"), content("BP003")) // stored without a checksum
	wantReady(t, ask(t, prefetcher, "BP036"), content("BP036"))
	wantRefused(t, ask(t, prefetcher, "BP004"), "artifact_not_found")
	wantRefused(t, ask(t, prefetcher, "BP005"), "missing_artifact")
	wantRefused(t, ask(t, prefetcher, "BP006"), "missing_artifact")
	wantRefused(t, ask(t, prefetcher, "BP007"), "checksum_mismatch")
	wantRefused(t, ask(t, prefetcher, "BP999"), "missing_artifact")
}

func TestPrototypeRecordsAreRead(t *testing.T) {
	library := openPrototype(t)
	records, err := library.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, record := range records {
		ids = append(ids, record.Descriptor.GetBlueprintId())
	}
	if diff := cmp.Diff([]string{"BP001", "BP002", "BP003", "BP004", "BP007", "BP036"}, ids); diff != "" {
		t.Fatal(diff)
	}
	identity, projection, router := records[0], records[1], records[5]
	if identity.CompileMs != 12.5 || identity.PrewarmMs != 24 || identity.Bytes != 27 ||
		identity.Descriptor.GetRisk() != 0 {
		t.Errorf("BP001: %+v", identity)
	}
	if got := identity.Extras["tags"]; !cmp.Equal(got, []any{"Safe", "漢字"}) {
		t.Errorf("tags: %v", got)
	}
	if diff := cmp.Diff([]float64{10, 20, 30}, projection.PrewarmSamples); diff != "" {
		t.Error(diff)
	}
	if note := projection.Extras["note"]; note != `the words NaN and "Infinity" in a string stay` {
		t.Errorf("note: %v", note)
	}
	bounds := projection.Descriptor.GetAllowedParameters()["scale"]
	if projection.Descriptor.GetRisk() != 0.1 || bounds.GetMinValue() != 0.5 || bounds.GetMaxValue() != 2 {
		t.Errorf("BP002: %v", projection.Descriptor)
	}
	// The tier column wins over the JSON, which says SAFE.
	if router.Descriptor.GetTier() != leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL ||
		router.Descriptor.GetStage() != 3 {
		t.Errorf("BP036: %v", router.Descriptor)
	}
}

func TestStandInGuardDigest(t *testing.T) {
	record := Record{Descriptor: &leyline.BlueprintDescriptor{BlueprintId: "BP001", Tier: 1}}
	if got := record.announcedDigest(); got != "9a5eaf960ee82f238e3ac7bf673eb902f4759fc4efda61f491848649717fb49e" {
		t.Error(got)
	}
}

//go:embed testdata/read_catalogue.py
var readCatalogue string

// readByPython reads a row as the prototype would and returns what it saw.
func readByPython(t *testing.T, database, id string) (seen struct {
	Tier               string
	Descriptor, Extras map[string]any
}) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is needed to prove that the prototype can read our rows: ", err)
	}
	command := exec.Command(python, "-c", readCatalogue, database, id)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &seen); err != nil {
		t.Fatal(err)
	}
	return seen
}

func TestPythonReadsOurRows(t *testing.T) {
	dir := t.TempDir()
	library := openTest(t, testConfig(dir))
	update := &leyline.KernelCatalogUpdate{BlueprintId: "BP002", GuardDigest: "digest", CompileMs: 1.5, PrewarmMs: 0.25}
	extras := map[string]any{
		"tags": []string{"a"}, "worst": math.NaN(), "list": []float64{1, math.Inf(1)},
		"graph_metadata": map[string]any{"layers": []map[string]any{{"latency_ms": math.Inf(-1)}}},
		"checksum":       "forged", "guard_digest": "forged",
	}
	if _, err := library.Save(context.Background(), descriptor("BP002"), []byte("kernel"), update, extras); err != nil {
		t.Fatal(err)
	}
	seen := readByPython(t, filepath.Join(dir, "catalog.db"), "BP002")
	if mtime, ok := seen.Extras["artifact_mtime"].(float64); !ok || mtime < 1.7e9 {
		t.Errorf("artifact_mtime: %v", seen.Extras["artifact_mtime"])
	}
	delete(seen.Extras, "artifact_mtime")
	wantExtras := map[string]any{
		"checksum": artifact.Checksum([]byte("kernel")), "guard_digest": "digest", "compile_ms": 1.5, "prewarm_ms": 0.25,
		"prewarm_samples": []any{0.25}, "tags": []any{"a"}, "worst": nil, "list": []any{1.0, nil},
		"graph_metadata": map[string]any{"layers": []any{map[string]any{"latency_ms": nil}}},
	}
	if diff := cmp.Diff(wantExtras, seen.Extras); diff != "" {
		t.Error(diff)
	}
	wantDescriptor := map[string]any{
		"blueprint_id": "BP002", "name": "linear_projection", "tier": "BLUEPRINT_TIER_SAFE", "risk": 0.1, "stage": 2.0,
		"description":        "Linear <projection> 漢字",
		"allowed_parameters": map[string]any{"scale": map[string]any{"min_value": 0.5, "max_value": 2.0}},
	}
	if diff := cmp.Diff(wantDescriptor, seen.Descriptor); diff != "" || seen.Tier != "BLUEPRINT_TIER_SAFE" {
		t.Error(seen.Tier, diff)
	}
}

func TestDefaultValuesAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	library := openTest(t, testConfig(dir))
	plain := &leyline.BlueprintDescriptor{
		BlueprintId: "BP001", Name: "identity", Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE,
	}
	if _, err := library.Save(context.Background(), plain, []byte("kernel"), nil, nil); err != nil {
		t.Fatal(err)
	}
	seen := readByPython(t, filepath.Join(dir, "catalog.db"), "BP001")
	want := map[string]any{"blueprint_id": "BP001", "name": "identity", "tier": "BLUEPRINT_TIER_SAFE"}
	if diff := cmp.Diff(want, seen.Descriptor); diff != "" {
		t.Error(diff)
	}
	if seen.Extras["guard_digest"] != nil || !cmp.Equal(seen.Extras["prewarm_samples"], []any{}) {
		t.Errorf("extras: %v", seen.Extras)
	}
}

func TestUnreadableRowsAreErrNotFound(t *testing.T) {
	library := openPrototype(t)
	_, err := library.Get(context.Background(), "BP006")
	var unreadable *RowError
	if !errors.As(err, &unreadable) || unreadable.BlueprintID != "BP006" || !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if has(t, library, "BP006") {
		t.Error("a row that cannot be read counts as present: the forge would never heal it")
	}
	save(t, library, "BP006", "new kernel")
	if !has(t, library, "BP006") {
		t.Error("not healed")
	}
}
