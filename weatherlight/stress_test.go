package weatherlight

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/broker"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/supervise/supervisetest"
)

func TestWorkersCanBeStartedAndStoppedAtAnyMoment(t *testing.T) {
	bus := &fakeBus{}
	dir := t.TempDir()
	var made atomic.Int64
	monitor := func(size int, decode func([]byte) sharedSignal) func() supervise.Worker {
		return func() supervise.Worker {
			return &signalPoller{monitors: []*signalMonitor{{
				segment: newSegment(dir, fmt.Sprint("signal", made.Add(1)%2), size), decode: decode,
				damper: damper{cooldown: time.Millisecond}, report: func(alarm) bool { return true },
			}}}
		}
	}
	for name, newWorker := range map[string]func() supervise.Worker{
		"telemetry queue": func() supervise.Worker {
			queue := newTestQueue(bus)
			offerAll(queue, numbered(5))
			return queue
		},
		"forwarder": func() supervise.Worker {
			forwarder := newCatalogForwarder(bus)
			announceAll(t, forwarder, numbered(5))
			return forwarder
		},
		"housekeeper": func() supervise.Worker {
			idle := func(context.Context) (map[string]float64, error) { return nil, nil }
			return newHousekeeper(time.Millisecond, slog.New(slog.DiscardHandler), []chore{{name: "idle", do: idle}})
		},
		"rollback monitor":  monitor(deadlineSize, decodeDeadline),
		"emergency monitor": monitor(emergencySize, decodeEmergency),
		"signal reporter":   func() supervise.Worker { return newSignalReporter() },
		"embedded broker": func() supervise.Worker {
			embedded, err := broker.Start(broker.Config{Tick: time.Millisecond})
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
	for name, worker := range map[string]func(context.Context) error{
		"summary": r.summarize, "field reports": r.publishReports,
	} {
		t.Run(name, func(t *testing.T) {
			supervisetest.Stress(t, func() supervise.Worker { return supervise.WorkerFunc(worker) })
		})
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

// A monitor under a trainer that raises signals as fast as it can: every one is
// reported or counted as part of another.
func TestStormOfSignalsIsCountedWhole(t *testing.T) {
	d := emergencyDeck(t)
	d.monitor.damper.cooldown = 20 * time.Millisecond
	d.write(0, make([]byte, emergencySize))
	stop := run(t, polling(d.monitor))
	const storm = 200
	for i := range uint64(storm) {
		d.write(0, emergencyRecord(byte(1+i%4), i+1, "storm"))
		eventually(t, "the record is taken", func() bool { return d.content()[0] == 0 })
	}
	stop()
	total := 0
	for _, raised := range d.list() {
		total += raised.triggers
	}
	if total != storm {
		t.Errorf("%d of %d signals were told of", total, storm)
	}
	if last := d.list()[len(d.list())-1]; last.level < leyline.EmergencyLevel_EMERGENCY_LEVEL_NOTICE {
		t.Errorf("last %+v", last)
	}
}
