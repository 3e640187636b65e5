package emergency

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

func TestEmergencyIsKnownByItsTimeOrElseByItsEntry(t *testing.T) {
	at := timestamppb.New(time.Unix(1_800_000_000, 5))
	signal := func(change func(*leyline.EmergencySignal)) *leyline.EmergencySignal {
		s := &leyline.EmergencySignal{Level: halt, Origin: "operator", TriggeredAt: at, MonotonicTimeMs: 7}
		change(s)
		return s
	}
	same := func(*leyline.EmergencySignal) {}
	untimed := func(s *leyline.EmergencySignal) { s.TriggeredAt, s.MonotonicTimeMs = nil, 0 }
	for _, row := range []struct {
		name       string
		one, other func(*leyline.EmergencySignal)
		entries    [2]string
		known      bool
	}{
		{"sent twice", same, same, [2]string{"1-0", "2-0"}, true},
		{"of another origin", same, func(s *leyline.EmergencySignal) { s.Origin = "tolaria" }, [2]string{"1-0", "1-0"}, false},
		{"of another level", same, func(s *leyline.EmergencySignal) { s.Level = notice }, [2]string{"1-0", "1-0"}, false},
		{"a nanosecond later", same, func(s *leyline.EmergencySignal) { s.TriggeredAt = timestamppb.New(at.AsTime().Add(1)) }, [2]string{"1-0", "1-0"}, false},
		{"of another start of its clock", same, func(s *leyline.EmergencySignal) { s.MonotonicTimeMs = 8 }, [2]string{"1-0", "1-0"}, false},
		{"without a time", untimed, untimed, [2]string{"1-0", "2-0"}, false},
		{"without a time, delivered twice", untimed, untimed, [2]string{"1-0", "1-0"}, true},
		{"by the monotonic clock alone", func(s *leyline.EmergencySignal) { s.TriggeredAt = nil },
			func(s *leyline.EmergencySignal) { s.TriggeredAt = nil }, [2]string{"1-0", "2-0"}, true},
	} {
		one, other := emergencyID(signal(row.one), row.entries[0]), emergencyID(signal(row.other), row.entries[1])
		if (one == other) != row.known {
			t.Errorf("%s: %s and %s", row.name, one, other)
		}
	}
}

func TestSharedEmergencyGoesToTheBusWhenRunsHaveToActOnIt(t *testing.T) {
	w := newWatched()
	if !w.Shared(shmsignal.Trigger{Level: notice, Reason: "warm", AtMs: 1000, Count: 1}) || len(w.relayed) != 0 {
		t.Errorf("a mild one was relayed: %v", w.relayed)
	}
	if !w.Shared(shmsignal.Trigger{Level: actingLevel, Reason: "smoke", AtMs: 2000, Count: 1}) || len(w.relayed) != 1 {
		t.Fatalf("relayed %v", w.relayed)
	}
	signal, _ := w.relayed[0].Payload.(*leyline.EmergencySignal)
	if signal.GetLevel() != actingLevel || signal.GetReason() != "smoke" || signal.GetMonotonicTimeMs() != 2000 {
		t.Errorf("relayed %v", signal)
	}
	told := len(w.packets)
	w.signal(t, signal) // it comes back from the bus
	if len(w.packets) != told || len(w.acted) != 1 || w.acted[0].Level != actingLevel {
		t.Errorf("%d packets, acted on %v", len(w.packets)-told, w.acted)
	}
}

func TestSharedEmergenciesWithoutATimeAreRelayedEach(t *testing.T) {
	w := newWatched()
	for i := range 2 {
		w.Shared(shmsignal.Trigger{Level: halt, Reason: "smoke", FoundAt: time.Unix(int64(i), 0), Count: 1})
	}
	if len(w.relayed) != 2 || w.relayed[0].Once == w.relayed[1].Once {
		t.Errorf("relayed %v", w.relayed)
	}
}

func TestEmergencyThatCannotBeHandedOnComesBack(t *testing.T) {
	w := newWatched()
	for number, at := range []uint64{1000, 0} { // of a known and of an unknown time
		w.broken = errors.New("the disk is full")
		raised := shmsignal.Trigger{Level: halt, Reason: "smoke", AtMs: at, FoundAt: time.Unix(1, 0), Count: 1}
		for range 3 {
			if w.Shared(raised) {
				t.Error("taken, though it was kept nowhere")
			}
		}
		w.broken = nil
		if !w.Shared(raised) || len(w.relayed) != number+1 || len(w.packets) != number+1 {
			t.Errorf("raised at %d: relayed %d, told %d", at, len(w.relayed), len(w.packets))
		}
	}
	for number, signal := range []*leyline.EmergencySignal{halted(5000, "fire"), {Level: halt, Reason: "untimed", Origin: "x"}} {
		w.refused = errors.New("no records")
		if err := w.deliver(t.Context(), signal); !errors.Is(err, w.refused) {
			t.Errorf("acknowledged: %v", err)
		}
		w.refused = nil
		if err := w.redeliver(t.Context(), signal); err != nil {
			t.Error(err)
		}
		if len(w.acted) != number+1 || w.points()["weatherlight.emergency.detections_total"] != float64(number+3) {
			t.Errorf("acted on %v, told %v", w.acted, w.points())
		}
	}
}

func TestWhatIsNoSignalIsRefused(t *testing.T) {
	_, err := newWatched().Signal(t.Context(), &oona.Delivery{Payload: &leyline.TelemetryPacket{}})
	if err == nil {
		t.Error("a packet was taken for a signal")
	}
}
