package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/policy/accepted"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
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

func openStore(t testing.TB, config Config) *Store {
	t.Helper()
	if config.Dir == "" {
		config.Dir = t.TempDir()
	}
	policies, err := Open(config)
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

// newestOf is the policy that was issued last of those that a store knows of.
func newestOf(store *Store) (newest accepted.Update) {
	if recent, _ := store.Recent(); recent.Newest != nil {
		newest = *recent.Newest
	}
	return newest
}

func versionOf(store *Store) string { return newestOf(store).Metadata.GetTamiyoPolicyVersion() }

// payloadOf is what is stored of the last policy that was taken in.
func payloadOf(t testing.TB, store *Store) string {
	t.Helper()
	payload, err := os.ReadFile(filepath.Join(payloads.Folder(store.config.Dir), store.journal.Stored.Digest))
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

func wantRejected(t *testing.T, err error, reason string) {
	t.Helper()
	var rejected *RejectedError
	if !errors.As(err, &rejected) || rejected.Reason != reason {
		t.Fatalf("got error %v, want rejection %s", err, reason)
	}
}

func TestScenario112_RefusedPolicyUpdates(t *testing.T) {
	now := time.Now()
	minute := Config{Freshness: time.Minute}
	undated := &leyline.PolicyUpdate{PolicyId: "p", Version: 1}
	impossible := &leyline.PolicyUpdate{IssuedAt: &timestamppb.Timestamp{Nanos: -1}}
	tests := map[string]struct {
		config Config
		update *leyline.PolicyUpdate
		reason string // empty: accepted
	}{
		"accepted":               {Config{}, update("p", "v2", now, "x"), ""},
		"unnamed version":        {Config{}, update("p", "", now, "x"), ""},
		"nil":                    {Config{}, nil, ReasonInvalid},
		"impossible time":        {Config{}, impossible, ReasonInvalid},
		"payload at the limit":   {Config{MaxPayload: 3}, update("p", "v", now, "xyz"), ""},
		"payload over the limit": {Config{MaxPayload: 2}, update("p", "v", now, "xyz"), ReasonTooLarge},
		"an hour old":            {minute, update("p", "v", now.Add(-time.Hour), "x"), ReasonStale},
		"an hour old, no limit":  {Config{}, update("p", "v", now.Add(-time.Hour), "x"), ""},
		"undated":                {minute, undated, ReasonStale},
		"undated, no limit":      {Config{}, undated, ""},
		"slightly fast clock":    {Config{}, update("p", "v", now.Add(3*time.Second), "x"), ""},
		"from the future":        {Config{}, update("p", "v", now.Add(time.Minute), "x"), ReasonFuture},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var heard emitted
			test.config.Emit = heard.emit
			policies := openStore(t, test.config)
			err := policies.Accept(t.Context(), test.update, nil)
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
			if policies.journal.Announced != nil {
				t.Error("a refused update was announced")
			}
		})
	}
}

func TestOldPolicyCannotBeAppliedAgain(t *testing.T) {
	policies := openStore(t, Config{})
	first, second := time.Now().Add(-2*time.Minute), time.Now().Add(-time.Minute)
	for _, u := range []*leyline.PolicyUpdate{update("p", "v1", first, "one"), update("p", "v2", second, "two")} {
		if err := policies.Accept(t.Context(), u, nil); err != nil {
			t.Fatal(err)
		}
	}
	wantRejected(t, policies.Accept(t.Context(), update("p", "v1", first, "one"), nil), ReasonReplayed)
	wantRejected(t, policies.Accept(t.Context(), update("p", "v2", second, "two"), nil), ReasonReplayed)
	if got := versionOf(policies); got != "v2" {
		t.Errorf("newest version %q, want v2", got)
	}
	newer := update("p", "v3", second, "three")
	newer.Version = 2
	if err := policies.Accept(t.Context(), newer, nil); err != nil {
		t.Errorf("a higher version of the same time was refused: %v", err)
	}
}

// The order is that of all policies: a new id makes none of 300 days ago the newest.
func TestR43OldPolicyUnderANewIDIsRefused(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	policies := openStore(t, Config{Dir: dir})
	if err := policies.Accept(t.Context(), update("p", "v2", now.Add(-time.Hour), "two"), nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, old := range []*leyline.PolicyUpdate{
			update("new id", "v1", now.Add(-300*24*time.Hour), "one"), update("announced", "v1", now.Add(-2*time.Hour), ""), {PolicyId: "undated", Payload: []byte("x")},
		} {
			wantRejected(t, policies.Accept(t.Context(), old, nil), ReasonSuperseded)
		}
		if got := versionOf(policies); got != "v2" {
			t.Errorf("newest version %q, want v2", got)
		}
		policies = openStore(t, Config{Dir: dir})
	}
	if err := policies.Accept(t.Context(), update("new id", "v3", now, "three"), nil); err != nil {
		t.Errorf("a newer one under another id was refused: %v", err)
	}
}

func TestOldPolicyCannotBeAppliedAgainAfterARestart(t *testing.T) {
	dir := t.TempDir()
	issued := time.Now()
	first := openStore(t, Config{Dir: dir})
	if err := first.Accept(t.Context(), update("p", "v1", issued, "one"), nil); err != nil {
		t.Fatal(err)
	}
	reopened := openStore(t, Config{Dir: dir})
	if got := versionOf(reopened); got != "v1" {
		t.Errorf("newest version after restart %q, want v1", got)
	}
	if got := payloadOf(t, reopened); got != "one" {
		t.Errorf("payload after restart %q", got)
	}
	wantRejected(t, reopened.Accept(t.Context(), update("p", "v1", issued, "one"), nil), ReasonReplayed)
}

func TestAnnouncementDoesNotPretendThatAPolicyWasLoaded(t *testing.T) {
	var heard emitted
	policies := openStore(t, Config{Emit: heard.emit})
	now := time.Now()
	if err := policies.Accept(t.Context(), update("p", "v1", now.Add(-time.Minute), "one"), nil); err != nil {
		t.Fatal(err)
	}
	if err := policies.Accept(t.Context(), update("p", "v2", now, ""), nil); err != nil {
		t.Fatal(err)
	}
	if got := policies.journal.Announced.Metadata.GetTamiyoPolicyVersion(); got != "v2" {
		t.Errorf("announced %q, want v2", got)
	}
	if got := versionOf(policies); got != "v1" {
		t.Errorf("stored %q, want v1: v2 has no payload", got)
	}
	if event, _ := heard.last(t); event != "policy_update_announced" {
		t.Errorf("emitted %s", event)
	}
}

func TestR16StoredPolicyIsReportedAndNotAsApplied(t *testing.T) {
	var heard emitted
	policies := openStore(t, Config{Emit: heard.emit})
	if err := policies.Accept(t.Context(), update("p", "v1", time.Now(), "one"), nil); err != nil {
		t.Fatal(err)
	}
	event, attributes := heard.last(t)
	if event != "policy_update_stored" || attributes["tamiyo_policy_version"] != "v1" || attributes["policy_id"] != "p" {
		t.Errorf("emitted %s %v", event, attributes)
	}
}

func TestEachRefusalIsItsOwnPacket(t *testing.T) {
	var heard emitted
	policies := openStore(t, Config{Emit: heard.emit, MaxPayload: 1})
	for range 2 {
		wantRejected(t, policies.Accept(t.Context(), update("p", "v", time.Now(), "xx"), nil), ReasonTooLarge)
	}
	if heard.packets[0].GetPacketId() == heard.packets[1].GetPacketId() {
		t.Error("two refusals share a packet id: observers count one")
	}
}

// A prototype's sender may leave the time out: its versions are the order then, until something is
// dated. With a bound on their age all are refused.
func TestUpdatesWithoutATimeGoByTheirVersions(t *testing.T) {
	undated := func(number uint32) *leyline.PolicyUpdate {
		return &leyline.PolicyUpdate{Version: number, PolicyId: "p", TamiyoPolicyVersion: fmt.Sprint("v", number), Payload: []byte{1, byte(number)}}
	}
	policies := openStore(t, Config{})
	for number := range uint32(3) {
		if err := policies.Accept(t.Context(), undated(number), nil); err != nil {
			t.Error(err)
		}
	}
	wantRejected(t, policies.Accept(t.Context(), undated(1), nil), ReasonReplayed)
	if err := policies.Accept(t.Context(), update("p", "dated", time.Now(), "x"), nil); err != nil {
		t.Error(err)
	}
	wantRejected(t, policies.Accept(t.Context(), undated(4), nil), ReasonReplayed)
	wantRejected(t, openStore(t, Config{Freshness: time.Hour}).Accept(t.Context(), undated(0), nil), ReasonStale)
}

func TestFreshnessIsMeasuredWhenTheUpdateArrives(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		policies := openStore(t, Config{Dir: dir, Freshness: time.Minute})
		u := update("p", "v1", time.Now(), "one")
		time.Sleep(time.Minute + time.Nanosecond)
		wantRejected(t, policies.Accept(t.Context(), u, nil), ReasonStale)
	})
}

// Without its journal the next start would take old updates in again.
func TestStoreSaysThatItsFilesAreGone(t *testing.T) {
	dir := t.TempDir()
	policies := openStore(t, Config{Dir: dir})
	if err := policies.InPlace(); err != nil {
		t.Fatalf("before the first update: %v", err)
	}
	for n, lost := range []string{filepath.Base(journal.Path(dir)), filepath.Base(payloads.Folder(dir))} {
		issued := time.Now().Add(time.Duration(n) * time.Millisecond)
		if err := policies.Accept(t.Context(), update("p", fmt.Sprint(n), issued, "payload"), nil); err != nil {
			t.Fatal(err)
		}
		if err := policies.InPlace(); err != nil {
			t.Fatalf("after an update: %v", err)
		}
		path := filepath.Join(dir, lost)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		if err := policies.InPlace(); !errors.Is(err, regularfile.ErrReplaced) || !strings.Contains(err.Error(), lost) {
			t.Errorf("without %s: %v", lost, err)
		}
	}
}

// Publishers have the bus's clock or a machine's, and those may be apart.
func TestUpdateIsTimelyByEitherClock(t *testing.T) {
	const apart = 10 * time.Minute
	for name, row := range map[string]struct {
		bus, issued time.Duration // ahead of this machine's clock
		reason      string
	}{
		"by the bus, which is ahead":     {bus: apart, issued: apart},
		"by this machine, which is late": {bus: apart},
		"by the bus, which is late":      {bus: -apart, issued: -apart},
		"by this machine":                {bus: -apart},
		"ahead of both":                  {bus: apart, issued: 2 * apart, reason: ReasonFuture},
		"behind both":                    {bus: -apart, issued: -2 * apart, reason: ReasonStale},
	} {
		t.Run(name, func(t *testing.T) {
			store := openStore(t, Config{Freshness: time.Minute, Now: func() time.Time { return time.Now().Add(row.bus) }})
			err := store.Accept(t.Context(), update("p", "v", time.Now().Add(row.issued), "x"), nil)
			if row.reason != "" {
				wantRejected(t, err, row.reason)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNamesOfAnUpdateAreBounded(t *testing.T) {
	store := openStore(t, Config{MaxPayload: 1 << 20})
	long := update(strings.Repeat("p", 4096), "v", time.Now().Add(-time.Second), "x")
	wantRejected(t, store.Accept(t.Context(), long, nil), ReasonInvalid)
	if err := store.Accept(t.Context(), update("p", "v", time.Now(), strings.Repeat("x", 100<<10)), nil); err != nil {
		t.Error(err)
	}
}

// Decisions ask which policies are in force; what is told of goes to a disk that may be slow.
func TestNothingWaitsForWhatIsTold(t *testing.T) {
	var store *Store
	told := 0
	clock := &clock{time.Now().Add(-time.Minute)}
	store = openStore(t, Config{Emit: func(*leyline.TelemetryPacket) {
		told++
		if !store.mu.TryLock() {
			t.Error("a decision would wait")
			return
		}
		store.mu.Unlock()
	}})
	payload := networkOf(t, 1, network.Features)
	clock.take(t, store, "v1", payload)
	shadow := update("operator", "", clock.next(), "")
	attributes := journal.ToShadow.Attributes(payloads.Digest(payload))
	if err := store.Accept(t.Context(), shadow, attributes); err != nil {
		t.Fatal(err)
	}
	if !store.Again(shadow, attributes) || told != 3 {
		t.Errorf("told %d times", told)
	}
}
