package weatherlight

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/supervise/supervisetest"
	"github.com/esper-lite/weatherlight/weatherlight/internal/maintenance"
)

func TestWorkersCanBeStartedAndStoppedAtAnyMoment(t *testing.T) {
	for name, newWorker := range map[string]func() supervise.Worker{
		"maintenance": func() supervise.Worker {
			idle := func(context.Context) (map[string]float64, error) { return nil, nil }
			return maintenance.New(maintenance.Config{Clock: cadence.Phase{}, Interval: time.Millisecond, Logger: slog.New(slog.DiscardHandler)}, []maintenance.Job{{Name: "idle", Do: idle}})
		},
		"embedded broker": func() supervise.Worker {
			embedded, err := embedded.Start(embedded.Config{Tick: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(embedded.Close)
			return embedded
		},
	} {
		t.Run(name, func(t *testing.T) { supervisetest.Stress(t, newWorker) })
	}
}

// The workers that need the parts around them run on those of a service.
func TestLoopsOfAServiceCanBeStartedAndStoppedAtAnyMoment(t *testing.T) {
	r := start(t, newService(t, map[string]string{
		"WEATHERLIGHT_TELEMETRY_INTERVAL": "1ms", "WEATHERLIGHT_HOUSEKEEPING_INTERVAL": "1h",
	}))
	if err := r.supervisor.StopWorker(t.Context(), workerSummary); err != nil {
		t.Fatal(err)
	}
	supervisetest.Stress(t, func() supervise.Worker { return supervise.WorkerFunc(r.summarize) })
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
