package kasmina

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestR10_HostGradientThatWasNeverToldIsNoProofOfIsolation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.trainer.spoil = func(_ *fakeSeed, m map[string]float32) { delete(m, "host_gradient_max") }
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Blending)
	told := slices.ContainsFunc(events(w.packets, "gate_event"), func(e *leyline.TelemetryEvent) bool {
		return e.GetAttributes()["host_gradient"] == "unknown" && e.GetAttributes()["passed"] == "true"
	})
	if !told {
		t.Error("the gate does not say that it could not look")
	}
}

func TestR10_HostGradientThatIsToldNoMoreFailsTheGate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.trainer.spoil = func(_ *fakeSeed, m map[string]float32) { delete(m, "host_gradient_max") }
	for range 11 {
		w.report()
	}
	w.wantStage("s", lifecycle.Embargoed)
	w.wantTold("gate_failure", "host gradient not reported")
}

func TestR10_ResetFailsWhileTheTrainerStillHasTheSeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.do(opCull, "s")
	w.now = w.now.Add(time.Second)
	w.decide(w.trainer.report(w.now)) // it has not heard of the drop
	w.wait(31 * time.Second)
	w.wantStage("s", lifecycle.Embargoed)
	w.wantTold("gate_failure", "reset state not clean")
	w.report()
	w.report()
	w.wait(time.Minute)
	w.wantStage("s", lifecycle.Unknown)
}

func TestR10_ResetFailsWhileAViolationMayStillBeThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.trainer.spoil = spoiled("shared_parameters", 1)
	for range 3 {
		w.report()
	}
	w.wantStage("s", lifecycle.Embargoed)
	w.wait(40 * time.Second) // the trainer says nothing
	w.wantStage("s", lifecycle.Embargoed)
	w.trainer.spoil = nil
	w.report()
	w.wait(2 * time.Minute)
	w.wantStage("s", lifecycle.Unknown)
}

func TestR10_InfiniteParametersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.rejects(w.command(opGerminate, "s", func(c *leyline.AdaptationCommand) {
		c.GetSeedOperation().Parameters = map[string]float32{"rate": float32(math.Inf(1))}
	}), ReasonPreflight)
	if _, attributes := w.told("gate_event"); attributes["gate"] != "SEED_GATE_G0_SANITY" || attributes["passed"] != "false" {
		t.Errorf("event %v", attributes)
	}
}

func TestR10_CommandOlderThanItsDeadlineIsNotCarriedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	command := w.command(opGerminate, "s", within(1000))
	w.now = w.now.Add(1001 * time.Millisecond)
	w.rejects(command, ReasonDeadlineExceeded)
	w.plant("s")
	w.now = w.now.Add(time.Second)
	pause := w.command(0, "s", ofType(leyline.CommandType_COMMAND_PAUSE), within(5000))
	w.now = w.now.Add(2 * time.Second)
	w.accepts(pause)
	if order := w.orders[len(w.orders)-1]; order.Deadline != 3*time.Second {
		t.Errorf("the order has %v left, want what is left of its command's", order.Deadline)
	}
}

func TestR10_ParametersReachTheKernel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s", func(c *leyline.AdaptationCommand) {
		c.GetSeedOperation().Parameters = map[string]float32{"rate": 0.1, "hidden": 16}
	})
	if got := w.requests[0].Attributes[trainer.AttributeParameters]; got != `{"hidden":16,"rate":0.1}` {
		t.Errorf("asked for %s", got)
	}
	if got := w.orders[0].Parameters; got["rate"] != 0.1 || got["hidden"] != 16 {
		t.Errorf("ordered %v", got)
	}
}

func TestR10_GuardDigestOfAnotherSlotIsRefused(t *testing.T) {
	t.Parallel()
	fallback := digestOf("BP001:1")
	tests := []struct {
		name   string
		digest string
		format bool
		passes bool
	}{
		{"the slot's own", guardDigest([]int{3}), true, true},
		{"in capitals", strings.ToUpper(guardDigest([]int{3})), true, true},
		{"another slot's", guardDigest([]int{4}), true, false},
		{"none", "", true, false},
		{"of an imported kernel's blueprint", fallback, true, true},
		{"of the blueprint, from the prototype's library", fallback, false, true},
		{"of another blueprint", digestOf("BP002:1"), false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := announced(t, func(r *Ready) {
				r.Ready.GuardDigest = tt.digest
				if !tt.format {
					r.Attributes = nil
				}
			})
			if passes := len(w.orders) == 1; passes != tt.passes {
				t.Errorf("passes: %v", passes)
			}
		})
	}
}
