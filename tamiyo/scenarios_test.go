package tamiyo

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
)

// attributesOf are those of the first event of that name.
func attributesOf(t testing.TB, decision Decision, name string) map[string]string {
	t.Helper()
	for _, packet := range decision.Packets {
		for _, event := range packet.GetEvents() {
			if event.GetDescription() == name {
				return event.GetAttributes()
			}
		}
	}
	t.Fatalf("no event %s among %v", name, events(decision))
	return nil
}

// know answers questions about blueprints from a list.
func know(candidates ...Candidate) func(string) (Candidate, bool, error) {
	return func(id string) (Candidate, bool, error) {
		i := slices.IndexFunc(candidates, func(c Candidate) bool { return c.BlueprintID == id })
		if i < 0 {
			return Candidate{}, false, nil
		}
		return candidates[i], true, nil
	}
}

// growing is a run with one seed in TRAINING.
func growing(t testing.TB, config Config) (*run, string) {
	t.Helper()
	r := newRun(t, config)
	id := r.stall().GetTargetSeedId()
	r.report(1, seedState(id, stageTraining))
	return r, id
}

// metricsReport reports what a trainer tells of itself beside an unchanged loss.
func (r *run) metricsReport(metrics map[string]float32, seeds ...*leyline.SeedState) Decision {
	r.t.Helper()
	r.epoch++
	r.now = r.now.Add(r.interval)
	r.next.Number++
	state := r.next
	state.Packet = packetOf(r.epoch, 1, seeds...)
	state.Packet.TrainingMetrics = metrics
	return r.decide(state)
}

func judgedCandidate(id string, band leyline.HazardBand, handling leyline.HandlingClass, risk float32) Candidate {
	c := safe(id, 100)
	c.BSDS = &leyline.BSDS{
		BlueprintId: id, HazardBand: band, HandlingClass: handling, RiskScore: risk,
		ResourceProfile: leyline.ResourceProfile_RESOURCE_PROFILE_MIXED, Provenance: leyline.Provenance_PROVENANCE_URABRASK,
	}
	return c
}

func TestScenario106_EachSeedThatEndsYieldsOneReport(t *testing.T) {
	t.Parallel()
	r, id := growing(t, Config{})
	seen := map[string]bool{}
	ends := []Decision{r.report(1, seedState(id, stageCulled)), r.report(1, seedState(id, stageCulled)), r.report(1)}
	for _, decision := range ends {
		for _, report := range decision.Reports {
			if seen[report.GetReportId()] {
				t.Errorf("id %s comes twice", report.GetReportId())
			}
			seen[report.GetReportId()] = true
		}
	}
	if len(seen) != 1 {
		t.Errorf("%d reports, want one", len(seen))
	}
}

func TestScenario108_CriticalPacketsAreUrgent(t *testing.T) {
	t.Parallel()
	r, id := growing(t, Config{})
	r.next.Blueprint = know(Candidate{BlueprintID: "BP002", QuarantineOnly: true})
	packet := r.report(1, seedState(id, stageTraining)).Packets[0]
	if got := packet.GetSystemHealth().GetIndicators()["priority"]; got != "MESSAGE_PRIORITY_CRITICAL" {
		t.Errorf("priority %s", got)
	}
}

// The prototype's seven fixtures, as their situations.
func TestScenario116_CommandsEventsPriorityAndHealth(t *testing.T) {
	t.Parallel()
	quarantined := Candidate{BlueprintID: "BP002", Risk: 0.2, QuarantineOnly: true}
	hazardous := judgedCandidate("BP002", leyline.HazardBand_HAZARD_BAND_HIGH, 0, 0.3)
	type want struct {
		operations, events []string
		priority           string
		health             leyline.HealthStatus
		summary            string
	}
	for name, row := range map[string]struct {
		report func(r *run, id string) Decision
		want   want
	}{
		"baseline": {
			func(r *run, id string) Decision { return r.report(0.98, seedState(id, stageTraining)) },
			want{nil, nil, "NORMAL", healthHealthy, "stable"},
		},
		"blueprint quarantine": {
			func(r *run, id string) Decision {
				r.next.Blueprint = know(quarantined)
				return r.report(1, seedState(id, stageTraining))
			},
			want{
				[]string{"COMMAND_PAUSE"}, []string{"bp_quarantine", "conservative_entered", "command_issued", "decision_explained"},
				"CRITICAL", healthCritical, "bp_quarantine",
			},
		},
		"bsds hazard high": {
			func(r *run, id string) Decision {
				r.next.Blueprint = know(hazardous)
				return r.report(1, seedState(id, stageTraining))
			},
			want{nil, []string{"bsds_present", "bsds_hazard_high"}, "HIGH", healthDegraded, "bsds_hazard_high"},
		},
		"loss spike": {
			func(r *run, id string) Decision { return r.report(1.3, seedState(id, stageTraining)) },
			want{
				[]string{"COMMAND_PAUSE"}, []string{"loss_spike", "conservative_entered", "command_issued", "decision_explained"},
				"HIGH", healthDegraded, "loss_spike",
			},
		},
		"latency of the hook": {
			func(r *run, id string) Decision {
				return r.metricsReport(map[string]float32{"hook_latency_ms": 70}, seedState(id, stageTraining))
			},
			want{[]string{"COMMAND_PAUSE"}, []string{"hook_budget", "command_issued", "decision_explained"}, "HIGH", healthDegraded, "hook_budget"},
		},
		"isolation violation": {
			func(r *run, id string) Decision {
				return r.metricsReport(map[string]float32{"kasmina.isolation.violations": 2}, seedState(id, stageTraining))
			},
			want{
				[]string{"COMMAND_PAUSE"}, []string{"isolation_violations", "command_issued", "decision_explained"},
				"HIGH", healthDegraded, "isolation_violation",
			},
		},
		"policy critical": {
			func(r *run, id string) Decision {
				sure := &judge{version: "p", answer: answering(1, 0.99, 1, 0)}
				r.controller = NewController(Config{MaxGrowing: 2, Policies: decidedBy(sure, nil)})
				r.next.Slots["layer2"] = []int{64}
				return r.report(1, seedState(id, stageTraining))
			},
			want{
				[]string{"COMMAND_PAUSE"},
				[]string{"policy_risk_signal", "policy_risk_critical", "conservative_entered", "command_issued", "decision_explained"},
				"CRITICAL", healthCritical, "policy_risk_critical",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, id := growing(t, Config{})
			decision := row.report(r, id)
			health := decision.Packets[0].GetSystemHealth()
			got := want{
				operations(decision), events(decision), health.GetIndicators()["priority"][len("MESSAGE_PRIORITY_"):],
				health.GetStatus(), health.GetSummary(),
			}
			if diff := cmp.Diff(row.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestScenario118_ConservativeModeIsEnteredAndLeftOnce(t *testing.T) {
	t.Parallel()
	r, id := growing(t, Config{HoldDownEpochs: 3})
	r.report(1.5, seedState(id, stageTraining))
	r.next.Blueprint = know(Candidate{BlueprintID: "BP002", QuarantineOnly: true})
	again := r.report(1.5, seedState(id, stageTraining))
	if slices.Contains(events(again), "conservative_entered") || r.record.Conservative.Reason != "bp_quarantine" {
		t.Errorf("events %v, reason %s", events(again), r.record.Conservative.Reason)
	}
	r.next.Blueprint = nil
	for range 2 {
		if got := events(r.report(1.5, seedState(id, stageTraining))); len(got) > 0 {
			t.Errorf("events %v", got)
		}
	}
	last := r.report(1.5, seedState(id, stageTraining))
	want := map[string]string{
		"training_run_id": "run-1", "reason": "stable", "previous_reason": "bp_quarantine", "duration_epochs": "4",
	}
	if diff := cmp.Diff(want, attributesOf(t, last, "conservative_exited")); diff != "" {
		t.Error(diff)
	}
	if got := operations(last); !slices.Equal(got, []string{"COMMAND_PAUSE"}) || last.Commands[0].GetAnnotations()["resume"] != "true" {
		t.Errorf("commands %v", last.Commands)
	}
}

func TestScenario118_ATimeoutKeepsTheModeOn(t *testing.T) {
	t.Parallel()
	r, id := growing(t, Config{HoldDownEpochs: 1})
	r.report(1.5, seedState(id, stageTraining))
	r.next.Blueprint = late
	if got := events(r.report(1.5, seedState(id, stageTraining))); slices.Contains(got, "conservative_exited") {
		t.Errorf("events %v", got)
	}
	r.next.Blueprint = nil
	if got := events(r.report(1.5, seedState(id, stageTraining))); !slices.Contains(got, "conservative_exited") {
		t.Errorf("events %v", got)
	}
}

func TestScenario126_ConservativeByCommand(t *testing.T) {
	t.Parallel()
	r, id := growing(t, Config{})
	r.controller = NewController(Config{Conservative: true})
	pause := r.report(1, seedState(id, stageTraining))
	if command := only(t, pause, "COMMAND_PAUSE"); command.GetAnnotations()["risk_reason"] != "conservative_mode" {
		t.Errorf("pause %v", command)
	}
	attributesOf(t, pause, "pause_triggered")
	if got := pause.Packets[0].GetSystemHealth().GetIndicators()["mode"]; got != "1" {
		t.Errorf("mode %s", got)
	}
	for range 20 { // no rule takes it back
		if decision := r.report(1, seedState(id, stageTraining)); len(decision.Commands) > 0 || len(events(decision)) > 0 {
			t.Fatalf("commands %v, events %v", operations(decision), events(decision))
		}
	}
	r.controller = NewController(Config{})
	for range 2 {
		if decision := r.report(1, seedState(id, stageTraining)); len(decision.Commands) > 0 {
			t.Fatalf("before the hold-down is over: %v", operations(decision))
		}
	}
	if resume := only(t, r.report(1, seedState(id, stageTraining)), "COMMAND_PAUSE"); resume.GetAnnotations()["resume"] != "true" {
		t.Errorf("resume %v", resume)
	}
}

func TestScenario127_JudgementsHoldAndPause(t *testing.T) {
	t.Parallel()
	const (
		medium     = leyline.HazardBand_HAZARD_BAND_MEDIUM
		high       = leyline.HazardBand_HAZARD_BAND_HIGH
		worst      = leyline.HazardBand_HAZARD_BAND_CRITICAL
		standard   = leyline.HandlingClass_HANDLING_CLASS_STANDARD
		quarantine = leyline.HandlingClass_HANDLING_CLASS_QUARANTINE
	)
	annotations := func(band, handling string) map[string]string {
		return map[string]string{
			"bsds_hazard_band": band, "bsds_handling_class": handling, "bsds_risk": "0.70",
			"bsds_resource_profile": "mixed", "bsds_provenance": "URABRASK",
		}
	}
	for name, row := range map[string]struct {
		band     leyline.HazardBand
		handling leyline.HandlingClass
		reason   string // of a pause; empty: none
		want     map[string]string
	}{
		"critical":   {worst, standard, "bsds_hazard_critical", annotations("CRITICAL", "standard")},
		"quarantine": {medium, quarantine, "bsds_handling_quarantine", annotations("MEDIUM", "quarantine")},
		"high":       {high, standard, "", nil},
		"medium":     {medium, standard, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judged := judgedCandidate("BP002", row.band, row.handling, 0.7)
			r, id := growing(t, Config{})
			r.next.Blueprint = know(judged)
			decision := r.report(1, seedState(id, stageTraining))
			attributesOf(t, decision, "bsds_present")
			if row.reason == "" {
				if len(decision.Commands) > 0 {
					t.Fatalf("commands %v", decision.Commands)
				}
				return
			}
			got := only(t, decision, "COMMAND_PAUSE").GetAnnotations()
			if got["risk_reason"] != row.reason || !r.record.Conservative.active() {
				t.Errorf("reason %s, conservative %v", got["risk_reason"], r.record.Conservative)
			}
			for name, want := range row.want {
				if got[name] != want {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
			}
		})
	}
	// What would be begun is chosen among those that no rule holds.
	low := judgedCandidate("BP007", medium, standard, 0.4)
	r := newRun(t, Config{})
	r.candidates = offer(judgedCandidate("BP002", high, standard, 0.1), judgedCandidate("BP003", worst, standard, 0.1),
		judgedCandidate("BP004", medium, quarantine, 0.1), judgedCandidate("BP005", medium, standard, 0.7), low)
	command := r.stall()
	want := "BP007 at layer1: 0.400; BP002 at layer1: not for bsds_hazard_high; BP003 at layer1: not for bsds_hazard_critical; " +
		"BP004 at layer1: not for bsds_handling_quarantine; BP005 at layer1: not for blueprint_risk"
	if got := command.GetAnnotations(); got["considered"] != want || got["bsds_risk"] != "0.40" || got["blueprint_risk"] != "0.40" {
		t.Errorf("annotations %v", got)
	}
}

func TestScenario128_RiskyBlueprintOfALivingSeed(t *testing.T) {
	t.Parallel()
	r, id := growing(t, Config{})
	r.next.Blueprint = know(Candidate{
		BlueprintID: "BP002", Tier: leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL, Risk: 0.85, Stage: 5, QuarantineOnly: true,
	})
	annotations := only(t, r.report(1, seedState(id, stageTraining)), "COMMAND_PAUSE").GetAnnotations()
	for name, want := range map[string]string{
		"blueprint_risk": "0.85", "blueprint_stage": "5", "blueprint_tier": "BLUEPRINT_TIER_EXPERIMENTAL", "risk_reason": "bp_quarantine",
	} {
		if annotations[name] != want {
			t.Errorf("%s is %q, want %q", name, annotations[name], want)
		}
	}
}

func TestScenario129_LossLatencyAndLearningRate(t *testing.T) {
	t.Parallel()
	t.Run("the loss rises from 0.1 to 0.3", func(t *testing.T) {
		t.Parallel()
		r, id := growing(t, Config{})
		r.report(0.1, seedState(id, stageTraining))
		if got := only(t, r.report(0.3, seedState(id, stageTraining)), "COMMAND_PAUSE"); got.GetAnnotations()["risk_reason"] != "loss_spike" {
			t.Errorf("pause %v", got)
		}
	})
	t.Run("a step of 250 ms", func(t *testing.T) {
		t.Parallel()
		r, id := growing(t, Config{HoldDownEpochs: 2})
		slow, fast := map[string]float32{"step_latency_ms": 250}, map[string]float32{"step_latency_ms": 20}
		if got := only(t, r.metricsReport(slow, seedState(id, stageTraining)), "COMMAND_PAUSE"); got.GetAnnotations()["risk_reason"] != "step_latency_high" {
			t.Errorf("pause %v", got)
		}
		if r.record.Conservative.active() {
			t.Error("a slow step made the run conservative")
		}
		// Silence is not calm.
		for i, metrics := range []map[string]float32{nil, nil, nil, fast, nil} {
			if decision := r.metricsReport(metrics, seedState(id, stageTraining)); len(decision.Commands) > 0 {
				t.Fatalf("report %d: %v", i, decision.Commands)
			}
		}
		if got := only(t, r.metricsReport(fast, seedState(id, stageTraining)), "COMMAND_PAUSE"); got.GetAnnotations()["resume"] != "true" {
			t.Errorf("resume %v", got)
		}
	})
	t.Run("a learning rate of 0 while the loss rises", func(t *testing.T) {
		t.Parallel()
		r := newRun(t, Config{})
		for range 4 {
			r.report(1)
		}
		r.epoch, r.next.Number = r.epoch+1, r.next.Number+1
		state := r.last()
		state.Packet.ValidationLoss, state.Packet.TrainingMetrics = 1.1, map[string]float32{"optimizer_lr": 0}
		decision := r.decide(state)
		if len(decision.Commands) > 0 || !slices.Contains(events(decision), "optimizer_hint") {
			t.Fatalf("commands %v, events %v", operations(decision), events(decision))
		}
		got := attributesOf(t, decision, "decision_explained")
		if got["held"] != "BP002 at layer1" || got["reason"] != "optimizer_hint" || got["effect"] != "hold" ||
			got["rules"] != "loss_warning loss_delta=0.1; optimizer_hint optimizer_lr=0 loss_delta=0.1" {
			t.Errorf("explained as %v", got)
		}
		only(t, r.report(1.1), "SEED_OP_GERMINATE")
	})
}
