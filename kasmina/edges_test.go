package kasmina

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// forced sets the kernel breaker by command.
func (w *world) forced(state leyline.CircuitBreakerState) {
	w.t.Helper()
	w.accepts(w.command(0, "", func(c *leyline.AdaptationCommand) {
		c.CommandType = leyline.CommandType_COMMAND_CIRCUIT_BREAKER
		c.Payload = &leyline.AdaptationCommand_CircuitBreaker{CircuitBreaker: &leyline.CommandCircuitBreaker{DesiredState: state}}
	}))
}

func TestBreakersProbeEndsWithItsSeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.forced(circuitOpen)
	w.now = w.now.Add(2 * time.Minute)
	w.report()
	w.do(opGerminate, "a")
	w.trainer.layers, w.trainer.slots = []string{"bias"}, map[string][]int{"hidden": {4}} // the host changes meanwhile
	w.report()
	w.decide(w.ready(w.lastRequest()))
	w.wantStage("a", lifecycle.Embargoed)
	w.trainer.layers, w.trainer.slots = []string{"weight", "bias"}, map[string][]int{"hidden": {3}}
	w.report()
	w.do(opGerminate, "b")
	w.wantStage("b", lifecycle.Germinated)
}

func TestHostGradientIsToldOnlyWhereASeedIsInTheOutput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
	w.trainer.spoil = func(s *fakeSeed, m map[string]float32) {
		if s.stage < lifecycle.Blending || s.stage > lifecycle.Probationary {
			delete(m, trainer.MetricHostGradientMax)
		}
	}
	w.meet()
	for _, id := range []string{"a", "b"} {
		w.plant(id)
		w.grow(id, lifecycle.Fossilized)
	}
}

func TestHarmCullsWhateverElseASeedBrings(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*fakeSeed, map[string]float32){
		"a loss that is no number": spoiled(trainer.MetricLossAfter, float32(math.NaN())),
		"three times the loss":     spoiled(trainer.MetricLossAfter, 3),
		"and a gain that may be by chance": func(_ *fakeSeed, m map[string]float32) {
			m[trainer.MetricLossAfter] = 3
			delete(m, trainer.MetricAccuracyError)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
			w.meet()
			w.plant("a")
			w.grow("a", lifecycle.Shadowing)
			w.trainer.spoil = spoil
			w.report()
			w.wantStage("a", lifecycle.Embargoed)
		})
	}
}

func TestTuningIsOrderedAgainAfterATakeover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
	w.meet()
	w.plant("a")
	w.grow("a", lifecycle.Fossilized)
	checkpoint := *w.trainer.seeds[0] // it is kept, and rests
	w.report()
	w.report()
	next := newFakeTrainer("trainer-2")
	next.resumes, next.read = "trainer-1", checkpoint.order
	next.seeds = append(next.seeds, &checkpoint)
	w.trainer, w.orders = next, nil
	w.report()
	w.report()
	if !slices.Contains(w.kinds(), "tune:a") {
		t.Errorf("orders %v", w.kinds())
	}
}

func TestEveryKeptSeedIsTuned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
	w.trainer.slots["other"] = []int{3}
	w.meet()
	w.plant("a")
	w.plant("b", annotate("slot", "other"))
	w.grow("a", lifecycle.Fossilized)
	w.grow("b", lifecycle.Fossilized)
	w.report()
	w.report()
	for _, want := range []string{"tune:a", "tune:b"} {
		if !slices.Contains(w.kinds(), want) {
			t.Errorf("no %s in %v", want, w.kinds())
		}
	}
}

func TestRunThatNobodyReportsForRests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("a")
	w.do(opCull, "a")
	w.hurried = true
	writes := 0
	end := w.now.Add(40 * 24 * time.Hour)
	for w.now.Before(end) {
		due := w.core.Decide(w.record, Tick{}, w.now).Due
		if due.IsZero() {
			break
		}
		w.now = due
		if d := w.decide(Tick{}); d.Record != nil {
			writes++
		}
	}
	if writes > 2 {
		t.Errorf("it was written %d times", writes)
	}
	w.now, w.hurried, w.trainer.seeds = end, false, nil
	w.report()
	w.report()
	if w.record.find("a") != nil {
		t.Errorf("when its trainer is back without it, the seed is in %s", w.stage("a"))
	}
}

func TestKeptSeedIsNeverPaused(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*world){
		"the record is lost while the run is halted": func(w *world) {
			w.grow("a", lifecycle.Fossilized)
			w.report()
			w.accepts(w.command(0, "", ofType(leyline.CommandType_COMMAND_EMERGENCY), annotate("level", "4")))
			w.report()
			w.record, w.orders, w.numbers = nil, nil, map[uint64]string{}
		},
		"an emergency comes between the order to keep and its effect": func(w *world) {
			w.grow("a", lifecycle.Probationary)
			for !slices.Contains(w.kinds(), "keep:a") {
				w.report()
			}
			w.accepts(w.command(0, "", ofType(leyline.CommandType_COMMAND_EMERGENCY), annotate("level", "3")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
			w.meet()
			w.plant("a")
			prepare(w)
			for range 5 {
				w.report()
			}
			if slices.Contains(w.kinds(), "pause:a") || w.record.find("a").Paused != 0 {
				t.Errorf("orders %v, paused: %v", w.kinds(), w.record.find("a").Paused.names())
			}
		})
	}
}

func TestPacketsOfDifferentRunsHaveDifferentIDs(t *testing.T) {
	t.Parallel()
	core := newWorld(t).core
	runs := make(map[string]string)
	for i, run := range []string{"x", "y"} {
		var record *Record
		now := noon.Add(time.Duration(i) * time.Microsecond)
		report := newFakeTrainer("t").report(now)
		report.Packet.TrainingRunId = run
		record = core.Decide(record, report, now).Record
		for n := range 3 {
			d := core.Decide(record, Emergency{Level: 1, ID: number(n)}, now)
			record = d.Record
			for _, packet := range d.Packets {
				if other := runs[packet.GetPacketId()]; other != "" {
					t.Errorf("run %s: %s is a packet of run %s", run, packet.GetPacketId(), other)
				}
				runs[packet.GetPacketId()] = run
			}
		}
	}
}

func TestRampGoesOnAfterTheRecordIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := trainer.Schedule{Shape: trainer.ShapeLinear, Steps: 1000, Temperature: 2}
	w.trainer.spoil = func(s *fakeSeed, m map[string]float32) { m[trainer.MetricAlpha] = float32(long.At(s.steps)) }
	w.meet()
	w.plant("a", annotate("alpha_schedule", "linear"), annotate("alpha_steps", "1000"))
	w.grow("a", lifecycle.Blending)
	w.report()
	w.record, w.orders, w.numbers = nil, nil, map[uint64]string{}
	for range 5 {
		w.report()
	}
	w.wantStage("a", lifecycle.Blending)
}

func TestAttachThatFoundNoRoomIsOrderedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "a")
	for k := range 10 { // the trainer lists strays, and reads nothing
		w.trainer.seeds = nil
		for i := range 32 {
			w.trainer.seeds = append(w.trainer.seeds, &fakeSeed{id: "stray-" + number(k*32+i), stage: lifecycle.Training})
		}
		w.now = w.now.Add(10 * time.Millisecond)
		w.decide(w.trainer.report(w.now))
	}
	w.decide(w.ready(w.lastRequest()))
	w.trainer.seeds = nil
	for range 5 {
		w.report()
	}
	w.wantStage("a", lifecycle.Training)
}

func TestSecondGerminationWithOtherRulesIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "a")
	w.rejects(w.command(opGerminate, "a", annotate("promotion_min_training", "9")), ReasonSeedLive)
}

func TestEmergencyOfAnUnknownRunOrLevel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rejects(w.command(0, "", ofType(leyline.CommandType_COMMAND_EMERGENCY), annotate("level", "4")), ReasonNoTrainer)
	if w.record != nil {
		t.Error("a run that nobody trains has a record")
	}
	w.meet()
	w.decide(Emergency{Level: 7, ID: "x"})
	if got := w.orders[len(w.orders)-1]; got.Level != leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT {
		t.Errorf("a level above all was ordered as %s", got.Level)
	}
}

func TestRollbackIsMeasuredFromTheCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("a")
	w.grow("a", lifecycle.Shadowing)
	w.accepts(w.command(0, "a", ofType(leyline.CommandType_COMMAND_ROLLBACK), func(c *leyline.AdaptationCommand) { c.Payload = nil }))
	orders := w.orders
	w.orders = nil
	for range 5 { // the order is lost
		w.now = w.now.Add(10 * time.Second)
		w.decide(w.trainer.report(w.now))
	}
	w.orders = append(orders, w.orders...)
	w.now = w.now.Add(10 * time.Second)
	w.trainer.obey(w.orders)
	w.decide(w.trainer.report(w.now))
	if _, told := w.told("rollback_done"); !strings.HasPrefix(told["latency_ms"], "60") {
		t.Errorf("a rollback of a minute took %s ms", told["latency_ms"])
	}
}

func TestSilenceIsShortAgainSoonAfterALongGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.now = w.now.Add(2 * time.Hour)
	w.decide(w.trainer.report(w.now))
	for range 12 {
		w.now = w.now.Add(10 * time.Second)
		w.decide(w.trainer.report(w.now))
	}
	if silence := w.core.config.silence(&w.record.Trainer); silence > time.Minute {
		t.Errorf("it is %v", silence)
	}
}

func TestRecordOfLongNamesKeepsWithinItsBound(t *testing.T) {
	t.Parallel()
	for _, fill := range []string{"x", "<", "\x01"} { // JSON makes the others up to six times as long
		w := newWorld(t)
		w.hurried = true
		long := func(what string, i int) string {
			name := fmt.Sprintf("%s%03d", what, i)
			return name + strings.Repeat(fill, maxIDLength-len(name))
		}
		w.trainer.slots = map[string][]int{}
		for i := range maxEntries {
			w.trainer.slots[long("slot", i)] = []int{3}
		}
		w.meet()
		for i := range maxEntries {
			refused := w.send(w.command(opGerminate, long("seed", i), annotate("slot", long("slot", i)), func(c *leyline.AdaptationCommand) {
				c.GetSeedOperation().BlueprintId = strings.Repeat(fill, maxIDLength)
			}))
			if refused != nil {
				break
			}
			w.decide(w.ready(w.lastRequest()))
			w.report()
		}
		if len(w.record.Seeds) < 10 {
			t.Fatalf("%q: %d seeds found room", fill, len(w.record.Seeds))
		}
		for _, seed := range w.trainer.seeds {
			seed.stage = lifecycle.Probationary // to which none was ordered: all are culled at once
		}
		w.report()
		if size := len(stored(t, w.record)); size > maxRecordBytes-(32<<10) || len(w.record.Ended) == 0 {
			t.Errorf("%q: a record of %d bytes, %d seeds ended", fill, size, len(w.record.Ended))
		}
	}
}

// A trainer that has read a number asks for none below it, so that an order which waits for room
// on the stream goes out before any that was made later.
func TestOrdersThatWereHeldBackGoOutInTheirOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hurried = true
	w.trainer.accepts = []string{string(trainer.Optimizer)}
	w.meet()
	for i := range 40 {
		w.do(opGerminate, "seed-"+number(i))
		w.decide(w.ready(w.lastRequest()))
	}
	w.report()
	for _, seed := range w.trainer.seeds {
		seed.stage = lifecycle.Probationary // to which none was ordered: all are culled at once
	}
	w.trainer.obey(w.orders)
	w.orders = nil
	w.decide(w.trainer.report(w.now))
	if len(w.orders) != ordersAtOnce {
		t.Fatalf("%d orders at once", len(w.orders))
	}
	w.accepts(w.command(0, "", ofType(leyline.CommandType_COMMAND_OPTIMIZER), func(c *leyline.AdaptationCommand) {
		c.Payload = &leyline.AdaptationCommand_OptimizerAdjustment{OptimizerAdjustment: &leyline.CommandOptimizerAdjustment{
			OptimizerId: "adam", Hyperparameters: map[string]float32{"lr": 0.1},
		}}
	}))
	for i, order := range w.orders[1:] {
		if order.Number <= w.orders[i].Number {
			t.Fatalf("order %d goes out after %d", order.Number, w.orders[i].Number)
		}
	}
	if got := len(w.orders); got != 41 {
		t.Errorf("%d orders, want all 40 and the optimizer's", got)
	}
	w.trainer.obey(w.orders)
	w.wantGrafted()
}
