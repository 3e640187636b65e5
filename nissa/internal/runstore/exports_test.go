package runstore

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestExportReplaysIntoAnEqualStore(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		for n := range 20 {
			put(t, s, report("run", n), report("other", n), seedPacket("run", "seed-1", "SHADOWING", n+30), packet("weatherlight", n))
		}
		put(t, s, seedPacket("run", "seed-2", "GERMINATED", 60), seedPacket("run", "seed-1", "CULLED", 61))
		var first, second bytes.Buffer
		if err := s.Export(t.Context(), "run", &first); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(first.String(), `"other"`) || strings.Count(first.String(), `{"report"`) != 20 {
			t.Errorf("exported is\n%s", first.String())
		}
		onEachDatabase(t, func(t *testing.T, url string) {
			second.Reset()
			replayed := open(t, Config{URL: url})
			put(t, replayed, report("third", 1))
			ids, err := replayed.Import(t.Context(), bytes.NewReader(first.Bytes()), false)
			if err != nil || !slices.Equal(ids, []string{"run"}) {
				t.Fatalf("%v, %v", ids, err)
			}
			if err := replayed.Export(t.Context(), "run", &second); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first.String(), second.String()); diff != "" {
				t.Error(diff)
			}
			if _, err := replayed.Import(t.Context(), bytes.NewReader(first.Bytes()), false); !errors.Is(err, ErrExists) {
				t.Errorf("imported twice: %v", err)
			}
			if head, _ := replayed.Head(); head < 20 {
				t.Errorf("whoever follows the store is told up to %d", head)
			}
		})
		if err := s.Export(t.Context(), "nobody", &second); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

// TestDecisionsAreKeptAsTheyAre and are exported in their order, weigh on their run, and go
// with it.
func TestDecisionsAreKeptAsTheyAre(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url, Retention: 100 * time.Second})
		text := strings.Repeat("aB3+", 10_000)
		put(t, s, decision("run", 2, text+"2"), decision("run", 1, text+"1"), decision("run", 3, "no word"), decision("run", 2, text+"2"))
		put(t, s, decision("run", 4, strings.Repeat("x", 64<<10+1)), decision("run", 190, "last"))
		run, err := s.Run(t.Context(), "run")
		if err != nil || run.Bytes < int64(2*len(text)) {
			t.Errorf("%+v, %v", run, err)
		}
		exported := func() string {
			var out bytes.Buffer
			if err := s.Export(t.Context(), "run", &out); err != nil {
				t.Fatal(err)
			}
			return out.String()
		}
		whole := exported()
		first, second := strings.Index(whole, text+"1"), strings.Index(whole, text+"2")
		if strings.Count(whole, `{"decision"`) != 3 || first < 0 || second < first {
			t.Errorf("exported is %.200s", whole)
		}
		copied := open(t, Config{URL: "sqlite:///" + t.TempDir() + "/runs.db"})
		if _, err := copied.Import(t.Context(), strings.NewReader(whole), false); err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if err := copied.Export(t.Context(), "run", &again); err != nil || again.String() != whole {
			t.Errorf("imported it is %.200s, %v", again.String(), err)
		}
		if events, err := s.Events(t.Context(), Filter{Run: "run", Most: 10}); err != nil || len(events) > 0 {
			t.Errorf("the feed has %+v, %v", events, err)
		}
		if err := s.Tidy(t.Context(), at(200)); err != nil {
			t.Fatal(err)
		}
		if left := exported(); strings.Count(left, `{"decision"`) != 1 {
			t.Errorf("of what is too old is left %.200s", left)
		}
		if run, err := s.Run(t.Context(), "run"); err != nil || run.Bytes > 4<<10 {
			t.Errorf("%+v, %v", run, err)
		}
	})
}

func TestImportRefusesWhatIsNoExport(t *testing.T) {
	s := open(t, Config{URL: "sqlite:///" + t.TempDir() + "/runs.db"})
	for _, text := range []string{
		"no json", `{"report":{"run":"r"}}`, `{"run":{"id":"r"}}` + "\n" + `{"report":{"run":"s"}}`, `{"run":{"id":"r"}}` + "\n{}",
		strings.Repeat("x", maxLine+1),
	} {
		for _, parts := range []bool{false, true} {
			if _, err := s.Import(t.Context(), strings.NewReader(text), parts); err == nil {
				t.Errorf("imported %.40q", text)
			}
		}
	}
	if all, err := s.Runs(t.Context(), time.Time{}, "", 10); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// A file that broke off anywhere is no run, unless a part is asked for; one that holds nothing
// is none in any case.
func TestImportRefusesWhatWasCutOff(t *testing.T) {
	s := open(t, Config{URL: "sqlite:///" + t.TempDir() + "/runs.db"})
	put(t, s, report("run", 1), report("run", 2), report("other", 1))
	var out bytes.Buffer
	for _, run := range []string{"run", "other"} {
		if err := s.Export(t.Context(), run, &out); err != nil {
			t.Fatal(err)
		}
	}
	whole := out.String()
	first := strings.Index(whole, "\n") + 1
	importInto := func(text string, parts bool) ([]string, error) {
		store := open(t, Config{URL: "sqlite:///" + t.TempDir() + "/runs.db"})
		ids, err := store.Import(t.Context(), strings.NewReader(text), parts)
		if all, listErr := store.Runs(t.Context(), time.Time{}, "", 10); listErr != nil || len(all) != len(ids) {
			t.Errorf("%v, but the store has %v, %v", ids, all, listErr)
		}
		return ids, err
	}
	if ids, err := importInto(whole, false); err != nil || !slices.Equal(ids, []string{"run", "other"}) {
		t.Fatalf("%v, %v", ids, err)
	}
	end, report := strings.Index(whole, `{"end"`), strings.Index(whole, `{"report"`)
	for name, c := range map[string]struct {
		text  string
		parts int
	}{
		"nothing": {"", 0}, "half a line": {whole[:first/2], 0}, "the record alone": {whole[:first], 1},
		"no end": {whole[:end], 1}, "half an end": {whole[:end+5], 1}, "a line is missing": {whole[:first] + whole[report:], 2},
		"the end of the first is missing": {whole[:end] + whole[end+strings.Index(whole[end:], "\n")+1:], 2},
		"half a line in the second":       {whole[:len(whole)-60], 2},
	} {
		if ids, err := importInto(c.text, false); !errors.Is(err, ErrCut) {
			t.Errorf("%s: %v, %v", name, ids, err)
		}
		if ids, err := importInto(c.text, true); len(ids) != c.parts || (err == nil) != (c.parts > 0) {
			t.Errorf("%s, when parts are asked for: %v, %v", name, ids, err)
		}
	}
}

// meanwhile is a reader of an export while whose first line comes something is told.
type meanwhile struct {
	bytes.Buffer

	told func()
}

func (m *meanwhile) Write(text []byte) (int, error) {
	if m.told != nil {
		m.told()
		m.told = nil
	}
	return m.Buffer.Write(text)
}

// A run that is exported while it trains is the run as it was at one moment.
func TestExportOfARunThatTrainsIsWhole(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		put(t, s, report("run", 1), report("run", 2))
		out := &meanwhile{told: func() { put(t, s, report("run", 3), seedPacket("run", "seed-2", "BLENDING", 4)) }}
		if err := s.Export(t.Context(), "run", out); err != nil {
			t.Fatal(err)
		}
		other := open(t, Config{URL: "sqlite:///" + t.TempDir() + "/other.db"})
		if _, err := other.Import(t.Context(), &out.Buffer, false); err != nil {
			t.Fatal(err)
		}
		run, err := other.Run(t.Context(), "run")
		if err != nil {
			t.Fatal(err)
		}
		reports, err := other.Reports(t.Context(), "run", time.Time{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		events, err := other.Events(t.Context(), Filter{Run: "run", Seed: "seed-2", Most: 10})
		if err != nil || run.Reports != 2 || len(reports) != 2 || len(events) != 0 {
			t.Errorf("the record has %d reports, there are %d, and %d events of a seed that is not there, %v", run.Reports, len(reports), len(events), err)
		}
		put(t, s, report("run", 5)) // and the store takes on what comes
	})
}
