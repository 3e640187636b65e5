package kasmina

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	elevated = leyline.EmergencyLevel_EMERGENCY_LEVEL_ELEVATED
	halt     = leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT
)

func alarmed(level string) change {
	return func(c *leyline.AdaptationCommand) {
		ofType(leyline.CommandType_COMMAND_EMERGENCY)(c)
		c.Annotations["level"] = level
	}
}

func TestEmergencyPausesTheSeedsUntilItIsLifted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.accepts(w.command(0, "", alarmed("EMERGENCY_LEVEL_CONSERVATIVE"), func(c *leyline.AdaptationCommand) {
		c.Annotations["reason"] = "the loss is odd"
	}))
	if ordered := w.record.Pending[0].Reason; ordered != "the loss is odd" {
		t.Errorf("the trainer is told %q", ordered)
	}
	w.report()
	w.report()
	if !w.trainer.seeds[0].paused || w.trainer.halted || len(w.record.Pending) != 0 {
		t.Errorf("trainer %+v, pending %+v", w.trainer.seeds[0], w.record.Pending)
	}
	w.rejects(w.command(opGerminate, "t"), ReasonEmergency)
	for range 20 {
		w.report()
	}
	w.wantStage("s", lifecycle.Training)
	if got := NewView(w.record); got.Emergency != "EMERGENCY_LEVEL_CONSERVATIVE" || got.Because != "the loss is odd" || got.Seeds[0].Paused[0] != "emergency" {
		t.Errorf("view %+v", got)
	}
	tells := func() map[string]string { return w.packets[len(w.packets)-1].GetSystemHealth().GetIndicators() }
	if told := tells(); told["emergency"] != "EMERGENCY_LEVEL_CONSERVATIVE" || told["emergency_reason"] != "the loss is odd" {
		t.Errorf("a packet says %v", told)
	}
	w.accepts(w.command(0, "", alarmed("1")))
	if told := tells(); told["emergency"] != "" {
		t.Errorf("a packet after its end says %v", told)
	}
	w.report()
	if w.trainer.seeds[0].paused {
		t.Error("still paused")
	}
	w.grow("s", lifecycle.Blending)
}

func TestHaltIsHeldUntilTheTrainerSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.decide(Emergency{Level: halt, Reason: "heat", Origin: "operator", ID: "e-1"})
	if event, attributes := w.told("emergency_signal"); event.GetLevel() != levelCritical || attributes["reason"] != "heat" {
		t.Errorf("event %v", event)
	}
	w.report()
	if !w.trainer.halted {
		t.Fatal("not halted")
	}
	w.trainer = newFakeTrainer("trainer-2")
	w.trainer.resumes = "trainer-1"
	w.report()
	w.report()
	if !w.trainer.halted || w.orders[len(w.orders)-1].Kind != trainer.Emergency {
		t.Error("the trainer that took over goes on")
	}
	w.report()
	if len(w.record.Pending) != 0 {
		t.Errorf("pending %+v", w.record.Pending)
	}
}

func TestSignalActsOnceAndAMildOneOnlyTells(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.orders = nil
	w.decide(Emergency{Level: elevated, ID: "mild"})
	for range 3 {
		w.now = w.now.Add(time.Second)
		w.decide(Emergency{Level: halt, ID: "e-1"})
	}
	if got := events(w.packets, "emergency_signal"); len(got) != 2 {
		t.Errorf("%d events, want one of each", len(got))
	}
	if got := w.kinds(); len(got) != 1 || got[0] != "emergency:" {
		t.Errorf("orders %v", got)
	}
	w.decide(Emergency{Level: elevated, ID: "mild-2"})
	if w.record.Emergency.Level != halt {
		t.Error("a mild signal lifted the emergency")
	}
}

func TestHaltOutlivesARecordThatWasLostAndIsLifted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.decide(Emergency{Level: halt, ID: "e-1"})
	w.report()
	w.record = nil
	w.report()
	if w.record.Emergency.Level != halt || !w.trainer.halted {
		t.Fatal("a lost record let the training go on")
	}
	w.accepts(w.command(0, "", alarmed("0")))
	w.report()
	w.report()
	if w.trainer.halted || w.trainer.seeds[0].paused || len(w.record.Pending) != 0 {
		t.Errorf("still halted, pending %+v", w.record.Pending)
	}
}

func TestTrainerThatComesBackHaltedAfterTheEmergencyIsToldSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.trainer = newFakeTrainer("trainer-2")
	w.trainer.resumes, w.trainer.halted = "trainer-1", true // from a checkpoint of then
	w.report()
	w.report()
	if w.trainer.halted {
		t.Error("still halted")
	}
}

func TestEmergencyBeforeTheFirstReportIsOrderedWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.decide(Emergency{Run: testRun, Level: halt, Reason: "heat", ID: "e-1"})
	if w.record == nil || len(d.Orders) != 0 {
		t.Fatalf("record %+v, orders %v of a run without a trainer", w.record, d.Orders)
	}
	w.report()
	w.report()
	if !w.trainer.halted || w.record.Emergency.Reason != "heat" {
		t.Errorf("halted %v, emergency %+v", w.trainer.halted, w.record.Emergency)
	}
}
