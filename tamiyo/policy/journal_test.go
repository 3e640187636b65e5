package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/policy/accepted"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
)

func TestManyPolicyIDsDoNotReopenTheDoorForOldUpdates(t *testing.T) {
	kept := journal.Journal{}
	start := time.Unix(1_700_000_000, 0)
	for i := range 2000 {
		u := update(string(rune('a'+i%26))+time.Duration(i).String(), "v", start.Add(time.Duration(i)*time.Second), "")
		kept = kept.Accept(accepted.New(u, start))
	}
	if kept.Newer(update("a0s", "v", start, "")) || kept.Newer(update("never seen", "v", start, "")) {
		t.Error("an old update is accepted again")
	}
}

// What an earlier release refused is refused on, whatever its policy id.
func TestR43JournalOfAnEarlierReleaseRefusesWhatItHadSeen(t *testing.T) {
	dir := t.TempDir()
	const former = `{"active":{"update":{"policy_id":"p","issued_at":"2026-01-01T00:00:00Z"},"digest":"00","size":1,"applied_at":"2026-01-01T00:00:00Z"},
		"seen":{"p":{"issued_at_ns":1767225600000000000,"version":1},"q":{"issued_at_ns":1767225700000000000,"version":2}},
		"floor":{"issued_at_ns":5,"version":0}}`
	if err := os.WriteFile(journal.Path(dir), []byte(former), 0o600); err != nil {
		t.Fatal(err)
	}
	policies := openStore(t, Config{Dir: dir})
	if newest := newestOf(policies); newest.Digest != "00" {
		t.Errorf("stored %+v", newest)
	}
	last := time.Unix(1767225700, 0)
	wantRejected(t, policies.Accept(t.Context(), update("p", "v", last.Add(-time.Second), "x"), nil), ReasonSuperseded)
	again := update("q", "v", last, "x")
	again.Version = 2
	wantRejected(t, policies.Accept(t.Context(), again, nil), ReasonReplayed)
	if err := policies.Accept(t.Context(), update("p", "v", last.Add(time.Second), "x"), nil); err != nil {
		t.Error(err)
	}
}

func TestScenario113_PolicyPayloadIsStoredAndNeverRead(t *testing.T) {
	pickle := "cos\nsystem\n(S'touch /tmp/owned'\ntR."
	policies := openStore(t, Config{})
	if err := policies.Accept(t.Context(), update("p", "v1", time.Now(), pickle), nil); err != nil {
		t.Fatalf("opaque payload refused: %v", err)
	}
	if got := payloadOf(t, policies); got != pickle {
		t.Errorf("payload %q", got)
	}
}

func TestPoliciesDoNotFillTheDisk(t *testing.T) {
	dir := t.TempDir()
	policies := openStore(t, Config{Dir: dir})
	start := time.Now().Add(-time.Hour)
	for i := range 10 {
		issued := start.Add(time.Duration(i) * time.Second)
		if err := policies.Accept(t.Context(), update("p", "v", issued, issued.String()), nil); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(payloads.Folder(dir))
	if err != nil || len(entries) != 2 {
		t.Errorf("%d payloads on disk, want the active and the previous one (%v)", len(entries), err)
	}
}

func TestUnreadablePolicyJournalIsNotTakenForAnEmptyOne(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(journal.Path(dir), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); err == nil {
		t.Error("opened: every old update would be accepted again")
	}
}

func TestUpdateThatCouldNotBeStoredIsNotRejected(t *testing.T) {
	dir := t.TempDir()
	policies := openStore(t, Config{Dir: dir})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	u := update("p", "v1", time.Now(), "one")
	err := policies.Accept(t.Context(), u, nil)
	var rejected *RejectedError
	if err == nil || errors.As(err, &rejected) {
		t.Fatalf("got %v, want an error worth a retry", err)
	}
	if err := os.MkdirAll(payloads.Folder(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := policies.Accept(t.Context(), u, nil); err != nil {
		t.Errorf("the retry was refused: %v", err)
	}
}

// TestPolicyPositionOnlyMovesForward: whatever arrives in whatever order, the
// active policy of an id never gets older, on disk neither.
func TestPolicyPositionOnlyMovesForward(t *testing.T) {
	root := t.TempDir()
	base := time.Now().Add(-time.Hour).Truncate(time.Second)
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		policies, err := Open(Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		newest := -1
		for _, second := range rapid.SliceOfN(rapid.IntRange(0, 3), 1, 4).Draw(t, "seconds") {
			payload := []byte{byte(second)}
			u := update("p", "v", base.Add(time.Duration(second)*time.Second), string(payload))
			err := policies.Accept(t.Context(), u, nil)
			if accepted := err == nil; accepted != (second > newest) {
				t.Fatalf("update of second %d after %d: %v", second, newest, err)
			}
			newest = max(newest, second)
			stored, err := os.ReadFile(filepath.Join(payloads.Folder(dir), policies.journal.Stored.Digest))
			if err != nil || !bytes.Equal(stored, []byte{byte(newest)}) {
				t.Fatalf("active payload %v, %v", stored, err)
			}
		}
	})
}

func FuzzPolicyJournal(f *testing.F) {
	f.Add([]byte(`{"stored":{"update":{"policy_id":"p"},"digest":"00","accepted_at":"2026-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"seen":{"p":{"issued_at_ns":1,"version":2}},"floor":null}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(journal.Path(dir), content, 0o600); err != nil {
			t.Fatal(err)
		}
		kept, err := journal.Read(dir)
		if err == nil {
			kept.Newer(update("p", "v", time.Now(), ""))
			kept.Accept(accepted.New(update("p", "v", time.Now(), "x"), time.Now()))
		}
	})
}

// Two stores of a fleet: what one takes in, the other learns.
func TestPolicyThatWasIssuedLastIsTheNewestWhereverItWasTakenIn(t *testing.T) {
	dir := t.TempDir()
	here, there := openStore(t, Config{Dir: dir}), openStore(t, Config{})
	newest := func(p *Store, want string) {
		t.Helper()
		if got := versionOf(p); got != want {
			t.Errorf("version %q is the newest, want %q", got, want)
		}
	}
	take := func(p *Store, u *leyline.PolicyUpdate) accepted.Update {
		t.Helper()
		if err := p.Accept(t.Context(), u, nil); err != nil {
			t.Fatal(err)
		}
		return newestOf(p)
	}
	learn := func(p *Store, policy accepted.Update) {
		t.Helper()
		if err := p.Learn(journal.Recent{Newest: &policy}); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	first := take(here, update("p", "v1", now.Add(-3*time.Minute), "one"))
	second := take(there, update("q", "v2", now.Add(-2*time.Minute), "two"))
	learn(here, second)
	newest(here, "v2")
	learn(here, first) // what is old changes nothing
	learn(there, first)
	newest(here, "v2")
	newest(there, "v2")
	if got := payloadOf(t, here); got != "one" {
		t.Errorf("payload %q: only what was taken in here has one", got)
	}
	reopened := openStore(t, Config{Dir: dir})
	newest(reopened, "v2")
	wantRejected(t, reopened.Accept(t.Context(), update("q", "v2", now.Add(-2*time.Minute), "two"), nil), ReasonReplayed)
	// The clock of the other one may be ahead.
	second.AcceptedAt = now.Add(time.Hour)
	learn(reopened, second)
	learn(there, take(reopened, update("p", "v3", now.Add(-time.Minute), "three")))
	newest(reopened, "v3")
	newest(there, "v3")
}

// What is told in one word may be the last of several updates.
func TestStoreLearnsAllThatAnotherAccepted(t *testing.T) {
	here, there, now := openStore(t, Config{}), openStore(t, Config{}), time.Now().Add(-time.Hour)
	accept := func(p *Store, minute int, payload string) *leyline.PolicyUpdate {
		t.Helper()
		u := update("p", fmt.Sprint("v", minute), now.Add(time.Duration(minute)*time.Minute), payload)
		if err := p.Accept(t.Context(), u, nil); err != nil {
			t.Fatal(err)
		}
		return u
	}
	accept(there, 1, "one")
	accept(there, 2, "two")
	announced := accept(there, 4, "")
	recent, found := there.Recent()
	if !found {
		t.Fatal("nothing is told")
	}
	for range 2 {
		if err := here.Learn(recent); err != nil {
			t.Fatal(err)
		}
	}
	learned, _ := here.Recent()
	if a, b := learned.Newest, learned.Previous; a == nil || b == nil || a.Digest != payloads.Digest([]byte("two")) ||
		b.Digest != payloads.Digest([]byte("one")) {
		t.Errorf("knows %v before %v", b, a)
	}
	if !here.Again(announced, nil) {
		t.Error("what another announced is not known")
	}
	late := update("q", "v3", now.Add(3*time.Minute), "three")
	wantRejected(t, here.Accept(t.Context(), late, nil), ReasonSuperseded)
	if err := here.Learn(journal.Recent{}); err != nil {
		t.Error(err)
	}
	// What this one took in meanwhile stays the newest, whoever tells of older ones.
	accept(here, 5, "five")
	if err := here.Learn(recent); err != nil || versionOf(here) != "v5" {
		t.Errorf("the newest is %s, %v", versionOf(here), err)
	}
}

// Whoever was told to end has no say any more: what looks old to it may be its successor's.
func TestNothingIsRefusedOnceTheWorkIsOver(t *testing.T) {
	told := 0
	store := openStore(t, Config{Emit: func(*leyline.TelemetryPacket) { told++ }})
	ctx, end := context.WithCancel(t.Context())
	end()
	err := store.Accept(ctx, update("p", "v", time.Now().Add(time.Hour), "x"), nil)
	var rejected *RejectedError
	if !errors.Is(err, context.Canceled) || errors.As(err, &rejected) || told != 0 {
		t.Errorf("%v, told %d times", err, told)
	}
}
