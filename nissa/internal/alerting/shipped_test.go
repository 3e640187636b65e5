package alerting_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/telemetry"
)

// firing are the names of the rules that fire.
func (d *desk) firing() string {
	var names []string
	for _, a := range d.Alerts() {
		if a.State == alert.Firing && !slices.Contains(names, a.Rule) {
			names = append(names, a.Rule)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// play is a series of packets: a metric with its values, or an event so many times.
type play struct {
	source, metric string
	values         []float64
	event          string
	pairs          []string
}

func (d *desk) play(p play) {
	for _, value := range p.values {
		d.Observe(telemetry.New(p.source, "p").Metric(p.metric, value, "", p.pairs...).Build())
	}
	if p.event != "" {
		d.Observe(telemetry.New(p.source, "p").Event(p.event, leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING, p.pairs...).Build())
	}
}

// The rules of the prototype, and ours: what raises each of them and what ends it.
func TestShippedRules(t *testing.T) {
	hazard := func(name string) play {
		return play{source: "urabrask", event: name, pairs: []string{"provenance", "URABRASK"}}
	}
	tests := map[string]struct {
		raise, clear []play
		want         string
	}{
		"coverage, three times": {
			[]play{{source: "tamiyo", metric: "tamiyo.gnn.feature_coverage", values: []float64{0.65, 0.65, 0.65}}},
			[]play{{source: "tamiyo", metric: "tamiyo.gnn.feature_coverage", values: []float64{0.9}}}, "tamiyo_coverage_low",
		},
		"coverage, twice": {[]play{{source: "tamiyo", metric: "tamiyo.gnn.feature_coverage", values: []float64{0.65, 0.65}}}, nil, ""},
		"risk": {
			[]play{{source: "tamiyo", metric: "tamiyo.blueprint.risk", values: []float64{0.85}}},
			[]play{{source: "tamiyo", metric: "tamiyo.blueprint.risk", values: []float64{0.1}}}, "tamiyo_bsds_elevated_risk",
		},
		"critical hazard":      {[]play{hazard("bsds_hazard_critical")}, nil, "tamiyo_bsds_critical"},
		"high hazards, two":    {[]play{hazard("bsds_hazard_high"), hazard("bsds_hazard_high")}, nil, ""},
		"high hazards, three":  {[]play{hazard("bsds_hazard_high"), hazard("bsds_hazard_high"), hazard("bsds_hazard_high")}, nil, "tamiyo_bsds_high"},
		"violations, three":    {[]play{{source: "kasmina", metric: "kasmina.isolation.violations", values: []float64{0, 1, 3}}}, nil, "kasmina_isolation_violation"},
		"violations, long ago": {[]play{{source: "kasmina", metric: "kasmina.isolation.violations", values: []float64{5, 5, 5}}}, nil, ""},
		"epochs that are long": {[]play{{source: "tolaria", metric: "tolaria.training.latency_ms", values: slices.Repeat([]float64{2000}, 20)}}, nil, ""},
		"epochs that get longer": {
			[]play{{source: "tolaria", metric: "tolaria.training.latency_ms", values: append(slices.Repeat([]float64{100}, 20), 900, 900, 900)}},
			[]play{{source: "tolaria", metric: "tolaria.training.latency_ms", values: []float64{100}}}, "training_latency_high",
		},
		"graph fallback": {[]play{{source: "tolaria", event: "tolaria.graph_fallback"}}, nil, "tolaria_graph_fallback"},
		"graph replay": {
			[]play{{source: "tolaria", metric: "tolaria.graph.replay_ms", values: []float64{0.6, 0.6, 0.6}}},
			[]play{{source: "tolaria", metric: "tolaria.graph.replay_ms", values: []float64{0.1}}}, "tolaria_graph_replay_latency_high",
		},
		"depth": {
			[]play{{source: "weatherlight", metric: "oona.queue_backlog_normal", values: []float64{9500, 9500}}},
			[]play{{source: "weatherlight", metric: "oona.queue_backlog_normal", values: []float64{10}}}, "bus_lag oona_queue_depth",
		},
		"depth, all of it read": {
			[]play{
				{source: "weatherlight", metric: "oona.queue_depth_normal", values: []float64{10_000, 10_000, 10_000}},
				{source: "weatherlight", metric: "oona.queue_depth_max", values: []float64{10_000, 10_000, 10_000}},
				{source: "weatherlight", metric: "oona.queue_depth_dead_letter", values: []float64{10_000, 10_000, 10_000}},
				{source: "weatherlight", metric: "oona.queue_backlog_normal", values: []float64{3, 0, 3}},
			}, nil, "",
		},
		"retries": {[]play{{source: "weatherlight", metric: "tezzeret.jobs.retried", values: []float64{0, 2}}}, nil, "tezzeret_compile_retry_high"},
		"lag": {
			[]play{{source: "weatherlight", metric: "oona.queue_backlog_policy", values: []float64{5000, 5000}}},
			[]play{{source: "weatherlight", metric: "oona.queue_backlog_policy", values: []float64{0}}}, "bus_lag",
		},
		"dead letters": {[]play{{source: "weatherlight", metric: "oona.dead_letter_total", values: []float64{4, 5}}}, nil, "dead_letters"},
		"restarts":     {[]play{{source: "weatherlight", metric: "weatherlight.restarts_total", values: []float64{0, 1, 2, 3}}}, nil, "workers_restarting"},
		"refused": {
			[]play{{source: "weatherlight", metric: "weatherlight.outbox.refused", values: []float64{1}}},
			[]play{{source: "weatherlight", metric: "weatherlight.outbox.refused", values: []float64{0}}}, "outbox_refused",
		},
		"library": {
			[]play{{source: "weatherlight", metric: "weatherlight.alarm", values: []float64{1}, pairs: []string{"alarm", "library_down"}}},
			[]play{{source: "weatherlight", metric: "weatherlight.alarm", values: []float64{0}, pairs: []string{"alarm", "library_down"}}}, "library_down",
		},
		"alarm": {
			[]play{{source: "weatherlight", metric: "weatherlight.alarm", values: []float64{1}, pairs: []string{"alarm", "worker_down"}}},
			[]play{{source: "weatherlight", metric: "weatherlight.alarm", values: []float64{0}, pairs: []string{"alarm", "worker_down"}}}, "weatherlight_alarm",
		},
		"halt":     {[]play{{source: "weatherlight", event: "emergency_signal_received", pairs: []string{"level", "4"}}}, nil, "halt"},
		"no halt":  {[]play{{source: "weatherlight", event: "emergency_signal_received", pairs: []string{"level", "3"}}}, nil, ""},
		"rollback": {[]play{{source: "weatherlight", event: "rollback_deadline_triggered"}}, nil, "rollback"},
		"run halted": {
			[]play{{source: "kasmina", event: "emergency_signal", pairs: []string{"level", "EMERGENCY_LEVEL_HALT", "training_run_id", "r"}}},
			[]play{{source: "kasmina", event: "emergency_lifted", pairs: []string{"training_run_id", "r"}}}, "run_halted",
		},
		"silent": {
			[]play{{source: "kasmina", event: "run_silent", pairs: []string{"training_run_id", "r"}}},
			[]play{{source: "kasmina", event: "run_heard", pairs: []string{"training_run_id", "r"}}}, "run_silent",
		},
		"stalled": {
			[]play{{source: "tamiyo", metric: "tamiyo.stalled_epochs", values: []float64{41}, pairs: []string{"training_run_id", "r"}}},
			[]play{{source: "tamiyo", metric: "tamiyo.stalled_epochs", values: []float64{0}, pairs: []string{"training_run_id", "r"}}}, "run_stalled",
		},
		"culled": {[]play{{source: "kasmina", event: "rollback_ready", pairs: []string{"seed_id", "s", "reason", "retired"}}}, nil, "seed_culled"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := shipped(t)
			for _, p := range test.raise {
				d.play(p)
				d.Observe(telemetry.New("another", "p").Metric("m", 1, "").Build()) // absence is no recovery
			}
			if got := d.firing(); got != test.want {
				t.Fatalf("fires %q, wanted %q", got, test.want)
			}
			for _, p := range test.clear {
				d.play(p)
			}
			if got := d.firing(); test.clear != nil && got != "" {
				t.Errorf("fires on: %q", got)
			}
		})
	}
}

// A trainer that ends leaves the last word of its run as it is: no measurement will say that it is over.
func TestWhatWasMeasuredOfARunIsOverWhenItIsSilent(t *testing.T) {
	d := shipped(t)
	measure := func(run string) {
		for _, p := range []play{
			{source: "tamiyo", metric: "tamiyo.stalled_epochs", values: []float64{41}},
			{source: "tamiyo", metric: "tamiyo.gnn.feature_coverage", values: []float64{0.6, 0.6, 0.6}},
			{source: "tamiyo", metric: "tamiyo.blueprint.risk", values: []float64{0.9}},
			{source: "kasmina", metric: "kasmina.isolation.violations", values: []float64{0, 1, 3}},
			{source: "tolaria", metric: "tolaria.training.latency_ms", values: append(slices.Repeat([]float64{100}, 20), 900, 900, 900)},
			{source: "tolaria", metric: "tolaria.graph.replay_ms", values: []float64{0.7, 0.7, 0.7}},
		} {
			p.pairs = []string{"training_run_id", run}
			d.play(p)
		}
	}
	fires := func(run string) (names []string) {
		for _, a := range d.Alerts() {
			if a.State == alert.Firing && a.Labels["training_run_id"] == run {
				names = append(names, a.Rule)
			}
		}
		slices.Sort(names)
		return names
	}
	all := []string{
		"kasmina_isolation_violation", "run_stalled", "tamiyo_bsds_elevated_risk", "tamiyo_coverage_low",
		"tolaria_graph_replay_latency_high", "training_latency_high",
	}
	measure("ends")
	measure("goes on")
	d.play(play{source: "kasmina", event: "run_silent", pairs: []string{"training_run_id", "ends"}})
	// An operator's command makes Kasmina say once more what it has counted.
	d.play(play{source: "kasmina", metric: "kasmina.isolation.violations", values: []float64{3}, pairs: []string{"training_run_id", "ends"}})
	if ends, goesOn := fires("ends"), fires("goes on"); !slices.Equal(ends, []string{"run_silent"}) || !slices.Equal(goesOn, all) {
		t.Errorf("of the run that is silent fire %q, of the other %q", ends, goesOn)
	}
	d.play(play{source: "kasmina", event: "run_heard", pairs: []string{"training_run_id", "ends"}})
	measure("ends")
	if ends := fires("ends"); !slices.Equal(ends, all) {
		t.Errorf("it is heard again, and %q fire", ends)
	}
}

// Ten breaches of one source count, whatever another says in between.
func TestN2SourcesThatInterleaveDoNotClearEachOther(t *testing.T) {
	d := shipped(t)
	for range 10 {
		d.play(play{source: "a", metric: "tamiyo.gnn.feature_coverage", values: []float64{0.1}})
		d.play(play{source: "b", metric: "tamiyo.gnn.feature_coverage", values: []float64{0.9}})
		d.play(play{source: "c", metric: "something.else", values: []float64{0}})
	}
	if got := d.firing(); got != "tamiyo_coverage_low" {
		t.Errorf("fires %q", got)
	}
}

// Names and values that somebody puts on the bus to do harm.
func TestHostilePacketsNeitherBreakNorFillTheDesk(t *testing.T) {
	d := shipped(t)
	long := strings.Repeat("x\n\xff", 1<<19)
	d.play(play{source: long, metric: "tamiyo.stalled_epochs", values: []float64{50}, pairs: []string{"training_run_id", long, long, long}})
	for i := range 100_000 {
		d.Observe(telemetry.New(fmt.Sprint("source ", i), "p").Metric("tamiyo.stalled_epochs", 50, "").Build())
	}
	if got := len(d.Alerts()); got > 2000 {
		t.Errorf("%d alerts", got)
	}
	packet := telemetry.New("many", "p")
	for i := range 100_000 {
		packet.Metric(fmt.Sprint("oona.queue_backlog_", i), 1e9, "")
	}
	d.Observe(packet.Build())
	if got := len(d.Alerts()); got > 3*2000 { // of each rule, two of which look at backlogs
		t.Errorf("%d alerts", got)
	}
}
