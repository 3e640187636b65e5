package policy

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestManyPolicyIDsDoNotReopenTheDoorForOldUpdates(t *testing.T) {
	journal := journal{}
	start := time.Unix(1_700_000_000, 0)
	for i := range maxPolicyIDs + 10 {
		u := update(string(rune('a'+i%26))+time.Duration(i).String(), "v", start.Add(time.Duration(i)*time.Second), "")
		journal = journal.accept(newUpdate(u, start))
	}
	if len(journal.Seen) != maxPolicyIDs {
		t.Errorf("journal knows %d ids, want %d", len(journal.Seen), maxPolicyIDs)
	}
	if journal.newer(update("a0s", "v", start, "")) {
		t.Error("a forgotten policy's old update is accepted again")
	}
}

func TestPolicyPayloadIsStoredAndNeverRead(t *testing.T) {
	pickle := "cos\nsystem\n(S'touch /tmp/owned'\ntR."
	policies := openStore(t, Config{})
	if err := policies.Accept(t.Context(), update("p", "v1", time.Now(), pickle)); err != nil {
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
		if err := policies.Accept(t.Context(), update("p", "v", issued, issued.String())); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, payloadFolder))
	if err != nil || len(entries) != 2 {
		t.Errorf("%d payloads on disk, want the active and the previous one (%v)", len(entries), err)
	}
}

func TestUnreadablePolicyJournalIsNotTakenForAnEmptyOne(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, journalName), []byte("{"), 0o600); err != nil {
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
	err := policies.Accept(t.Context(), u)
	var rejected *RejectedError
	if err == nil || errors.As(err, &rejected) {
		t.Fatalf("got %v, want an error worth a retry", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, payloadFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := policies.Accept(t.Context(), u); err != nil {
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
			err := policies.Accept(t.Context(), u)
			if accepted := err == nil; accepted != (second > newest) {
				t.Fatalf("update of second %d after %d: %v", second, newest, err)
			}
			newest = max(newest, second)
			stored, err := os.ReadFile(payloadPath(dir, policies.journal.Active.Digest))
			if err != nil || !bytes.Equal(stored, []byte{byte(newest)}) {
				t.Fatalf("active payload %v, %v", stored, err)
			}
		}
	})
}

func FuzzPolicyJournal(f *testing.F) {
	f.Add([]byte(`{"active":{"update":{"policy_id":"p"},"digest":"00","applied_at":"2026-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"seen":{"p":{"issued_at_ns":1,"version":2}},"floor":null}`))
	path := filepath.Join(f.TempDir(), journalName)
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		journal, err := readJournal(path)
		if err == nil {
			journal.newer(update("p", "v", time.Now(), ""))
			journal.accept(newUpdate(update("p", "v", time.Now(), "x"), time.Now()))
		}
	})
}

// Two stores of a fleet: what one activates, the other learns.
func TestPolicyThatWasActivatedLastIsInForceWhereverThatWas(t *testing.T) {
	dir := t.TempDir()
	here, there := openStore(t, Config{Dir: dir}), openStore(t, Config{})
	inForce := func(p *Store, want string) {
		t.Helper()
		if got := p.Version(); got != want {
			t.Errorf("version %q is in force, want %q", got, want)
		}
	}
	activate := func(p *Store, u *leyline.PolicyUpdate) Update {
		t.Helper()
		if err := p.Accept(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		policy, _ := p.InForce()
		return policy
	}
	learn := func(p *Store, policy Update) {
		t.Helper()
		if err := p.Learn(policy); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	first := activate(here, update("p", "v1", now.Add(-3*time.Minute), "one"))
	second := activate(there, update("q", "v2", now.Add(-2*time.Minute), "two"))
	learn(here, second)
	inForce(here, "v2")
	learn(here, first) // what is old changes nothing
	learn(there, first)
	inForce(here, "v2")
	inForce(there, "v2")
	if got := payloadOf(t, here); got != "one" {
		t.Errorf("payload %q: only what was activated here has one", got)
	}
	reopened := openStore(t, Config{Dir: dir})
	inForce(reopened, "v2")
	wantRejected(t, reopened.Accept(t.Context(), update("q", "v2", now.Add(-2*time.Minute), "two")), ReasonReplayed)
	// The clock of the other one may be ahead.
	second.AppliedAt = now.Add(time.Hour)
	learn(reopened, second)
	learn(there, activate(reopened, update("p", "v3", now.Add(-time.Minute), "three")))
	inForce(reopened, "v3")
	inForce(there, "v3")
}
