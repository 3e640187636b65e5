package policy

import (
	"cmp"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/policy/accepted"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
)

// formerUpdate and the types below are what the release before reads.
type formerUpdate struct {
	Update    json.RawMessage `json:"update"`
	Digest    string          `json:"digest,omitempty"`
	Size      int             `json:"size,omitempty"`
	AppliedAt time.Time       `json:"applied_at"`
}

type formerPosition struct {
	IssuedAt int64  `json:"issued_at_ns"`
	Version  uint32 `json:"version"`
}

type formerFile struct {
	Active    *formerUpdate             `json:"active,omitempty"`
	Elsewhere *formerUpdate             `json:"elsewhere,omitempty"`
	Previous  *formerUpdate             `json:"previous,omitempty"`
	Announced *formerUpdate             `json:"announced,omitempty"`
	Seen      map[string]formerPosition `json:"seen,omitempty"`
	Floor     *formerPosition           `json:"floor,omitempty"`
}

// newer is the rule of the release before.
func (f formerFile) newer(update *leyline.PolicyUpdate) bool {
	here := accepted.PositionOf(update)
	compare := func(last formerPosition) int {
		return cmp.Or(cmp.Compare(here.IssuedAt, last.IssuedAt), cmp.Compare(here.Version, last.Version))
	}
	if last, found := f.Seen[update.GetPolicyId()]; found {
		return compare(last) > 0
	}
	return f.Floor == nil || compare(*f.Floor) > 0
}

// Whoever goes back to the release before accepts no old policy again, has the
// payload, and refuses on after coming forward again.
func TestR43ReleaseBeforeRefusesWhatWasAccepted(t *testing.T) {
	dir := t.TempDir()
	policies := openStore(t, Config{Dir: dir})
	first, last := time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	for _, u := range []*leyline.PolicyUpdate{update("p", "v1", first, "one"), update("q", "v2", last, "two")} {
		if err := policies.Accept(t.Context(), u, nil); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(journal.Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	var former formerFile
	if err := json.Unmarshal(content, &former); err != nil {
		t.Fatal(err)
	}
	for _, old := range []*leyline.PolicyUpdate{
		update("p", "v1", first, "one"), update("q", "v2", last, "two"), update("never seen", "v", last.Add(-time.Second), "x"),
	} {
		if former.newer(old) {
			t.Errorf("the release before accepts %s again", old.GetPolicyId())
		}
	}
	if !former.newer(update("p", "v3", last.Add(time.Second), "x")) {
		t.Error("the release before refuses a new one")
	}
	newest := newestOf(policies)
	if former.Active == nil || former.Active.Digest != newest.Digest || !former.Active.AppliedAt.Equal(newest.AcceptedAt) {
		t.Errorf("the release before has %+v in force, want %+v", former.Active, newest)
	}
	reopened := openStore(t, Config{Dir: dir})
	wantRejected(t, reopened.Accept(t.Context(), update("q", "v2", last, "two"), nil), ReasonReplayed)
}

// While a fleet is being upgraded, either release learns from the other's notes.
func TestR43EitherReleaseReadsWhenTheOtherTookAPolicyIn(t *testing.T) {
	now := time.Now().UTC()
	text, err := json.Marshal(accepted.New(update("p", "v1", now, "one"), now))
	if err != nil {
		t.Fatal(err)
	}
	var former formerUpdate
	if err := json.Unmarshal(text, &former); err != nil {
		t.Fatal(err)
	}
	if !former.AppliedAt.Equal(now) { // it learns of nothing that is not later than what it has
		t.Errorf("the release before reads %v, want %v", former.AppliedAt, now)
	}
	if text, err = json.Marshal(former); err != nil {
		t.Fatal(err)
	}
	var read accepted.Update
	if err := json.Unmarshal(text, &read); err != nil || !read.AcceptedAt.Equal(now) {
		t.Errorf("this release reads %v (%v), want %v", read.AcceptedAt, err, now)
	}
}
