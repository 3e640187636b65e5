package tamiyo

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
)

type emitted struct{ packets []*leyline.TelemetryPacket }

func (e *emitted) emit(packet *leyline.TelemetryPacket) { e.packets = append(e.packets, packet) }

func (e *emitted) last(t *testing.T) (name string, attributes map[string]string) {
	t.Helper()
	if len(e.packets) == 0 || len(e.packets[len(e.packets)-1].GetEvents()) != 1 {
		t.Fatal("no packet with one event was emitted")
	}
	event := e.packets[len(e.packets)-1].GetEvents()[0]
	return event.GetDescription(), event.GetAttributes()
}

func openPolicies(t testing.TB, config PolicyConfig) *Policies {
	t.Helper()
	if config.Dir == "" {
		config.Dir = t.TempDir()
	}
	policies, err := NewPolicies(config)
	if err != nil {
		t.Fatal(err)
	}
	return policies
}

func update(id, version string, issued time.Time, payload string) *leyline.PolicyUpdate {
	return &leyline.PolicyUpdate{
		Version: 1, PolicyId: id, TamiyoPolicyVersion: version, TrainingRunId: "run-1",
		IssuedAt: timestamppb.New(issued), Payload: []byte(payload),
	}
}

func wantRejected(t *testing.T, err error, reason string) {
	t.Helper()
	var rejected *RejectedError
	if !errors.As(err, &rejected) || rejected.Reason != reason {
		t.Fatalf("got error %v, want rejection %s", err, reason)
	}
}

func TestRefusedPolicyUpdates(t *testing.T) {
	now := time.Now()
	tests := map[string]struct {
		config PolicyConfig
		update *leyline.PolicyUpdate
		reason string // empty: accepted
	}{
		"accepted":                    {PolicyConfig{}, update("p", "v2", now, "x"), ""},
		"nil":                         {PolicyConfig{}, nil, ReasonInvalid},
		"impossible time":             {PolicyConfig{}, &leyline.PolicyUpdate{IssuedAt: &timestamppb.Timestamp{Nanos: -1}}, ReasonInvalid},
		"payload at the limit":        {PolicyConfig{MaxPayload: 3}, update("p", "v", now, "xyz"), ""},
		"payload over the limit":      {PolicyConfig{MaxPayload: 2}, update("p", "v", now, "xyz"), ReasonTooLarge},
		"other architecture":          {PolicyConfig{Verify: true, ArchitectureVersion: "v1"}, update("p", "v2", now, "x"), ReasonVersionMismatch},
		"same architecture":           {PolicyConfig{Verify: true, ArchitectureVersion: "v1"}, update("p", " v1 ", now, "x"), ""},
		"unnamed architecture":        {PolicyConfig{Verify: true, ArchitectureVersion: "v1"}, update("p", "", now, "x"), ""},
		"verification off":            {PolicyConfig{ArchitectureVersion: "v1"}, update("p", "v2", now, "x"), ""},
		"any architecture configured": {PolicyConfig{Verify: true}, update("p", "v2", now, "x"), ""},
		"an hour old":                 {PolicyConfig{Freshness: time.Minute}, update("p", "v", now.Add(-time.Hour), "x"), ReasonStale},
		"an hour old, no limit":       {PolicyConfig{}, update("p", "v", now.Add(-time.Hour), "x"), ""},
		"undated":                     {PolicyConfig{Freshness: time.Minute}, &leyline.PolicyUpdate{PolicyId: "p", Version: 1}, ReasonStale},
		"undated, no limit":           {PolicyConfig{}, &leyline.PolicyUpdate{PolicyId: "p", Version: 1}, ""},
		"slightly fast clock":         {PolicyConfig{}, update("p", "v", now.Add(3*time.Second), "x"), ""},
		"from the future":             {PolicyConfig{}, update("p", "v", now.Add(time.Minute), "x"), ReasonFuture},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var heard emitted
			test.config.Emit = heard.emit
			policies := openPolicies(t, test.config)
			err := policies.HandleUpdate(t.Context(), test.update)
			if test.reason == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			wantRejected(t, err, test.reason)
			event, attributes := heard.last(t)
			if event != "policy_update_rejected" || attributes["reason"] != test.reason {
				t.Errorf("emitted %s %v", event, attributes)
			}
			if _, found := policies.Announced(); found {
				t.Error("a refused update was announced")
			}
		})
	}
}

func TestOldPolicyCannotBeAppliedAgain(t *testing.T) {
	policies := openPolicies(t, PolicyConfig{})
	first, second := time.Now().Add(-2*time.Minute), time.Now().Add(-time.Minute)
	for _, u := range []*leyline.PolicyUpdate{update("p", "v1", first, "one"), update("p", "v2", second, "two")} {
		if err := policies.HandleUpdate(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	wantRejected(t, policies.HandleUpdate(t.Context(), update("p", "v1", first, "one")), ReasonReplayed)
	wantRejected(t, policies.HandleUpdate(t.Context(), update("p", "v2", second, "two")), ReasonReplayed)
	if got := policies.ActiveVersion(); got != "v2" {
		t.Errorf("active version %q, want v2", got)
	}
	newer := update("p", "v3", second, "three")
	newer.Version = 2
	if err := policies.HandleUpdate(t.Context(), newer); err != nil {
		t.Errorf("a higher version of the same time was refused: %v", err)
	}
	if err := policies.HandleUpdate(t.Context(), update("other", "v1", first, "one")); err != nil {
		t.Errorf("another policy's update was refused: %v", err)
	}
}

func TestOldPolicyCannotBeAppliedAgainAfterARestart(t *testing.T) {
	dir := t.TempDir()
	issued := time.Now()
	if err := openPolicies(t, PolicyConfig{Dir: dir}).HandleUpdate(t.Context(), update("p", "v1", issued, "one")); err != nil {
		t.Fatal(err)
	}
	reopened := openPolicies(t, PolicyConfig{Dir: dir})
	if got := reopened.ActiveVersion(); got != "v1" {
		t.Errorf("active version after restart %q, want v1", got)
	}
	payload, err := reopened.Payload()
	if err != nil || string(payload) != "one" {
		t.Errorf("payload after restart %q, %v", payload, err)
	}
	wantRejected(t, reopened.HandleUpdate(t.Context(), update("p", "v1", issued, "one")), ReasonReplayed)
}

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

func TestAnnouncementDoesNotPretendThatAPolicyWasLoaded(t *testing.T) {
	var heard emitted
	policies := openPolicies(t, PolicyConfig{Emit: heard.emit})
	now := time.Now()
	if err := policies.HandleUpdate(t.Context(), update("p", "v1", now.Add(-time.Minute), "one")); err != nil {
		t.Fatal(err)
	}
	if err := policies.HandleUpdate(t.Context(), update("p", "v2", now, "")); err != nil {
		t.Fatal(err)
	}
	announced, _ := policies.Announced()
	if got := announced.Update.GetTamiyoPolicyVersion(); got != "v2" {
		t.Errorf("announced %q, want v2", got)
	}
	if got := policies.ActiveVersion(); got != "v1" {
		t.Errorf("active %q, want v1: v2 has no payload", got)
	}
	if event, _ := heard.last(t); event != "policy_update_announced" {
		t.Errorf("emitted %s", event)
	}
}

func TestAppliedPolicyIsReported(t *testing.T) {
	var heard emitted
	policies := openPolicies(t, PolicyConfig{Emit: heard.emit})
	if err := policies.HandleUpdate(t.Context(), update("p", "v1", time.Now(), "one")); err != nil {
		t.Fatal(err)
	}
	event, attributes := heard.last(t)
	if event != "policy_update_applied" || attributes["tamiyo_policy_version"] != "v1" || attributes["policy_id"] != "p" {
		t.Errorf("emitted %s %v", event, attributes)
	}
}

func TestEachRefusalIsItsOwnPacket(t *testing.T) {
	var heard emitted
	policies := openPolicies(t, PolicyConfig{Emit: heard.emit, MaxPayload: 1})
	for range 2 {
		wantRejected(t, policies.HandleUpdate(t.Context(), update("p", "v", time.Now(), "xx")), ReasonTooLarge)
	}
	if heard.packets[0].GetPacketId() == heard.packets[1].GetPacketId() {
		t.Error("two refusals share a packet id: observers count one")
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

func TestFreshnessIsMeasuredWhenTheUpdateArrives(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		policies := openPolicies(t, PolicyConfig{Dir: dir, Freshness: time.Minute})
		u := update("p", "v1", time.Now(), "one")
		time.Sleep(time.Minute + time.Nanosecond)
		wantRejected(t, policies.HandleUpdate(t.Context(), u), ReasonStale)
	})
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
