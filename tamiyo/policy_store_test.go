package tamiyo

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
	journal := policyJournal{}
	start := time.Unix(1_700_000_000, 0)
	for i := range maxPolicyIDs + 10 {
		u := update(string(rune('a'+i%26))+time.Duration(i).String(), "v", start.Add(time.Duration(i)*time.Second), "")
		journal = journal.accept(newPolicy(u, start))
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
	policies := openPolicies(t, PolicyConfig{})
	if err := policies.HandleUpdate(t.Context(), update("p", "v1", time.Now(), pickle)); err != nil {
		t.Fatalf("opaque payload refused: %v", err)
	}
	payload, err := policies.Payload()
	if err != nil || string(payload) != pickle {
		t.Errorf("payload %q, %v", payload, err)
	}
}

func TestRottenPolicyPayloadIsNotHandedOut(t *testing.T) {
	dir := t.TempDir()
	policies := openPolicies(t, PolicyConfig{Dir: dir})
	if _, err := policies.Payload(); !errors.Is(err, ErrNoActivePolicy) {
		t.Errorf("payload before the first policy: %v", err)
	}
	if err := policies.HandleUpdate(t.Context(), update("p", "v1", time.Now(), "one")); err != nil {
		t.Fatal(err)
	}
	active, _ := policies.Active()
	if err := os.WriteFile(payloadPath(dir, active.Digest), []byte("onf"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := policies.Payload(); !errors.Is(err, ErrCorruptPayload) {
		t.Errorf("got %v, want ErrCorruptPayload", err)
	}
}

func TestRollback(t *testing.T) {
	var heard emitted
	dir := t.TempDir()
	policies := openPolicies(t, PolicyConfig{Dir: dir, Emit: heard.emit})
	if err := policies.Rollback(t.Context()); !errors.Is(err, ErrNoPreviousPolicy) {
		t.Fatalf("rollback of nothing: %v", err)
	}
	now := time.Now()
	bad := update("p", "v2", now, "two")
	for _, u := range []*leyline.PolicyUpdate{update("p", "v1", now.Add(-time.Minute), "one"), bad} {
		if err := policies.HandleUpdate(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	if err := policies.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if event, _ := heard.last(t); event != "policy_rolled_back" {
		t.Errorf("emitted %s", event)
	}
	reopened := openPolicies(t, PolicyConfig{Dir: dir})
	payload, err := reopened.Payload()
	if err != nil || string(payload) != "one" {
		t.Errorf("after rollback and restart the payload is %q, %v", payload, err)
	}
	wantRejected(t, reopened.HandleUpdate(t.Context(), bad), ReasonReplayed)
	if err := reopened.Rollback(t.Context()); !errors.Is(err, ErrNoPreviousPolicy) {
		t.Errorf("second rollback: %v", err)
	}
}

func TestPoliciesDoNotFillMemoryOrDisk(t *testing.T) {
	dir := t.TempDir()
	policies := openPolicies(t, PolicyConfig{Dir: dir, MaxHistory: 3})
	start := time.Now().Add(-time.Hour)
	for i := range 10 {
		issued := start.Add(time.Duration(i) * time.Second)
		if err := policies.HandleUpdate(t.Context(), update("p", "v", issued, issued.String())); err != nil {
			t.Fatal(err)
		}
	}
	history := policies.History()
	if len(history) != 3 {
		t.Errorf("history has %d entries, want 3", len(history))
	}
	for _, policy := range history {
		if len(policy.Update.GetPayload()) != 0 {
			t.Error("history keeps payload bytes")
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
	if _, err := NewPolicies(PolicyConfig{Dir: dir}); err == nil {
		t.Error("opened: every old update would be accepted again")
	}
}

func TestUpdateThatCouldNotBeStoredIsNotRejected(t *testing.T) {
	dir := t.TempDir()
	policies := openPolicies(t, PolicyConfig{Dir: dir})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	u := update("p", "v1", time.Now(), "one")
	err := policies.HandleUpdate(t.Context(), u)
	var rejected *RejectedError
	if err == nil || errors.As(err, &rejected) {
		t.Fatalf("got %v, want an error worth a retry", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, payloadFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := policies.HandleUpdate(t.Context(), u); err != nil {
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
		policies, err := NewPolicies(PolicyConfig{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		newest := -1
		for _, second := range rapid.SliceOfN(rapid.IntRange(0, 3), 1, 4).Draw(t, "seconds") {
			payload := []byte{byte(second)}
			u := update("p", "v", base.Add(time.Duration(second)*time.Second), string(payload))
			err := policies.HandleUpdate(t.Context(), u)
			if accepted := err == nil; accepted != (second > newest) {
				t.Fatalf("update of second %d after %d: %v", second, newest, err)
			}
			newest = max(newest, second)
			if stored, err := policies.Payload(); err != nil || !bytes.Equal(stored, []byte{byte(newest)}) {
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
		journal, err := readPolicyJournal(path)
		if err == nil {
			journal.newer(update("p", "v", time.Now(), ""))
			journal.accept(newPolicy(update("p", "v", time.Now(), "x"), time.Now()))
		}
	})
}

// Two stores of a fleet: what one activates, the other learns.
func TestPolicyThatWasActivatedLastIsInForceWhereverThatWas(t *testing.T) {
	dir := t.TempDir()
	here, there := openPolicies(t, PolicyConfig{Dir: dir}), openPolicies(t, PolicyConfig{})
	inForce := func(p *Policies, want string) {
		t.Helper()
		if got := p.ActiveVersion(); got != want {
			t.Errorf("version %q is in force, want %q", got, want)
		}
	}
	activate := func(p *Policies, u *leyline.PolicyUpdate) Policy {
		t.Helper()
		if err := p.HandleUpdate(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		policy, _ := p.InForce()
		return policy
	}
	learn := func(p *Policies, policy Policy) {
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
	if payload, err := here.Payload(); err != nil || string(payload) != "one" {
		t.Errorf("payload %q, %v: only what was activated here has one", payload, err)
	}
	reopened := openPolicies(t, PolicyConfig{Dir: dir})
	inForce(reopened, "v2")
	wantRejected(t, reopened.HandleUpdate(t.Context(), update("q", "v2", now.Add(-2*time.Minute), "two")), ReasonReplayed)
	// The clock of the other one may be ahead.
	second.AppliedAt = now.Add(time.Hour)
	learn(reopened, second)
	learn(there, activate(reopened, update("p", "v3", now.Add(-time.Minute), "three")))
	inForce(reopened, "v3")
	inForce(there, "v3")
}
