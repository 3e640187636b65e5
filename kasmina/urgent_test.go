package kasmina

import (
	"fmt"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// crowded is a run of so many seeds whose trainer has read none of the orders to pause them, of
// which some are held back.
func crowded(t *testing.T, seeds int) *world {
	t.Helper()
	w := newWorld(t)
	w.hurried = true
	w.meet()
	for i := range seeds {
		w.plant(fmt.Sprintf("s%02d", i))
	}
	w.report()
	for i := range seeds {
		w.accepts(w.command(0, fmt.Sprintf("s%02d", i), pausing(false, 0)...))
	}
	w.now = w.now.Add(time.Minute)
	if d := w.decide(w.trainer.report(w.now)); len(d.Orders) != ordersAtOnce {
		t.Fatalf("%d orders, some of which should be held back", len(d.Orders))
	}
	w.now = w.now.Add(time.Second)
	return w
}

// An emergency waits for nothing, whatever else there is to say.
func TestEmergencyGoesOutBeforeWhatIsHeldBack(t *testing.T) {
	t.Parallel()
	for _, level := range []leyline.EmergencyLevel{
		leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE, leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT,
	} {
		w := crowded(t, 63)
		w.orders = nil // the stream keeps the last ones alone
		d := w.decide(Emergency{ID: "e", Run: testRun, Level: level, Reason: "x"})
		if len(d.Orders) != ordersAtOnce || d.Orders[0].Kind != trainer.Emergency {
			t.Fatalf("%v: %d orders, the first is %+v", level, len(d.Orders), d.Orders[0])
		}
		w.numbersRise(d.Orders)
		for range 8 {
			w.report()
		}
		if left := len(w.record.Pending); left > 0 {
			t.Errorf("%v: %d orders are without effect", level, left)
		}
		for _, s := range w.trainer.seeds {
			if !s.paused {
				t.Errorf("%v: %s is not paused", level, s.id)
			}
		}
	}
}

// A trainer that takes a halted run over is to halt, before all that is repeated to it.
func TestEmergencyIsTheFirstThatASuccessorHears(t *testing.T) {
	t.Parallel()
	w := crowded(t, 40)
	w.decide(Emergency{ID: "e", Run: testRun, Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT, Reason: "x"})
	heir := *w.trainer
	heir.id, heir.resumes, heir.number, heir.read = "trainer-2", "trainer-1", 0, 0
	w.trainer = &heir
	w.now = w.now.Add(time.Second)
	d := w.decide(w.trainer.report(w.now))
	if len(d.Orders) != ordersAtOnce || d.Orders[0].Kind != trainer.Emergency {
		t.Fatalf("%d orders, the first is %+v", len(d.Orders), d.Orders[0])
	}
	w.numbersRise(d.Orders)
}

// numbersRise fails when a trainer would pass over one of some orders.
func (w *world) numbersRise(orders []trainer.Order) {
	w.t.Helper()
	for i := 1; i < len(orders); i++ {
		if orders[i].Number <= orders[i-1].Number {
			w.t.Errorf("order %d after %d", orders[i].Number, orders[i-1].Number)
		}
	}
}

// Seeds that an emergency order did not take out are ordered out one by one, before whatever else
// there is to say; what gave way to them is not taken for obeyed.
func TestPausesOfAnEmergencyGoFirst(t *testing.T) {
	t.Parallel()
	w := crowded(t, 40)
	st := newStep(w.core, w.record, Tick{}, w.now)
	held := make(map[string]uint64)
	for i := range st.r.Pending {
		p := &st.r.Pending[i]
		if held[p.Seed] = p.Number; p.Sent != 0 { // the others come with them
			st.send(p)
		}
	}
	last := st.r.Seeds[len(st.r.Seeds)-1]
	last.Paused |= pausedByEmergency
	st.ask(pending{Kind: trainer.Optimizer})
	st.holdBack()
	if len(st.d.Orders) != ordersAtOnce || st.d.Orders[0].Seed != last.ID || st.d.Orders[0].Number != held[last.ID] {
		t.Fatalf("%d orders, the first is %+v", len(st.d.Orders), st.d.Orders[0])
	}
	w.numbersRise(st.d.Orders)
	for _, p := range st.r.Pending {
		if p.Seed != last.ID && (p.First != p.Number || p.Number <= held[last.ID]) {
			t.Errorf("%s of %s is order %d, at first %d", p.Kind, p.Seed, p.Number, p.First)
		}
	}
}
