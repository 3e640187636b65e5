package urza

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

// leaveUnfinished writes the prototype's journal of one save, and the artifact
// unless it has no content.
func leaveUnfinished(t *testing.T, dir, artifact, text string) {
	t.Helper()
	if artifact != "" {
		if err := os.WriteFile(filepath.Join(dir, "BP040.pt"), []byte(artifact), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "urza_wal.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func journalOf(dir, extras string) string {
	return fmt.Sprintf(`{"artifact_path": %q, "blueprint_id": "BP040", "descriptor": {"blueprint_id": "BP040",
		"name": "differentiable_nas", "stage": 5, "approval_required": true}%s}`, filepath.Join(dir, "BP040.pt"), extras)
}

// serviceConfig is that of the one service of a library.
func serviceConfig(dir string) Config {
	config := testConfig(dir)
	config.FinishSaves = true
	return config
}

func TestStaleSaveOfThePrototypeDoesNotReplaceANewerKernel(t *testing.T) {
	dir := t.TempDir()
	leaveUnfinished(t, dir, "old kernel", journalOf(dir, ""))
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "urza_wal.json"), long, long); err != nil {
		t.Fatal(err)
	}
	newer := save(t, openTest(t, testConfig(dir)), "BP040", "new kernel")
	library := openTest(t, serviceConfig(dir))
	wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP040"), newer.GetChecksum())
	if _, err := os.Stat(filepath.Join(dir, "urza_wal.json.unusable")); err != nil {
		t.Errorf("the evidence: %v", err)
	}
}

func TestToolThatOnlyLooksFinishesNoSaveOfThePrototype(t *testing.T) {
	dir := t.TempDir()
	leaveUnfinished(t, dir, "kernel", journalOf(dir, ""))
	wantRefused(t, ask(t, NewPrefetcher(openTest(t, testConfig(dir)), PrefetchConfig{}), "BP040"), "missing_artifact")
	if _, err := os.Stat(filepath.Join(dir, "urza_wal.json")); err != nil {
		t.Errorf("the prototype's own file: %v", err)
	}
}

func TestSaveThatThePrototypeDiedInIsBroughtToItsEnd(t *testing.T) {
	const kernel = "PK opaque"
	for name, extras := range map[string]string{
		"with extras":    fmt.Sprintf(`, "extras": {"checksum": %q, "compile_ms": NaN, "tags": ["NAS"]}`, artifact.Checksum([]byte(kernel))),
		"without extras": "",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			leaveUnfinished(t, dir, kernel, journalOf(dir, extras))
			library := openTest(t, serviceConfig(dir))
			record, err := library.Get(context.Background(), "BP040")
			if err != nil {
				t.Fatal(err)
			}
			d := record.Descriptor
			if d.GetTier() != leyline.BlueprintTier_BLUEPRINT_TIER_SAFE || d.GetStage() != 5 || !d.GetApprovalRequired() {
				t.Errorf("descriptor %v", d)
			}
			wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP040"), artifact.Checksum([]byte(kernel)))
			if left, err := filepath.Glob(filepath.Join(dir, "urza_wal*")); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestUnfinishedSaveOfNoUseDoesNotStopTheStart(t *testing.T) {
	for name, leave := range map[string]func(dir string) (artifact, text string){
		"no artifact":   func(dir string) (string, string) { return "", journalOf(dir, "") },
		"torn":          func(dir string) (string, string) { return "k", journalOf(dir, "")[:60] },
		"not an object": func(string) (string, string) { return "k", `["BP040"]` },
		"no blueprint":  func(string) (string, string) { return "k", `{"artifact_path": "BP040.pt"}` },
		"no path":       func(string) (string, string) { return "k", `{"blueprint_id": "BP040"}` },
		"bad descriptor": func(dir string) (string, string) {
			return "k", fmt.Sprintf(`{"blueprint_id": "BP040", "artifact_path": %q, "descriptor": 7}`, filepath.Join(dir, "BP040.pt"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sound := save(t, openTest(t, testConfig(dir)), "BP001", "sound")
			artifact, text := leave(dir)
			leaveUnfinished(t, dir, artifact, text)
			for range 2 { // and it is not tried again for ever
				library := openTest(t, serviceConfig(dir))
				wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), sound.GetChecksum())
				wantRefused(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP040"), "missing_artifact")
			}
			kept, err := os.ReadFile(filepath.Join(dir, "urza_wal.json.unusable"))
			if err != nil || string(kept) != text {
				t.Errorf("the evidence is %q, %v", kept, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "urza_wal.json")); err == nil {
				t.Error("it is tried at every start")
			}
		})
	}
}
