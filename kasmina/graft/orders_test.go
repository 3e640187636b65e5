package graft_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestSeedWalksFromItsKernelToBeingKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageTraining)
	near(t, "in training", w.output(row(1, 2, 3, 4)), []float32{1, 2, 3, 4})
	w.grow("s", stageBlending)
	near(t, "at a share of 0.1", w.output(row(1, 2, 3, 4)), []float32{1.1, 2.2, 3.3, 4.4})
	for range 4 {
		w.graft.Step()
	}
	near(t, "at a share of 0.5", w.output(row(1, 2, 3, 4)), []float32{1.5, 3, 4.5, 6})
	state := w.report(nil).seed("s")
	if state.GetMetrics()[trainer.MetricAlphaSteps] != 5 || state.GetMetrics()[trainer.MetricAlpha] != 0.5 ||
		state.GetStage() != stageBlending {
		t.Errorf("state %v", state)
	}
	for _, stage := range []leyline.SeedLifecycleStage{stageShadowing, stageProbationary, stageFossilized} {
		w.grow("s", stage)
		near(t, stage.String(), w.output(row(1, 2, 3, 4)), []float32{2, 4, 6, 8})
		if w.slot.Parameters("s") != nil {
			t.Errorf("the weights move in %s", stage)
		}
	}
	changes := w.send(w.order(trainer.Tune, "s"))
	if len(changes) != 1 || len(w.slot.Parameters("s")) != 1 || !w.seed("s").Tuned {
		t.Errorf("changes %v, seed %+v", changes, w.seed("s"))
	}
	report := w.report(nil)
	if report.report.OrderRead != w.number || report.report.Grafts["s"].Order != 1 ||
		report.report.Grafts["s"].Slot != "trunk" || report.report.Grafts["s"].Blueprint != "BP001" ||
		report.seed("s").GetMetrics()[trainer.MetricOrder] != float32(w.number) {
		t.Errorf("report %+v, %v", report.report, report.packet)
	}
}

func TestOrderThatComesTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageBlending)
	w.graft.Step()
	for _, again := range []trainer.Kind{trainer.BlendIn, trainer.Attach} {
		order := w.order(again, "s")
		if again == trainer.Attach {
			order = w.attachOrder("s", scaling(t, 2, features), trainer.Blend{})
		}
		if changes := w.send(order); len(changes) != 0 {
			t.Errorf("%s once more changed %v", again, changes)
		}
	}
	if seed := w.seed("s"); seed.Stage != stageBlending || seed.Share != 0.2 {
		t.Errorf("seed %+v", seed)
	}
	report := w.report(nil)
	if report.seed("s").GetMetrics()[trainer.MetricOrder] != float32(w.number) || report.report.Grafts["s"].Order != w.number {
		t.Errorf("the new number is not told: %v", report.packet)
	}
}

func TestOrdersThatDoNotCountAreDroppedAndTrainingGoesOn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason string
		spoil  func(*trainer.Order)
	}{
		{graft.DropSignature, func(*trainer.Order) {}},
		{graft.DropRun, func(o *trainer.Order) { o.Run = "another" }},
		{graft.DropTrainer, func(o *trainer.Order) { o.TrainerID = "another" }},
		{graft.DropNumber, func(o *trainer.Order) { o.Number = 1 }},
		{graft.DropUnknownSeed, func(o *trainer.Order) { o.Seed = "another" }},
		{graft.DropStage, func(o *trainer.Order) { o.Kind = trainer.Keep }},
		{graft.DropNotAccepted, func(o *trainer.Order) {
			o.Kind, o.Seed = trainer.Optimizer, ""
		}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageTraining)
			order := w.order(trainer.BlendIn, "s")
			tt.spoil(&order)
			command := w.signed(order)
			if tt.reason == graft.DropSignature {
				command.Annotations["reason"] = "changed on the way"
			}
			w.bus.send(command)
			w.eventually(func() bool {
				w.graft.Apply()
				return w.graft.Stats().Dropped[tt.reason] == 1
			})
			w.wantStage("s", stageTraining)
		})
	}
}

func TestOrderOfTamiyoIsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	command := &leyline.AdaptationCommand{IssuedBy: "tamiyo", TargetSeedId: "s", Annotations: map[string]string{}}
	if err := w.keyring.SignCommand(command); err != nil {
		t.Fatal(err)
	}
	w.bus.send(command)
	w.eventually(func() bool { return w.graft.Stats().Dropped[graft.DropForeign] == 1 })
}

func TestOrderBehindItsDeadlineIsDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageTraining)
	order := w.order(trainer.BlendIn, "s")
	order.Deadline = time.Millisecond
	w.bus.send(w.signed(order))
	w.eventually(func() bool { return w.graft.Stats().Read == w.number })
	<-time.After(5 * time.Millisecond)
	if changes := w.graft.Apply(); len(changes) != 0 || w.graft.Stats().Dropped[graft.DropLate] != 1 {
		t.Errorf("changes %v, %+v", changes, w.graft.Stats())
	}
	w.wantStage("s", stageTraining)
}

func TestDropThatOvertakesItsAttachHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	attach := w.attachOrder("s", scaling(t, 2, features), trainer.Blend{})
	drop := w.order(trainer.Drop, "s")
	w.bus.send(w.signed(attach), w.signed(drop))
	w.eventually(func() bool { return w.graft.Stats().Read == 2 })
	w.eventually(func() bool {
		w.graft.Apply()
		return settled(w.graft) == 2
	})
	if seeds := w.graft.Seeds(); len(seeds) != 0 {
		t.Errorf("seeds %v, %+v", seeds, w.graft.Stats())
	}
}

func TestPausedSeedIsOutOfTheOutputAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageBlending)
	w.send(w.order(trainer.Pause, "s"))
	w.graft.Step()
	near(t, "paused", w.output(row(1, 1, 1, 1)), []float32{1, 1, 1, 1})
	if w.slot.Parameters("s") != nil || w.report(nil).seed("s").GetMetrics()[trainer.MetricPaused] != 1 {
		t.Error("a paused seed trains, or does not say that it is paused")
	}
	w.send(w.order(trainer.Resume, "s"))
	near(t, "resumed, the ramp where it was", w.output(row(1, 1, 1, 1)), []float32{1.1, 1.1, 1.1, 1.1})
}

func TestKeptSeedIsNotPausedButComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageFossilized)
	if changes := w.send(w.order(trainer.Pause, "s")); len(changes) != 0 || w.graft.Stats().Dropped[graft.DropStage] != 1 {
		t.Errorf("changes %v, %+v", changes, w.graft.Stats())
	}
	near(t, "kept", w.output(row(1, 2, 3, 4)), []float32{2, 4, 6, 8})
	if changes := w.send(w.order(trainer.Resume, "s")); len(changes) != 1 {
		t.Errorf("resuming it changed %v", changes)
	}
}

func TestEmergencyPausesSeedsAndHaltsTheLoop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("kept", scaling(t, 2, features), trainer.Blend{}, stageFossilized)
	w.plant("young", scaling(t, 3, features), trainer.Blend{}, stageBlending)
	alarm := w.order(trainer.Emergency, "")
	alarm.Level = leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE
	w.send(alarm)
	if !w.seed("young").Paused || w.seed("kept").Paused || w.graft.Halted() {
		t.Errorf("seeds %+v", w.graft.Seeds())
	}
	alarm = w.order(trainer.Emergency, "")
	alarm.Level = leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT
	w.send(alarm)
	metrics := w.report(nil).packet.GetTrainingMetrics()
	if !w.graft.Halted() || metrics[trainer.MetricHalted] != 1 || metrics[trainer.MetricOrder] != float32(w.number) {
		t.Errorf("halted %v, metrics %v", w.graft.Halted(), metrics)
	}
}

func TestOptimizerOrderReachesAHostThatAcceptsIt(t *testing.T) {
	t.Parallel()
	host := new(fakeHost)
	w := newWorld(t, func(c *graft.Config) { c.Host, c.Accepts = host, []string{"optimizer"} })
	order := w.order(trainer.Optimizer, "")
	order.Optimizer, order.Parameters = "adam", map[string]float32{"lr": 0.5}
	w.send(order)
	if host.optimizer["lr"] != 0.5 {
		t.Errorf("got %v", host.optimizer)
	}
	host.err = errRefused
	order.Number = w.order(trainer.Optimizer, "").Number
	if changes := w.send(order); len(changes) != 1 || !errors.Is(changes[0].Err, errRefused) {
		t.Errorf("changes %v", changes)
	}
}

func TestDroppedSeedGivesTheHostBackBitByBit(t *testing.T) {
	t.Parallel()
	host := &fakeHost{value: float32(math.Copysign(0, -1))}
	w := newWorld(t, func(c *graft.Config) { c.Host = host })
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageBlending)
	host.value = 3
	changes := w.send(w.order(trainer.Drop, "s"))
	if math.Float32bits(host.value) != 1<<31 || len(host.scopes) != 1 || host.scopes[0] != graft.Touched {
		t.Errorf("host %v after %v", host.value, host.scopes)
	}
	if len(changes) != 1 || changes[0].From != stageBlending || changes[0].To != 0 || len(changes[0].Parameters) != 1 {
		t.Errorf("changes %+v", changes)
	}
	if report := w.report(nil); report.seed("s") != nil || len(report.report.Grafts) != 0 {
		t.Errorf("a seed that is gone is listed: %v", report.packet)
	}
}

func TestSeedThatNeverBlendedLeavesTheHostAlone(t *testing.T) {
	t.Parallel()
	host := &fakeHost{value: 1}
	w := newWorld(t, func(c *graft.Config) { c.Host = host })
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageTraining)
	host.value = 2
	w.send(w.order(trainer.Drop, "s"))
	if host.value != 2 || len(host.scopes) != 0 {
		t.Errorf("host %v after %v", host.value, host.scopes)
	}
}

func TestRollbackGoesBackToTheModelBeforeTheSeed(t *testing.T) {
	t.Parallel()
	host := &fakeHost{value: 1}
	w := newWorld(t, func(c *graft.Config) { c.Host = host })
	w.plant("first", scaling(t, 2, features), trainer.Blend{}, stageFossilized)
	w.send(w.order(trainer.Tune, "first"))
	host.value = 2
	w.plant("second", scaling(t, 3, features), trainer.Blend{}, stageFossilized)
	host.value = 3
	w.slot.Parameters("first")[0].Value.Data[0] = 7 // tuned on since the second joined
	w.plant("third", scaling(t, 5, features), trainer.Blend{}, stageShadowing)
	w.plant("young", scaling(t, 6, features), trainer.Blend{}, stageTraining)
	changes := w.send(w.order(trainer.Rollback, "second"))
	if len(changes) != 2 || host.value != 2 || host.scopes[len(host.scopes)-1] != graft.Whole {
		t.Errorf("changes %+v, host %v", changes, host.value)
	}
	near(t, "output", w.output(row(1, 1, 1, 1)), []float32{2, 2, 2, 2})
	w.wantStage("young", stageTraining)
	if len(w.graft.Seeds()) != 2 {
		t.Errorf("seeds %v", w.graft.Seeds())
	}
}

func TestHostThatCannotBeRestoredIsTold(t *testing.T) {
	t.Parallel()
	host := &fakeHost{err: errRefused}
	w := newWorld(t, func(c *graft.Config) { c.Host = host })
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageBlending)
	if changes := w.send(w.order(trainer.Drop, "s")); !errors.Is(changes[0].Err, errRefused) {
		t.Errorf("changes %+v", changes)
	}
}

func TestAnotherKernelForASeedIsANewLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageShadowing)
	changes := w.send(w.attachOrder("s", scaling(t, 3, features), trainer.Blend{}))
	if len(changes) != 2 {
		t.Errorf("changes %+v", changes)
	}
	w.wantStage("s", stageTraining)
	w.grow("s", stageFossilized)
	changes = w.send(w.attachOrder("s", scaling(t, 4, features), trainer.Blend{}))
	if failed, ok := errors.AsType[*graft.AttachError](changes[0].Err); !ok || failed.Failure != trainer.AttachNoRoom {
		t.Errorf("a kept seed was replaced: %+v", changes)
	}
	near(t, "output", w.output(row(1, 1, 1, 1)), []float32{3, 3, 3, 3})
	if states := w.report(nil).packet.GetSeedStates(); len(states) != 1 || states[0].GetStage() != stageFossilized {
		t.Errorf("states %v", states)
	}
}
