package policies

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// desk takes updates in as the leader does.
type desk struct {
	t        *testing.T
	store    *policy.Store
	take     oona.Handler
	behind   error // what was not to be learned
	deaf     error // why the others cannot be told
	events   []string
	caughtUp int
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t}
	store, err := policy.Open(policy.Config{Dir: t.TempDir(), Emit: func(packet *leyline.TelemetryPacket) {
		d.events = append(d.events, packet.GetEvents()[0].GetDescription())
	}})
	if err != nil {
		t.Fatal(err)
	}
	d.store = store
	d.take = Take(store, func(context.Context) (func(context.Context) error, error) {
		d.caughtUp++
		return func(context.Context) error { return d.deaf }, d.behind
	})
	return d
}

func (d *desk) deliver(id string, attempt int, update *leyline.PolicyUpdate, attributes map[string]string) error {
	_, err := d.take(d.t.Context(), &oona.Delivery{ID: id, Attempt: attempt, Payload: update, Attributes: attributes})
	return err
}

func refused(err error) bool {
	_, rejected := errors.AsType[*policy.RejectedError](err)
	return rejected
}

// What was taken in and is delivered again was not refused; what is sent again is.
func TestRedeliveredUpdateIsNoReplay(t *testing.T) {
	file, at := policyFile(t), time.Now().Add(-time.Minute)
	next := func(payload []byte) *leyline.PolicyUpdate {
		at = at.Add(time.Second)
		return &leyline.PolicyUpdate{PolicyId: "p", TamiyoPolicyVersion: "v", IssuedAt: timestamppb.New(at), Payload: payload}
	}
	d := newDesk(t)
	for _, row := range []struct {
		event      string
		update     *leyline.PolicyUpdate
		attributes map[string]string
	}{
		{"policy_update_stored", next(file), nil},
		{"policy_update_announced", next(nil), nil},
		{"policy_shadowed", next(nil), journal.ToShadow.Attributes(payloads.Digest(file))},
	} {
		away := errors.New("no bus")
		d.deaf, d.events = away, nil
		if err := d.deliver(row.event, 1, row.update, row.attributes); !errors.Is(err, away) || refused(err) {
			t.Errorf("%s, of which nobody could be told: %v", row.event, err)
		}
		d.deaf = nil
		for id, attempt := range map[string]int{row.event: 1, "taken over": 2} {
			if err := d.deliver(id, attempt, row.update, row.attributes); err != nil {
				t.Errorf("%s, delivered again: %v", row.event, err)
			}
		}
		for _, event := range d.events {
			if event != row.event {
				t.Errorf("%s is told of as %s", row.event, event)
			}
		}
		if err := d.deliver("captured", 1, row.update, row.attributes); !refused(err) {
			t.Errorf("%s, sent again: %v", row.event, err)
		}
	}
	if err := d.deliver("old", 2, &leyline.PolicyUpdate{PolicyId: "p", IssuedAt: timestamppb.New(at.Add(-time.Hour))}, nil); !refused(err) {
		t.Errorf("an old one: %v", err)
	}
}

func TestNothingIsTakenInBeforeWhatTheOthersToldIsLearned(t *testing.T) {
	d := newDesk(t)
	d.behind = errors.New("no library")
	update := &leyline.PolicyUpdate{PolicyId: "p", TamiyoPolicyVersion: "v", IssuedAt: timestamppb.Now(), Payload: []byte("x")}
	if err := d.deliver("1", 1, update, nil); !errors.Is(err, d.behind) || refused(err) {
		t.Errorf("taken in with %v", err)
	}
	if _, found := d.store.Recent(); found {
		t.Error("it was taken in")
	}
	d.behind = nil
	if err := d.deliver("1", 1, update, nil); err != nil || d.caughtUp != 2 {
		t.Errorf("%v after %d looks", err, d.caughtUp)
	}
}

// book is what is known of runs; err is of those whose record is nil.
type book struct {
	records map[string]*tamiyo.Record
	err     error
}

func (b book) Runs(context.Context, string, int) ([]string, error) {
	if b.records == nil {
		return nil, b.err
	}
	return slices.Sorted(maps.Keys(b.records)), nil
}

func (b book) View(_ context.Context, run string) (*control.View, error) {
	if record := b.records[run]; record != nil {
		return &control.View{Tamiyo: record}, nil
	}
	return nil, b.err
}

// One run that cannot be read does not hide the others, and no answer is no answer.
func TestComparedIsAskedOfAllRuns(t *testing.T) {
	type records = map[string]*tamiyo.Record
	compared, other := new(tamiyo.Record), new(tamiyo.Record)
	compared.Shadow.Policy, compared.Shadow.Differed = "v1", 1
	other.Shadow.Policy, other.Shadow.Agreed = "v2", 1
	for name, row := range map[string]struct {
		book  book
		want  bool
		fails error
	}{
		"no run":                  {},
		"another's":               {book: book{records: records{"a": new(tamiyo.Record), "b": other, "c": nil}}},
		"the last of several":     {book: book{records: records{"a": other, "b": compared}}, want: true},
		"one that cannot be read": {book: book{records{"a": nil}, errors.New("format 2")}},
		"behind one that cannot":  {book: book{records{"a": nil, "b": compared}, errors.New("format 2")}, want: true},
		"the bus is away":         {book: book{records{"a": nil, "b": compared}, oona.ErrUnavailable}, fails: oona.ErrUnavailable},
		"no list of runs":         {book: book{err: oona.ErrUnavailable}, fails: oona.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			ask := Compared(row.book, slog.New(slog.DiscardHandler))
			if got, err := ask(t.Context(), "v1"); got != row.want || !errors.Is(err, row.fails) {
				t.Errorf("compared %v, %v", got, err)
			}
		})
	}
}
