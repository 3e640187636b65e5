package runstore

import (
	"errors"
	"fmt"
	"testing"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// What is to be judged lies in the order in which it came, of each message once, until it was written
// under the lead that it is judged.
func TestWhatIsToBeJudgedLiesUntilItIs(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		j := NewJournal(s)
		for n := range 3 {
			m := packet("oven", n)
			m.Judge = fmt.Sprint(n)
			put(t, s, m, m, report("run-1", n))
			put(t, s, m)
		}
		place, err := j.Wish(t.Context(), runs.Message{Judge: `a "wish"`})
		if head, _ := j.Head(); err != nil || head != place {
			t.Fatalf("place %d, head %d, error %v", place, head, err)
		}
		lies := func(after int64, want ...string) (entries []runs.Unjudged) {
			t.Helper()
			entries, _, err := j.Unjudged(t.Context(), after)
			var bodies []string
			for _, e := range entries {
				bodies = append(bodies, e.Body)
			}
			if err != nil || fmt.Sprint(bodies) != fmt.Sprint(want) {
				t.Fatalf("behind %d lies %q, want %q, error %v", after, bodies, want, err)
			}
			return entries
		}
		entries := lies(0, "0", "1", "2", `a "wish"`)
		lies(entries[1].Seq, "2", `a "wish"`)
		token, judged, err := j.TakeLead(t.Context(), Lead{}, "a")
		if err != nil || judged != (Judged{}) {
			t.Fatalf("%+v, error %v", judged, err)
		}
		want := Judged{1, entries[1].Seq, `{"a": "\\u0000"}`}
		if err := j.SaveJudged(t.Context(), token, &want); err != nil {
			t.Fatal(err)
		}
		lies(0, "2", `a "wish"`)
		if got, newer, err := j.Judged(t.Context(), 0); err != nil || !newer || got != want {
			t.Errorf("%+v, error %v", got, err)
		}
		if _, newer, err := j.Judged(t.Context(), 1); err != nil || newer {
			t.Errorf("the version that is known is told again, error %v", err)
		}
	})
}

// One leads. Who has been deposed writes nothing any more, and who was too slow takes no lead.
func TestOneLeads(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		j := NewJournal(open(t, Config{URL: url}))
		seen := func() Lead {
			t.Helper()
			lead, err := j.Lead(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return lead
		}
		take := func(seen Lead, by string) (int64, error) {
			token, _, err := j.TakeLead(t.Context(), seen, by)
			return token, err
		}
		nobody := seen()
		first, err := take(nobody, "a")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := take(nobody, "b"); !errors.Is(err, ErrDeposed) {
			t.Errorf("a second one takes the lead: %v", err)
		}
		before := seen()
		if err := j.SaveJudged(t.Context(), first, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := take(before, "b"); !errors.Is(err, ErrDeposed) || seen() == before {
			t.Errorf("the lead of one that gives signs of life is taken: %v", err)
		}
		second, err := take(seen(), "b")
		if err != nil || second <= first || seen().Holder != "b" {
			t.Errorf("tokens %d, %d, lead %+v, error %v", first, second, seen(), err)
		}
		for what, err := range map[string]error{
			"writes": j.SaveJudged(t.Context(), first, &Judged{9, 9, "old"}), "leaves": j.LeaveLead(t.Context(), first),
			"sets aside": j.SetAside(t.Context(), first),
		} {
			if !errors.Is(err, ErrDeposed) {
				t.Errorf("who was deposed %s: %v", what, err)
			}
		}
		if judged, newer, err := j.Judged(t.Context(), 0); err != nil || newer {
			t.Errorf("%+v, error %v", judged, err)
		}
		if err := j.LeaveLead(t.Context(), second); err != nil || seen().Holder != "" {
			t.Errorf("lead %+v, error %v", seen(), err)
		}
	})
}
