package urza

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
	"github.com/esper-lite/weatherlight/urza/internal/metadata"
)

func TestRowsComeBackAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &leyline.BlueprintDescriptor{
			BlueprintId: rapid.StringN(1, 20, -1).Filter(catalogue.Storable).Draw(t, "id"), Name: rapid.String().Draw(t, "name"),
			Tier:           leyline.BlueprintTier(rapid.Int32Range(0, 3).Draw(t, "tier")),
			Risk:           rapid.Float32().Draw(t, "risk"),
			Stage:          rapid.Uint32().Draw(t, "stage"),
			QuarantineOnly: rapid.Bool().Draw(t, "quarantine"), Description: rapid.String().Draw(t, "description"),
			AllowedParameters: map[string]*leyline.BlueprintParameterBounds{
				rapid.String().Draw(t, "parameter"): {MinValue: rapid.Float64().Draw(t, "min"), MaxValue: math.Inf(1)},
			},
		}
		extras := map[string]any{rapid.String().Draw(t, "key"): rapid.Float64().Draw(t, "value"), "checksum": "ABC"}
		text, err := metadata.Encode(want, extras)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid([]byte(text)) {
			t.Fatalf("no JSON: %s", text)
		}
		record, err := decode(catalogue.Row{
			ID: want.GetBlueprintId(), Name: want.GetName(), Tier: want.GetTier().String(), Path: "/a", Metadata: text,
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, record.Descriptor, protocmp.Transform()); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(extras, record.Extras); diff != "" || record.Checksum != "abc" {
			t.Fatal(diff, record.Checksum)
		}
	})
}

// A row is either read or reported, and what was read can be written again.
func FuzzDecodeRow(f *testing.F) {
	f.Add("BP001", "BLUEPRINT_TIER_SAFE", `{"blueprint_id":"BP001","risk":0.1,"_urza":{"prewarm_samples":[1,NaN]}}`)
	f.Add("BP002", "2", `{`)
	f.Add("BP003", "BLUEPRINT_TIER_HIGH_RISK", `{"_urza":{"graph_metadata":"{\"parameters\":[{\"name\":\"a\"}]}"}}`)
	f.Add("BP004", "BLUEPRINT_TIER_SAFE", `null`)
	f.Fuzz(func(t *testing.T, id, tier, text string) {
		r := catalogue.Row{ID: id, Name: "n", Tier: tier, Path: "/a", Metadata: text}
		merged, mergeErr := metadata.Allow(text, map[string][]string{"s": {"a"}})
		if mergeErr == nil && merged != "" && !json.Valid([]byte(merged)) {
			t.Errorf("merge wrote no JSON: %s", merged)
		}
		record, err := decode(r)
		if err != nil {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("unreported: %v", err)
			}
			return
		}
		newEntry(r, record)
		written, err := metadata.Encode(record.Descriptor, record.Extras)
		if err == nil && !json.Valid([]byte(written)) {
			t.Errorf("wrote no JSON: %s", written)
		}
	})
}

func TestPercentile(t *testing.T) {
	tests := []struct {
		sorted  []float64
		q, want float64
	}{
		{nil, 0.5, 0}, {[]float64{24}, 0.95, 24}, {[]float64{1, 2}, 0.5, 1.5},
		{[]float64{1, 2, 3, 4, 5}, 0.95, 4.8}, {[]float64{1, 2, 3}, 1, 3},
	}
	for _, test := range tests {
		if got := percentile(test.sorted, test.q); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%v at %v: %v, want %v", test.sorted, test.q, got, test.want)
		}
	}
}

func TestReservoirKeepsTheLatest(t *testing.T) {
	var r reservoir
	if r.last() != 0 || len(r.sorted()) != 0 {
		t.Error("not empty")
	}
	for i := range 3000 {
		r.add(time.Duration(i) * time.Millisecond)
	}
	sorted := r.sorted()
	if r.last() != 2999*time.Millisecond || len(sorted) != 1024 || sorted[0] != 1976 || !slices.IsSorted(sorted) {
		t.Errorf("last %v, %d kept from %v", r.last(), len(sorted), sorted[0])
	}
}

func TestCacheAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		c, model := newCache(limit), map[catalogue.Key]*entry{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := catalogue.Key{
				ID:      fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "id")),
				Variant: rapid.SampledFrom([]string{"", "32"}).Draw(t, "variant"),
			}
			switch rapid.IntRange(0, 3).Draw(t, "operation") {
			case 0, 1:
				e := &entry{row: catalogue.Row{ID: id.ID, Variant: id.Variant}}
				e.loaded.Store(int64(rapid.IntRange(0, 100).Draw(t, "loaded")))
				c.put(e)
				model[id] = e
			case 2:
				c.drop(id)
				delete(model, id)
			case 3:
				c.expire(100, 50)
				for _, e := range model {
					if e.loaded.Load() < 50 {
						delete(model, e.row.Key())
					}
				}
			}
			if got := c.get(id); got != nil && got != model[id] {
				t.Fatalf("%s: stale entry", id)
			}
			if c.size() > limit || c.size() != len(c.entries) {
				t.Fatalf("size %d, index %d, limit %d", c.size(), len(c.entries), limit)
			}
			for i, e := range c.ring {
				if e.slot != i || c.entries[e.row.Key()] != e {
					t.Fatalf("slot %d out of place", i)
				}
			}
		}
	})
}

func TestCacheKeepsWhatIsUsed(t *testing.T) {
	c := newCache(10)
	c.put(&entry{row: catalogue.Row{ID: "hot"}})
	for i := range 1000 {
		c.put(&entry{row: catalogue.Row{ID: fmt.Sprint(i)}})
		if c.get(catalogue.Key{ID: "hot"}) == nil {
			t.Fatalf("hot entry pushed out by entry %d", i)
		}
	}
}
