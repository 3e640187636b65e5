package urza

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// merge applies bySeed and returns what the row's capabilities are afterwards.
func merge(t *testing.T, library *Library, id string, bySeed map[string][]string) (allowed any, changed bool) {
	t.Helper()
	changed, err := library.MergeCapabilities(context.Background(), id, bySeed)
	if err != nil {
		t.Fatal(err)
	}
	record, err := library.Get(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	graph, _ := record.Extras["graph_metadata"].(map[string]any)
	capabilities, _ := graph["capabilities"].(map[string]any)
	return capabilities["allowed_parameters_by_seed_id"], changed
}

func saveWithGraph(t *testing.T, library *Library, id string, graph any) {
	t.Helper()
	extras := map[string]any{"graph_metadata": graph, "tags": []string{"kept"}}
	if _, err := library.Save(context.Background(), descriptor(id), []byte("kernel "+id), nil, extras); err != nil {
		t.Fatal(err)
	}
}

func TestMergeCapabilities(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		library := openTest(t, testConfig(t.TempDir()))
		saveWithGraph(t, library, "BP001", map[string]any{
			"source":       "tezzeret",
			"parameters":   []any{map[string]any{"name": "alpha"}, map[string]any{"name": "beta"}},
			"capabilities": map[string]any{"allowed_blending_methods": []string{"convex"}},
		})
		steps := []struct {
			bySeed  map[string][]string
			want    any
			changed bool
		}{
			{map[string][]string{"a": {"alpha", "beta"}}, map[string]any{"a": []any{"alpha", "beta"}}, true},
			{map[string][]string{"a": {"alpha", "beta"}}, map[string]any{"a": []any{"alpha", "beta"}}, false},
			{map[string][]string{"a": {"alpha", "gamma", "beta", "alpha"}}, map[string]any{"a": []any{"alpha", "beta"}}, false},
			{map[string][]string{"b": {"beta"}, "c": nil}, map[string]any{"b": []any{"beta"}, "c": []any{}}, true},
			{map[string][]string{"b": nil, "c": nil}, map[string]any{"b": []any{}, "c": []any{}}, true}, // revoked
			{nil, map[string]any{}, true},
			{nil, map[string]any{}, false},
		}
		for i, step := range steps {
			got, changed := merge(t, library, "BP001", step.bySeed)
			if diff := cmp.Diff(step.want, got); diff != "" || changed != step.changed {
				t.Errorf("step %d: changed %v\n%s", i, changed, diff)
			}
		}
		record, err := library.Get(context.Background(), "BP001")
		if err != nil {
			t.Fatal(err)
		}
		graph, _ := record.Extras["graph_metadata"].(map[string]any)
		capabilities, _ := graph["capabilities"].(map[string]any)
		if graph["source"] != "tezzeret" || capabilities["allowed_blending_methods"] == nil || record.Extras["tags"] == nil {
			t.Errorf("other keys were lost: %v", record.Extras)
		}
	})
}

func TestMergeCapabilitiesOfOddRows(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		library := openTest(t, testConfig(t.TempDir()))
		save(t, library, "BP001", "no graph metadata")
		if got, changed := merge(t, library, "BP001", map[string][]string{"a": {"x"}}); changed || got != nil {
			t.Errorf("without graph metadata: %v, %v", got, changed)
		}
		saveWithGraph(t, library, "BP002", `{"parameters": [{"name": "alpha", "max": Infinity}]}`) // JSON text
		if got, changed := merge(t, library, "BP002", map[string][]string{"a": {"alpha", "x"}}); !changed ||
			!cmp.Equal(got, map[string]any{"a": []any{"alpha"}}) {
			t.Errorf("JSON text: %v, %v", got, changed)
		}
		saveWithGraph(t, library, "BP003", map[string]any{}) // knows no names: all are kept
		got, _ := merge(t, library, "BP003", map[string][]string{"a": {"x"}})
		if !cmp.Equal(got, map[string]any{"a": []any{"x"}}) {
			t.Errorf("no known names: %v", got)
		}
		if _, err := library.MergeCapabilities(context.Background(), "BP404", nil); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		mustExec(t, library, insertRow, "BP005", "n", "BLUEPRINT_TIER_SAFE", "/a", "{")
		var unreadable *RowError
		if _, err := library.MergeCapabilities(context.Background(), "BP005", nil); !errors.As(err, &unreadable) {
			t.Error(err)
		}
	})
}

// Everything that is not ours to change comes back as the prototype wrote it.
func TestMergeKeepsWhatThePrototypeWrote(t *testing.T) {
	library := openPrototype(t)
	if _, changed := merge(t, library, "BP002", map[string][]string{"seed-1": {"scale"}}); !changed {
		t.Fatal("not written")
	}
	seen := readByPython(t, "var/urza/catalog.db", "BP002")
	if seen.Descriptor["a_later_field"] != 7.0 || seen.Extras["note"] != `the words NaN and "Infinity" in a string stay` {
		t.Errorf("%+v", seen)
	}
	if !cmp.Equal(seen.Extras["prewarm_samples"], []any{10.0, nil, 20.0, nil, 30.0}) {
		t.Errorf("samples: %v", seen.Extras["prewarm_samples"])
	}
}

// Read-modify-write of one record from several sides lost updates.
func TestMergeAndSaveDoNotOverwriteEachOther(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		cfg := testConfig(t.TempDir())
		libraries := []*Library{openTest(t, cfg), openTest(t, cfg)}
		saveWithGraph(t, libraries[0], "BP001", map[string]any{"source": "tezzeret"})
		var group sync.WaitGroup
		for writer := range 4 {
			group.Go(func() {
				for i := range 20 {
					bySeed := map[string][]string{fmt.Sprintf("seed-%d", writer): {fmt.Sprint(i)}}
					if _, err := libraries[writer%2].MergeCapabilities(context.Background(), "BP001", bySeed); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		record, err := libraries[0].Get(context.Background(), "BP001")
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(record.Extras["graph_metadata"])
		if err != nil || !strings.Contains(string(text), `"19"`) || !strings.Contains(string(text), "tezzeret") {
			t.Errorf("%s, %v", text, err)
		}
	})
}
