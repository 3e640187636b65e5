package kasmina

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

func metric(packet *leyline.TelemetryPacket, name string) *leyline.MetricPoint {
	for _, point := range packet.GetMetrics() {
		if point.GetName() == name {
			return point
		}
	}
	return nil
}

func indicator(packet *leyline.TelemetryPacket, name string) string {
	return packet.GetSystemHealth().GetIndicators()[name]
}

func TestSeedPacketHasThePrototypesForm(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s", annotate("blend_mode", "CHANNEL"), annotate("alpha_vec", "[0.1,0.2,0.3]"))
		w.grow("s", stageBlending)
		packets := w.emitted()
		last := packets[len(packets)-1]
		if !strings.HasPrefix(last.GetPacketId(), "kasmina-seed-s-") || last.GetSourceSubsystem() != "kasmina" ||
			last.GetLevel() != levelInfo {
			t.Errorf("packet %s from %s, level %s", last.GetPacketId(), last.GetSourceSubsystem(), last.GetLevel())
		}
		for name, text := range map[string]string{
			"seed_id": "s", "step_index": "", "priority": "MESSAGE_PRIORITY_NORMAL",
		} {
			if indicator(last, name) != text {
				t.Errorf("indicator %s is %q", name, indicator(last, name))
			}
		}
		stage := last.GetEvents()[0]
		want := map[string]string{"seed_id": "s", "stage": "SEED_STAGE_BLENDING", "alpha": "0.0110"}
		if stage.GetDescription() != "seed_stage" || !equalMaps(stage.GetAttributes(), want) {
			t.Errorf("first event %v", stage)
		}
		blend := last.GetEvents()[1].GetAttributes()
		if blend["mode"] != "CHANNEL" || blend["alpha_vec_len"] != "3" {
			t.Errorf("second event %v", last.GetEvents()[1])
		}
		for name, unit := range map[string]string{
			"kasmina.seeds.active": "count", "kasmina.isolation.violations": "count",
			"kasmina.command_verifier.accepted_total": "count", "kasmina.nonce_ledger.size": "count",
			"kasmina.nonce_ledger.evictions_total": "count", "kasmina.nonce_ledger.ttl_seconds": "seconds",
			"kasmina.prefetch.inflight": "count", "kasmina.prefetch.requests_total": "count",
			"kasmina.prefetch.latency_ms": "ms", "kasmina.fallback.active": "bool", "kasmina.breaker.state": "state",
			"kasmina.breaker.failures": "count", "kasmina.seed.stage": "state", "kasmina.seed.alpha": "ratio",
			"kasmina.seed.kernel_attached": "flag", "kasmina.seed.kernel_latency_ms": "ms",
			"kasmina.seed.isolation_violations": "count", "kasmina.seed.alpha_steps": "count",
		} {
			if got := metric(last, name); got.GetUnit() != unit {
				t.Errorf("metric %s is %v", name, got)
			}
		}
		if stage := metric(last, "kasmina.seed.stage"); stage.GetValue() != 4 || stage.GetAttributes()["seed_id"] != "s" {
			t.Errorf("metric %v", stage)
		}
	})
}

func equalMaps(a, b map[string]string) bool {
	return proto.Equal(&leyline.TelemetryEvent{Attributes: a}, &leyline.TelemetryEvent{Attributes: b})
}

func TestOperationTellsTheCommandItCameFrom(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.do(opGerminate, "s")
		told := events(w.emitted(), "seed_operation")
		want := map[string]string{
			"command_type": "COMMAND_SEED", "operation": "SEED_OP_GERMINATE", "seed_id": "s",
			"blueprint_id": "BP001", "command_id": "cmd-1",
		}
		if len(told) != 1 || !equalMaps(told[0].GetAttributes(), want) {
			t.Errorf("events %v", told)
		}
	})
}

// A healthy germination must not be routed to the emergency stream.
func TestHealthyGrowthIsNormalPriority(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s")
		w.grow("s", stageProbationary)
		for _, packet := range w.emitted() {
			if got := indicator(packet, "priority"); got != "MESSAGE_PRIORITY_NORMAL" {
				t.Errorf("%s has priority %s: %v", packet.GetPacketId(), got, packet.GetEvents())
			}
		}
	})
}

func TestPriorityCountsTheEventsThatTheBuilderAdds(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s")
		leak := goodEvidence()
		leak["host_gradient_max"] = 1
		w.observe("s", 1, leak)
		w.finalize(1)
		packets := w.emitted()
		index := slices.IndexFunc(packets, func(p *leyline.TelemetryPacket) bool {
			return strings.HasPrefix(p.GetPacketId(), "kasmina-global-")
		})
		if index < 0 || indicator(packets[index], "priority") != "MESSAGE_PRIORITY_HIGH" ||
			packets[index].GetSystemHealth().GetStatus() != leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY {
			t.Fatalf("global packet %v", packets)
		}
		if status, summary := w.manager.Health(); status != leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY ||
			summary != "violations" {
			t.Errorf("health %s %s", status, summary)
		}
		wait(31 * time.Second)
		if status, _ := w.manager.Health(); status != leyline.HealthStatus_HEALTH_STATUS_HEALTHY {
			t.Errorf("health stays %s after the seed has left", status)
		}
	})
}

func TestEachPacketIsEmittedOnce(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("s")
		w.grow("s", stageShadowing)
		w.finalize(1)
		seen := map[string]bool{}
		for _, packet := range w.emitted() {
			if seen[packet.GetPacketId()] {
				t.Errorf("%s was sent twice", packet.GetPacketId())
			}
			seen[packet.GetPacketId()] = true
		}
	})
}

func TestFinalizeReportsEachSeedOncePerStep(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("a")
		w.plant("b")
		w.emitted()
		for _, want := range []struct {
			step    int64
			packets int
		}{{1, 2}, {1, 0}, {2, 2}, {-1, 0}} {
			w.finalize(want.step)
			packets := w.emitted()
			if len(packets) != want.packets {
				t.Errorf("step %d: %d packets, want %d", want.step, len(packets), want.packets)
			}
			for _, packet := range packets {
				if indicator(packet, "step_index") == "" {
					t.Error("the step is missing")
				}
			}
		}
	})
}

func TestManagerReportsWithoutAnyoneCallingIt(t *testing.T) {
	inWorld(t, func(c *Config) { c.TelemetryInterval = 10 * time.Second }, func(w *world) {
		w.plant("s")
		w.emitted()
		wait(31 * time.Second)
		if packets := w.emitted(); len(packets) != 3 {
			t.Errorf("%d packets in half a minute", len(packets))
		}
	})
}

func TestPendingEventsAreBoundedAndTheLossIsCounted(t *testing.T) {
	t.Parallel()
	var queue eventQueue
	for round := range 2 {
		for range maxPendingEvents + 10 {
			queue.add("e", levelInfo)
		}
		events := queue.take("seed_queue_dropped", "seed_id", "s")
		if len(events) != maxPendingEvents+1 || events[0].GetDescription() != "seed_queue_dropped" ||
			events[0].GetAttributes()["dropped"] != number(10*(round+1)) {
			t.Errorf("round %d: %d events, first %v", round, len(events), events[0])
		}
	}
	if !queue.empty() || len(queue.take("seed_queue_dropped")) != 0 {
		t.Error("the marker is told twice")
	}
}

func TestCountedEventThatWasDroppedIsCountedAfresh(t *testing.T) {
	t.Parallel()
	var queue eventQueue
	queue.addCounted("k", "refused", levelWarning)
	for range maxPendingEvents {
		queue.add("e", levelInfo)
	}
	queue.addCounted("k", "refused", levelWarning)
	events := queue.take("dropped")
	if last := events[len(events)-1]; last.GetDescription() != "refused" {
		t.Errorf("the refusal is lost: %v", last)
	}
}

func TestReadersSeeASnapshotOfTheirOwn(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("a")
		w.plant("b")
		w.grow("a", stageBlending)
		if got := w.manager.BlendingSeeds(); !slices.Equal(got["BP001"], []string{"a"}) || len(got) != 1 {
			t.Errorf("blending %v", got)
		}
		states := w.manager.SeedStates()
		states[0].Stage = stageCulled
		states[0].Metrics["alpha"] = 9
		w.wantStage("a", stageBlending)
		allowed := map[string]float32{"a": 1, "b": 0}
		for _, state := range w.manager.SeedStates() {
			if got := state.GetMetrics()["blend_allowed"]; got != allowed[state.GetSeedId()] {
				t.Errorf("blend_allowed of %s is %v", state.GetSeedId(), got)
			}
		}
		w.do(opCull, "a")
		if got := w.manager.SeedStates()[0].GetMetrics()["blend_allowed"]; got != 0 {
			t.Errorf("a culled seed may blend: %v", got)
		}
		if len(w.manager.MetricPoints()) != len(w.manager.Metrics()) {
			t.Error("points and metrics differ")
		}
	})
}

func TestRefusedCommandIsToldAtOnce(t *testing.T) {
	inWorld(t, func(c *Config) { c.TelemetryInterval = time.Hour }, func(w *world) {
		w.emitted()
		command := w.command(opGerminate, "s")
		command.Annotations["signature"] = "AAAA"
		w.rejects(command, ReasonInvalidSignature)
		wait(300 * time.Millisecond)
		if told := events(w.emitted(), "command_rejected"); len(told) != 1 {
			t.Errorf("%d events within a sweep of the refusal, want 1", len(told))
		}
	})
}

func TestLastEventsAreToldWhenTheManagerStops(t *testing.T) {
	inWorld(t, func(c *Config) { c.SweepInterval = time.Hour }, func(w *world) {
		w.emitted()
		command := w.command(opGerminate, "s")
		command.Annotations["signature"] = "AAAA"
		w.rejects(command, ReasonInvalidSignature)
		w.stop()
		if told := events(w.emitted(), "command_rejected"); len(told) != 1 {
			t.Errorf("%d events after the stop, want 1", len(told))
		}
	})
}
