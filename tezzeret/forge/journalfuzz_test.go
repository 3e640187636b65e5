package forge

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/esper-lite/weatherlight/leyline"
)

// FuzzJournal reads a journal of any bytes, and wants the same state back from
// the shortest journal that it is written as.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"op":"started","blueprint":"BP001","digest":"d","time":"2026-01-01T00:00:00Z"}` + "\n"))
	f.Add([]byte(`{"op":"failed","blueprint":"BP001","digest":"d","failures":2,"until":"2026-01-01T00:00:00Z"}` + "\n"))
	f.Add([]byte(`{"op":"saving","blueprint":"BP001","digest":"d","checksum":"c"}` + "\n" + `{"op":"sto`))
	f.Add([]byte(`{"op":"stored","blueprint":"BP001","digest":"d","update":{"blueprintId":"BP001","checksum":"c"}}` + "\n"))
	f.Add([]byte("null\n[]\n{}\n\xff\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l := newJournalState()
		l.takeLines(text, func(int, error) {})
		entries, err := l.entries()
		if err != nil {
			return // an update that cannot be written was never one of ours
		}
		short, err := encode(entries)
		if err != nil {
			return
		}
		again := newJournalState()
		again.takeLines(short, func(line int, err error) { t.Errorf("line %d of %s: %v", line, short, err) })
		if diff := cmp.Diff(l.unannounced, again.unannounced, protocmp.Transform()); diff != "" {
			t.Errorf("the shorter journal announces something else: %s", diff)
		}
		for id, s := range l.byID {
			if got := again.of(id); got.crashes != s.crashes || got.built != s.built || got.saving != s.saving {
				t.Errorf("%q: %+v, want %+v", id, *got, *s)
			}
		}
	})
}

func TestCompactedJournalSaysTheSame(t *testing.T) {
	l := newJournalState()
	now := time.Unix(1700000000, 0).UTC()
	update := &leyline.KernelCatalogUpdate{BlueprintId: "BP004", Checksum: "c", ArtifactRef: "/a"}
	stored, err := storedEntry(update, "d4")
	if err != nil {
		t.Fatal(err)
	}
	history := []entry{
		{Op: opStarted, Blueprint: "BP001", Digest: "d1", Time: now},
		{Op: opStarted, Blueprint: "BP001", Digest: "d1", Time: now},
		{Op: opStarted, Blueprint: "BP002", Digest: "d2", Time: now},
		{Op: opFailed, Blueprint: "BP002", Digest: "d2", Failures: 3, Reason: "poison", Until: now},
		{Op: opStarted, Blueprint: "BP003", Digest: "d3", Time: now},
		{Op: opSaving, Blueprint: "BP003", Digest: "d3", Checksum: "c3"},
		stored,
		{Op: opBuilt, Blueprint: "BP005", Digest: "d5"},
		{Op: opStarted, Blueprint: "BP006", Digest: "d6", Time: now},
		{Op: opStopped, Blueprint: "BP006"},
	}
	for _, e := range history {
		if err := l.take(e); err != nil {
			t.Fatal(err)
		}
	}
	short, err := l.entries()
	if err != nil {
		t.Fatal(err)
	}
	again := newJournalState()
	for _, e := range short {
		if err := again.take(e); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(l.unannounced, again.unannounced, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	for _, id := range []string{"BP001", "BP002", "BP003", "BP004", "BP005"} {
		got, want := *again.of(id), *l.of(id)
		if id == "BP003" { // begun, but past the danger: who is saving has compiled
			got.tried, got.since, want.tried, want.since = "", time.Time{}, "", time.Time{}
		}
		if want.crashes == 0 { // nothing asks when it began
			got.since, want.since = time.Time{}, time.Time{}
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", id, got, want)
		}
	}
}
