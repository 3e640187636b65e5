package tamiyo

import (
	"testing"

	"github.com/esper-lite/weatherlight/trainer"
)

// What Kasmina does not have, or has ended, is on its way out: it would refuse each PAUSE, end of
// one, and FOSSILIZE.
func TestASeedThatDoesNotLiveForKasminaIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		before func(r *run, id string)
		report func(r *run, id string) Decision
		lives  string // what it would be given, did it live
	}{
		"it would be paused": {
			report: func(r *run, id string) Decision {
				return r.metricsReport(map[string]float32{"step_latency_ms": 250}, seedState(id, stageTraining))
			},
			lives: "COMMAND_PAUSE",
		},
		"it is gone from the report, and would be paused": {
			report: func(r *run, _ string) Decision { return r.metricsReport(map[string]float32{"step_latency_ms": 250}) },
			lives:  "COMMAND_PAUSE",
		},
		"it would come back": {
			before: func(r *run, id string) {
				slow := seedState(id, stageTraining)
				slow.Metrics = map[string]float32{trainer.MetricPaused: 1}
				r.metricsReport(map[string]float32{"step_latency_ms": 250}, slow)
				for range r.controller.config.HoldDownEpochs - 1 {
					r.metricsReport(map[string]float32{"step_latency_ms": 50}, slow)
				}
			},
			report: func(r *run, id string) Decision {
				return r.metricsReport(map[string]float32{"step_latency_ms": 50}, seedState(id, stageTraining))
			},
			lives: "COMMAND_PAUSE",
		},
		"it would be kept": {
			before: func(r *run, id string) { r.report(1, measuredSeed(id, stageProbationary, 0.1)) },
			report: func(r *run, id string) Decision { return r.report(1, measuredSeed(id, stageProbationary, 0.1)) },
			lives:  "SEED_OP_FOSSILIZE",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, lives := range []bool{true, false} {
				r, id := growing(t, Config{})
				if row.before != nil {
					row.before(r, id)
				}
				r.next.Lives = func(string) bool { return lives }
				decision := row.report(r, id)
				if lives {
					only(t, decision, row.lives)
				} else if len(decision.Commands) > 0 {
					t.Errorf("commands %v", operations(decision))
				}
			}
		})
	}
}
