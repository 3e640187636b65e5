package rules

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
)

const (
	safeTier   = leyline.BlueprintTier_BLUEPRINT_TIER_SAFE
	bandHigh   = leyline.HazardBand_HAZARD_BAND_HIGH
	bandWorst  = leyline.HazardBand_HAZARD_BAND_CRITICAL
	bandMedium = leyline.HazardBand_HAZARD_BAND_MEDIUM
)

// calmFacts are those of a run with which nothing is wrong.
func calmFacts(change func(*Facts)) *Facts {
	f := &Facts{
		Pausable: 1, Loss: Loss{Validated: true, Delta: Told(-0.01)}, Mode: Mode{HoldDown: 3}, Metrics: map[string]float32{},
	}
	if change != nil {
		change(f)
	}
	return f
}

// begins is a change to facts of a pass that would begin a seed.
func begins(change func(*Facts)) func(*Facts) {
	return func(f *Facts) {
		f.Begins = true
		if change != nil {
			change(f)
		}
	}
}

func metrics(pairs map[string]float32) func(*Facts) { return func(f *Facts) { f.Metrics = pairs } }

func judged(band leyline.HazardBand, handling leyline.HandlingClass, begins bool) func(*Facts) {
	return func(f *Facts) {
		f.Begins = begins
		f.Blueprints = []Blueprint{{
			ID: "BP009", Tier: safeTier, Risk: 0.3, Begins: begins,
			BSDS: &leyline.BSDS{HazardBand: band, HandlingClass: handling, RiskScore: 0.4},
		}}
	}
}

func risky(risk float64, quarantine, begins bool) func(*Facts) {
	return func(f *Facts) {
		f.Begins = begins
		f.Blueprints = []Blueprint{{ID: "BP009", Tier: safeTier, Risk: risk, Quarantine: quarantine, Begins: begins}}
	}
}

func unknown(untold string, begins bool) func(*Facts) {
	return func(f *Facts) {
		f.Begins = begins
		f.Blueprints = []Blueprint{{ID: "BP009", Risk: 1, Unknown: true, Untold: untold, Begins: begins}}
	}
}

func policy(risk float64) func(*Facts) { return func(f *Facts) { f.Policy.Risk = Told(risk) } }

func rose(delta float64) func(*Facts) { return func(f *Facts) { f.Loss.Delta = Told(delta) } }

func mode(m Mode) func(*Facts) { return func(f *Facts) { f.Mode = m } }

// outcome is a verdict as far as these tables look at it.
type outcome struct {
	fired  []string
	effect Effect
	reason string
}

func TestEachRuleAtItsBound(t *testing.T) {
	none, standard, quarantine := leyline.HandlingClass(0), leyline.HandlingClass_HANDLING_CLASS_STANDARD,
		leyline.HandlingClass_HANDLING_CLASS_QUARANTINE
	list := func(names ...string) []string { return names }
	gpu := func(util, free float32) map[string]float32 {
		return map[string]float32{"gpu_util_percent": util, "gpu_mem_free_gb": free, "cpu_util_percent": 99}
	}
	for name, row := range map[string]struct {
		change func(*Facts)
		want   outcome
	}{
		"calm":                               {nil, outcome{}},
		"policy tells no risk":               {begins(nil), outcome{}},
		"policy risk 0":                      {policy(0), outcome{fired: list("policy_risk_signal")}},
		"policy risk is no number":           {policy(math.NaN()), outcome{}},
		"policy risk below elevated":         {begins(policy(0.84)), outcome{fired: list("policy_risk_signal")}},
		"policy risk elevated":               {begins(policy(0.85)), outcome{list("policy_risk_signal", "policy_risk_elevated"), Hold, "policy_risk_elevated"}},
		"policy risk elevated, nothing new":  {policy(0.97), outcome{fired: list("policy_risk_signal")}},
		"policy risk critical":               {policy(0.98), outcome{list("policy_risk_signal", "policy_risk_critical"), Stop, "policy_risk_critical"}},
		"policy risk critical at a new seed": {begins(policy(1)), outcome{list("policy_risk_signal", "policy_risk_critical"), Stop, "policy_risk_critical"}},

		"conservative":                    {mode(Mode{Conservative: true, HoldDown: 3}), outcome{list("pause_triggered"), Pause, "conservative_mode"}},
		"conservative with nothing to do": {func(f *Facts) { f.Mode.Conservative, f.Pausable = true, 0 }, outcome{}},
		"conservative at a new seed":      {begins(func(f *Facts) { f.Mode.Conservative, f.Pausable = true, 0 }), outcome{list("pause_triggered"), Pause, "conservative_mode"}},

		"the policy is late":  {func(f *Facts) { f.Policy.Overdue = true }, outcome{list("timeout_inference"), Pause, "timeout_inference"}},
		"the library is late": {func(f *Facts) { f.Overdue = true }, outcome{list("timeout_urza"), Pause, "timeout_urza"}},

		"risk below":                        {risky(0.5, false, true), outcome{}},
		"risk":                              {risky(0.51, false, true), outcome{list("blueprint_risk"), Hold, "blueprint_risk"}},
		"risk of a living seed":             {risky(0.79, false, false), outcome{}},
		"high risk":                         {risky(0.8, false, true), outcome{list("bp_quarantine"), Stop, "bp_quarantine"}},
		"high risk of a living seed":        {risky(0.8, false, false), outcome{list("bp_quarantine"), Stop, "bp_quarantine"}},
		"risk that is no number":            {risky(math.NaN(), false, false), outcome{list("bp_quarantine"), Stop, "bp_quarantine"}},
		"quarantine":                        {risky(0, true, false), outcome{list("bp_quarantine"), Stop, "bp_quarantine"}},
		"quarantine and high risk are told": {risky(1, true, true), outcome{list("bp_quarantine"), Stop, "bp_quarantine"}},

		"judged":                       {judged(bandMedium, standard, true), outcome{fired: list("bsds_present")}},
		"hazard high":                  {judged(bandHigh, none, true), outcome{list("bsds_present", "bsds_hazard_high"), Hold, "bsds_hazard_high"}},
		"hazard high of a living seed": {judged(bandHigh, none, false), outcome{fired: list("bsds_present", "bsds_hazard_high")}},
		"hazard critical":              {judged(bandWorst, standard, false), outcome{list("bsds_present", "bsds_hazard_critical"), Stop, "bsds_hazard_critical"}},
		"handling quarantine":          {judged(bandMedium, quarantine, true), outcome{list("bsds_present", "bsds_handling_quarantine"), Stop, "bsds_handling_quarantine"}},

		"loss rises a little":            {begins(rose(0.075)), outcome{}},
		"loss warning":                   {begins(rose(0.0751)), outcome{list("loss_warning"), Hold, "loss_warning"}},
		"loss warning, nothing new":      {rose(0.15), outcome{}},
		"loss spike":                     {rose(0.1501), outcome{list("loss_spike"), Stop, "loss_spike"}},
		"loss is no number":              {func(f *Facts) { f.Loss = Loss{Validated: true, Diverged: true} }, outcome{list("loss_spike"), Stop, "loss_spike"}},
		"loss without a number, at once": {begins(func(f *Facts) { f.Loss.Diverged, f.Loss.Delta = true, Told(math.Inf(1)) }), outcome{list("loss_spike"), Stop, "loss_spike"}},

		"hook in its budget":          {metrics(map[string]float32{"hook_latency_ms": 50}), outcome{}},
		"hook budget":                 {metrics(map[string]float32{"hook_latency_ms": 50.5}), outcome{list("hook_budget"), Pause, "hook_budget"}},
		"hook is no number":           {metrics(map[string]float32{"hook_latency_ms": float32(math.NaN())}), outcome{}},
		"hook takes for ever":         {metrics(map[string]float32{"hook_latency_ms": float32(math.Inf(1))}), outcome{list("hook_budget"), Pause, "hook_budget"}},
		"step in its time":            {metrics(map[string]float32{"step_latency_ms": 120}), outcome{}},
		"step latency":                {metrics(map[string]float32{"step_latency_ms": 121}), outcome{list("step_latency_high"), Pause, "step_latency_high"}},
		"apply slow":                  {begins(metrics(map[string]float32{"kasmina.apply_ms": 31})), outcome{list("kasmina_apply_slow"), Hold, "kasmina_apply_slow"}},
		"apply slow, nothing new":     {metrics(map[string]float32{"kasmina.apply_ms": 31}), outcome{fired: list("kasmina_apply_slow")}},
		"finalize slow":               {begins(metrics(map[string]float32{"kasmina.finalize_ms": 31})), outcome{list("kasmina_finalize_slow"), Hold, "kasmina_finalize_slow"}},
		"violation":                   {metrics(map[string]float32{"kasmina.isolation.violations": 1}), outcome{list("isolation_violations"), Pause, "isolation_violation"}},
		"no violation":                {metrics(map[string]float32{"kasmina.isolation.violations": 0}), outcome{}},
		"device pressure":             {begins(metrics(gpu(95, 0.2))), outcome{list("device_pressure_high"), Pause, "device_pressure_high"}},
		"device pressure, none new":   {metrics(gpu(95, 0.2)), outcome{fired: list("device_pressure_high")}},
		"room on the device":          {begins(metrics(gpu(95, 0.3))), outcome{list("cpu_pressure_high"), Hold, "cpu_pressure_high"}},
		"memory of the device untold": {begins(metrics(map[string]float32{"gpu_util_percent": 100})), outcome{}},
		"device by the hardware": {begins(func(f *Facts) {
			f.Hardware = &leyline.HardwareContext{DeviceType: "cuda", TotalMemoryGb: 80, AvailableMemoryGb: 0.1, UtilizationPercent: 99}
		}), outcome{list("device_pressure_high"), Pause, "device_pressure_high"}},
		"hardware tells no memory": {begins(func(f *Facts) {
			f.Hardware = &leyline.HardwareContext{DeviceType: "cuda", UtilizationPercent: 99}
		}), outcome{}},
		"hardware is a CPU": {begins(func(f *Facts) {
			f.Hardware = &leyline.HardwareContext{DeviceType: "cpu", TotalMemoryGb: 8, AvailableMemoryGb: 0.1, UtilizationPercent: 99}
		}), outcome{}},
		"hardware is a CPU, in capitals": {begins(func(f *Facts) {
			f.Hardware = &leyline.HardwareContext{DeviceType: "CPU", TotalMemoryGb: 8, AvailableMemoryGb: 0.1, UtilizationPercent: 99}
		}), outcome{}},
		"cpu pressure, nothing new": {metrics(map[string]float32{"cpu_util_percent": 99}), outcome{}},

		"volatile":              {begins(metrics(map[string]float32{"loss_volatility": 0.113})), outcome{list("loss_volatility_high"), Hold, "loss_volatility_high"}},
		"volatile, nothing new": {metrics(map[string]float32{"loss_volatility": 0.113}), outcome{fired: list("loss_volatility_high")}},
		"steady":                {begins(metrics(map[string]float32{"loss_volatility": 0.112})), outcome{}},
		"gradients vary":        {begins(metrics(map[string]float32{"grad_var": 1.1})), outcome{list("grad_variance_high"), Hold, "grad_variance_high"}},
		"gradients in conflict": {begins(metrics(map[string]float32{"grad_conflict_rate": 0.6})), outcome{list("grad_conflict_high"), Hold, "grad_conflict_high"}},
		"learning rate 0": {begins(func(f *Facts) {
			f.Metrics["optimizer_lr"], f.Loss.Delta = 0, Told(0.1)
		}), outcome{list("loss_warning", "optimizer_hint"), Hold, "optimizer_hint"}},
		"learning rate untold": {begins(rose(0.1)), outcome{list("loss_warning"), Hold, "loss_warning"}},

		"unrest": {begins(mode(Mode{Unrest: "hook_budget", Calm: 1, HoldDown: 3})), outcome{list("stabilising"), Hold, "stabilising"}},
		"unrest is over": {begins(func(f *Facts) {
			f.Mode, f.Metrics = Mode{Unrest: "hook_budget", Calm: 2, HoldDown: 3}, map[string]float32{"hook_latency_ms": 5}
		}), outcome{}},
		"the library does not tell of a living seed's": {
			unknown("no answer", false), outcome{list("blueprint_untold"), Freeze, "blueprint_untold"},
		},
		"of one that is asked for again":     {unknown("no answer", true), outcome{list("blueprint_untold"), Hold, "blueprint_untold"}},
		"for it is late":                     {func(f *Facts) { unknown("late", false)(f); f.Overdue = true }, outcome{list("timeout_urza"), Pause, "timeout_urza"}},
		"it knows of no such blueprint":      {unknown("", false), outcome{list("blueprint_untold"), Freeze, "blueprint_untold"}},
		"nor of one that is asked for again": {unknown("", true), outcome{}},

		"unrest, untold":  {begins(mode(Mode{Unrest: "hook_budget", Calm: 2, HoldDown: 3})), outcome{list("stabilising"), Hold, "stabilising"}},
		"unrest, no seed": {mode(Mode{Unrest: "hook_budget", Calm: 1, HoldDown: 3}), outcome{}},
	} {
		t.Run(name, func(t *testing.T) {
			verdict := Assess(calmFacts(row.change))
			got := outcome{effect: verdict.Effect, reason: verdict.Reason}
			for _, finding := range verdict.Findings {
				got.fired = append(got.fired, finding.Rule)
			}
			if diff := cmp.Diff(row.want, got, cmp.AllowUnexported(outcome{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestScenario117_EvaluatorsAreGoneThroughInTheirOrder(t *testing.T) {
	var order []string
	for i := range table {
		order = append(order, table[i].evaluator)
	}
	want := []string{
		"policy risk", "conservative mode", "timeouts", "blueprint risk", "BSDS", "loss", "latencies",
		"isolation and device", "optimizer hints", "stabilisation", "recovery",
	}
	if diff := cmp.Diff(want, slices.Compact(order)); diff != "" {
		t.Error(diff)
	}
}

func TestReasonsOfLaterRules(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*Facts)
		reason string
		stops  string
	}{
		"a spike is over what came before":       {func(f *Facts) { f.Overdue, f.Loss.Delta = true, Told(1) }, "loss_spike", "loss_spike"},
		"a violation is not":                     {func(f *Facts) { f.Overdue, f.Metrics = true, map[string]float32{"kasmina.isolation.violations": 1} }, "timeout_urza", ""},
		"a slow hook is over a spike's":          {func(f *Facts) { f.Loss.Delta, f.Metrics = Told(1), map[string]float32{"hook_latency_ms": 99} }, "hook_budget", "loss_spike"},
		"a rule that only tells gives no reason": {metrics(map[string]float32{"kasmina.apply_ms": 99}), "", ""},
	} {
		if v := Assess(calmFacts(row.change)); v.Reason != row.reason || v.Stops != row.stops {
			t.Errorf("%s: reason %q, stops for %q", name, v.Reason, v.Stops)
		}
	}
}

func TestRecovery(t *testing.T) {
	nearly := Mode{Conservative: true, Unrest: "loss_spike", Calm: 2, HoldDown: 3}
	with := func(change func(*Facts)) func(*Facts) {
		return func(f *Facts) {
			f.Mode = nearly
			if change != nil {
				change(f)
			}
		}
	}
	for name, row := range map[string]struct {
		change   func(*Facts)
		recovers bool
	}{
		"the third calm report":                           {with(nil), true},
		"and a seed would be begun":                       {with(func(f *Facts) { f.Begins = true }), true},
		"the second":                                      {with(func(f *Facts) { f.Mode.Calm = 1 }), false},
		"by command":                                      {with(func(f *Facts) { f.Mode.Commanded = true }), false},
		"a breaker is open":                               {with(func(f *Facts) { f.Mode.Denied = true }), false},
		"the library is late":                             {with(func(f *Facts) { f.Overdue = true }), false},
		"the policy is late":                              {with(func(f *Facts) { f.Policy.Overdue = true }), false},
		"another spike":                                   {with(rose(1)), false},
		"no validation":                                   {with(func(f *Facts) { f.Loss = Loss{} }), false},
		"the loss is not compared":                        {with(func(f *Facts) { f.Loss.Delta = Figure{} }), true},
		"what disturbed it is not told of":                {with(func(f *Facts) { f.Mode.Unrest = "step_latency_high" }), false},
		"what disturbed it is gone":                       {with(func(f *Facts) { f.Mode.Unrest = "bp_quarantine" }), true},
		"of a living seed's blueprint nobody tells":       {with(unknown("no answer", false)), false},
		"that disturbed it, and that nobody knows now":    {with(func(f *Facts) { unknown("", false)(f); f.Mode.Unrest = "bp_quarantine" }), false},
		"a blueprint that did not, and that nobody knows": {with(unknown("", false)), false},
		"it is asked for again, and nobody knows it":      {with(unknown("", true)), true},
		"the device is under pressure, and nothing is begun": {
			with(metrics(map[string]float32{"gpu_util_percent": 99, "gpu_mem_free_gb": 0.1})), false,
		},
		"a slow apply, which pauses nothing": {with(metrics(map[string]float32{"kasmina.apply_ms": 99})), true},
		"not conservative":                   {with(func(f *Facts) { f.Mode.Conservative = false }), false},
	} {
		v := Assess(calmFacts(row.change))
		if v.Recovers != row.recovers {
			t.Errorf("%s: recovers %v: %v", name, v.Recovers, v.Findings)
		}
		if v.Recovers && v.Effect != Tell {
			t.Errorf("%s: the mode that ended holds back: %v", name, v.Findings)
		}
	}
}

func TestRiskIsNeverLowered(t *testing.T) {
	for name, row := range map[string]struct {
		blueprint Blueprint
		want      float64
	}{
		"not judged":      {Blueprint{Risk: 0.6}, 0.6},
		"judged, unrated": {Blueprint{Risk: 0.6, BSDS: &leyline.BSDS{}}, 0.6},
		"judged lower":    {Blueprint{Risk: 0.75, BSDS: &leyline.BSDS{RiskScore: 0.25}}, 0.75},
		"judged higher":   {Blueprint{Risk: 0.25, BSDS: &leyline.BSDS{RiskScore: 0.75}}, 0.75},
		"beyond 1":        {Blueprint{Risk: 0.25, BSDS: &leyline.BSDS{RiskScore: 7}}, 1},
		"no number":       {Blueprint{Risk: 0.25, BSDS: &leyline.BSDS{RiskScore: float32(math.NaN())}}, 1},
	} {
		if got := row.blueprint.EffectiveRisk(); got != row.want {
			t.Errorf("%s: %v, want %v", name, got, row.want)
		}
	}
}

func TestFindingsTellTheirFigures(t *testing.T) {
	v := Assess(calmFacts(func(f *Facts) {
		f.Metrics = map[string]float32{"step_latency_ms": 250}
		f.Blueprints = []Blueprint{{ID: "BP043", Risk: 0.875, Quarantine: true, Tier: leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK}}
	}))
	var got []string
	for _, finding := range v.Findings {
		got = append(got, finding.String())
	}
	want := []string{"bp_quarantine of BP043 tier=BLUEPRINT_TIER_HIGH_RISK", "step_latency_high step_latency_ms=250"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestARiskIsOfOneOfFiveClasses(t *testing.T) {
	for risk, want := range map[float64]string{0: "0", 0.19: "0", 0.2: "1", 0.5: "2", 0.79: "3", 0.8: "4", 1: "4"} {
		got := Assess(calmFacts(policy(risk))).Findings[0].Figures
		if at := slices.Index(got, "index"); at < 0 || got[at+1] != want {
			t.Errorf("risk %v is told as %v", risk, got)
		}
	}
}

func TestBlueprintsThatMustNotBeBegun(t *testing.T) {
	for name, row := range map[string]struct {
		blueprint Blueprint
		rule      string
	}{
		"safe":          {Blueprint{ID: "b", Risk: 0.5}, ""},
		"risky":         {Blueprint{ID: "b", Risk: 0.51}, "blueprint_risk"},
		"quarantine":    {Blueprint{ID: "b", Quarantine: true}, "bp_quarantine"},
		"hazard high":   {Blueprint{ID: "b", BSDS: &leyline.BSDS{HazardBand: bandHigh}}, "bsds_hazard_high"},
		"hazard medium": {Blueprint{ID: "b", BSDS: &leyline.BSDS{HazardBand: bandMedium}}, ""},
	} {
		finding, refused := Refuses(row.blueprint)
		if refused != (row.rule != "") || finding.Rule != row.rule {
			t.Errorf("%s: %v, %v", name, finding, refused)
		}
	}
}
