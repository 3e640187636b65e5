package kasmina

import (
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
)

// The scenarios are those of the prototype's own tests, by their numbers there.
// Those of blending stand in package graft; docs/adr/0011 says which have no
// place any more.

func TestScenario04_CulledSeedComesBackToDormant(t *testing.T) {
	t.Parallel()
	way := []leyline.SeedLifecycleStage{lifecycle.Training, lifecycle.Culled, lifecycle.Embargoed, lifecycle.Resetting, lifecycle.Dormant}
	for i := 1; i < len(way); i++ {
		if err := lifecycle.Transition(way[i-1], way[i]); err != nil {
			t.Error(err)
		}
	}
}

func TestScenario05_SeedGrowsToFullShareAndIsRetired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s", annotate("mesh_host_layers", `["weight","bias"]`))
	w.grow("s", lifecycle.Probationary)
	if alpha := States(w.record)[0].GetMetrics()["alpha"]; alpha < 0.99 {
		t.Errorf("alpha %v", alpha)
	}
	if len(w.requests) != 1 || w.lastRequest().GetBlueprintId() != "BP001" {
		t.Errorf("requests %v", w.requests)
	}
	w.do(opCull, "s")
	w.wantTold("rollback_ready", "retired")
	w.report()
	w.wait(time.Minute)
	w.wantStage("s", lifecycle.Unknown)
	w.wantGrafted()
}

func TestScenario07_KernelIsOnlyAskedForWithARun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.rejects(w.command(opGerminate, "s", annotate("training_run_id", " ")), ReasonMissingTrainingRunID)
	w.do(opGerminate, "s", annotate("training_run_id", " "+testRun+" "))
	if run, ok := RunOfRequest(w.lastRequest().GetRequestId()); !ok || run != testRun {
		t.Errorf("run %q of the request", run)
	}
}

func TestScenario08_RequestNamesItsRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s")
	request := w.lastRequest()
	if request.GetTrainingRunId() != testRun || !request.GetIssuedAt().AsTime().Equal(w.now) {
		t.Errorf("request %v", request)
	}
}

func TestScenario13_KernelThatCannotBeHadIsAskedForOnceAndNoOtherTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s")
	w.decide(Refusal{&leyline.KernelArtifactError{RequestId: w.lastRequest().GetRequestId(), Reason: "missing_artifact"}})
	w.wantStage("s", lifecycle.Embargoed)
	w.report()
	if len(w.requests) != 1 || len(w.orders) != 0 {
		t.Errorf("requests %v, orders %v", w.requests, w.kinds())
	}
}

func TestScenario14_RequiredLogitsMustBeThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	confidence := []change{annotate("blend_mode", "confidence"), annotate("confidence_logits_required", "true")}
	w.rejects(w.command(opGerminate, "s", confidence...), ReasonMissingLogits)
	w.do(opGerminate, "s", append(confidence, annotate("confidence_logits", "[0.1,0.5,-0.2]"))...)
	if logits := w.record.Seeds[0].Blend.Logits; !slices.Equal(logits, []float64{0.1, 0.5, -0.2}) {
		t.Errorf("logits %v", logits)
	}
}

func TestScenario15_SlowKernelIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s")
	w.now = w.now.Add(1500 * time.Millisecond)
	w.decide(w.ready(w.lastRequest()))
	if got := w.kinds(); !slices.Equal(got, []string{"attach:s"}) {
		t.Errorf("orders %v", got)
	}
	last := w.packets[len(w.packets)-1]
	if got := metric(last, "kasmina.kernel.fetch_latency_ms").GetValue(); got != 1500 {
		t.Errorf("latency %v", got)
	}
	if health := last.GetSystemHealth(); health.GetStatus() != leyline.HealthStatus_HEALTH_STATUS_DEGRADED ||
		health.GetSummary() != "latency_high" {
		t.Errorf("health %v", health)
	}
}

func TestScenario16_PacketTellsOfTheGermination(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	packets := w.emitted()
	for _, description := range []string{"seed_operation", "seed_stage"} {
		if len(events(packets, description)) == 0 {
			t.Errorf("no event %s", description)
		}
	}
	last := packets[len(packets)-1]
	for _, name := range []string{"kasmina.seeds.active", "kasmina.kernel.fetch_latency_ms", "kasmina.cache.kernel_size"} {
		if metric(last, name) == nil {
			t.Errorf("no metric %s", name)
		}
	}
	if last.GetSourceSubsystem() != "kasmina" {
		t.Errorf("source %s", last.GetSourceSubsystem())
	}
}

func TestScenario17_SeedWithoutItsLayersIsNotAttached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s", annotate("mesh_host_layers", `["weight","head"]`))
	w.decide(w.ready(w.lastRequest()))
	w.wantStage("s", lifecycle.Embargoed)
	if _, attributes := w.told("mesh_coverage_missing"); attributes["missing_layers"] != "head" {
		t.Errorf("event %v", attributes)
	}
	w.wantTold("gate_failure", "mesh_incomplete")
	if len(w.orders) != 0 {
		t.Errorf("orders %v", w.kinds())
	}
}

func TestScenario18_CompleteMeshPasses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s", annotate("mesh_host_layers", `["weight","bias"]`))
	packets := w.emitted()
	passed := slices.ContainsFunc(events(packets, "gate_event"), func(e *leyline.TelemetryEvent) bool {
		return e.GetAttributes()["gate"] == "SEED_GATE_G3_INTERFACE" && e.GetAttributes()["passed"] == "true"
	})
	if !passed || len(events(packets, "mesh_coverage_missing")) != 0 {
		t.Error("the mesh did not pass")
	}
}

func TestScenario19_IncompleteGerminationsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	for _, tt := range []struct {
		change change
		reason string
	}{
		{annotate("mesh_host_layers", ""), ReasonMissingMeshLayers},
		{annotate("mesh_host_layers", "{}"), ReasonInvalidMeshLayers},
		{annotate("training_run_id", ""), ReasonMissingTrainingRunID},
		{annotate("confidence_logits_required", "true"), ReasonMissingLogits},
	} {
		w.rejects(w.command(opGerminate, "s", tt.change), tt.reason)
		w.wantStage("s", lifecycle.Unknown)
	}
}

func TestScenario20_CullNeedsNoMesh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.do(opCull, "s", annotate("mesh_host_layers", ""))
	w.wantStage("s", lifecycle.Embargoed)
}

func TestScenario21_FallbackKernelIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	for _, name := range fallbackAnnotations {
		w.rejects(w.command(opGerminate, "s", annotate(name, "true")), ReasonFallbackKernel)
	}
	w.told("tamiyo_fallback_requested")
	if event, attributes := w.told("gate_failure"); attributes["reason"] != "fallback_kernel_used" ||
		event.GetLevel() != levelCritical {
		t.Errorf("event %v", event)
	}
	w.wantStage("s", lifecycle.Unknown)
}

func TestScenario22_PacketOfAViolatingSeedTellsOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.emitted()
	w.trainer.spoil = spoiled("host_gradient_max", 0.5)
	w.report()
	packets := w.emitted()
	last := packets[0]
	for name, want := range map[string]float64{
		"kasmina.seed.alpha": 0, "kasmina.seed.kernel_attached": 1, "kasmina.seed.isolation_violations": 1,
	} {
		if got := metric(last, name); got == nil || got.GetValue() != want || got.GetAttributes()["seed_id"] != "s" {
			t.Errorf("metric %s is %v", name, got)
		}
	}
	if metric(last, "kasmina.seed.last_kernel_latency_ms") == nil || metric(last, "kasmina.seed.alpha_steps") != nil {
		t.Errorf("metrics %v", last.GetMetrics())
	}
}

func TestScenario23_ExportedStateHasItsRamp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Blending)
	metrics := States(w.record)[0].GetMetrics()
	for name, want := range map[string]float32{
		"alpha_steps": 11, "alpha_total_steps": 20, "alpha_temperature": 2, "blend_allowed": 1,
	} {
		if metrics[name] != want {
			t.Errorf("%s is %v, want %v", name, metrics[name], want)
		}
	}
	if alpha := metrics["alpha"]; alpha < 0.62 || alpha > 0.63 {
		t.Errorf("alpha %v", alpha)
	}
	w.do(opCull, "s")
	if allowed := States(w.record)[0].GetMetrics()["blend_allowed"]; allowed != 0 {
		t.Errorf("a culled seed may blend: %v", allowed)
	}
}

func TestScenario24_KernelIsAttachedOnceItIsReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s")
	w.wantGrafted()
	w.decide(w.ready(w.lastRequest()))
	w.wantStage("s", lifecycle.Germinated)
	w.report()
	w.wantStage("s", lifecycle.Training)
	w.wantGrafted("s")
}

func TestScenario25_RefusedKernelIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	for i, reason := range []string{"missing_artifact", ""} {
		id := "s" + number(i)
		w.do(opGerminate, id)
		w.decide(Refusal{&leyline.KernelArtifactError{RequestId: w.lastRequest().GetRequestId(), Reason: reason}})
		w.wantStage(id, lifecycle.Embargoed)
	}
	told := events(w.emitted(), "prefetch_error")
	if len(told) != 2 || told[0].GetAttributes()["reason"] != "missing_artifact" ||
		told[1].GetAttributes()["reason"] != "unspecified" {
		t.Errorf("events %v", told)
	}
}

func TestScenario26_ControllersAnnotationsAreEchoed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s", annotate("feature_coverage", "0.25"), annotate("risk_reason", "spike"),
		annotate("blueprint_tier", "BLUEPRINT_TIER_SAFE"))
	if _, attributes := w.told("tamiyo_annotations"); attributes["risk_reason"] != "spike" {
		t.Errorf("event %v", attributes)
	}
	if event, attributes := w.told("degraded_inputs"); attributes["coverage_avg"] != "0.250" || event.GetLevel() != levelWarning {
		t.Errorf("event %v", event)
	}
	w.do(opGerminate, "t", annotate("feature_coverage", "0.05"))
	if event, _ := w.told("degraded_inputs"); event.GetLevel() != levelCritical {
		t.Errorf("event %v", event)
	}
}
