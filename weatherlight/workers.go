package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/esper-lite/weatherlight/supervise"
)

// Worker names: metrics, logs and the status page use them.
const (
	workerHTTP         = "http"
	workerBroker       = "embedded_broker"
	workerPrefetch     = "urza_prefetch"
	workerRuns         = "kasmina_runs"
	workerSeedReady    = "kasmina_prefetch_ready"
	workerSeedErrors   = "kasmina_prefetch_errors"
	workerControl      = "control_stream"
	workerPolicies     = "tamiyo_policy"
	workerPolicyNotes  = "tamiyo_policy_notes"
	workerForge        = "tezzeret_forge"
	workerTelemetry    = "telemetry"
	workerSummary      = "summary"
	workerHousekeeping = "housekeeping"
	workerEmergency    = "emergency_stream"
	workerSignals      = "signal_monitor"
	workerFleet        = "fleet"
	workerOutbox       = "outbox"
	workerSecrets      = "secret_file"
	workerScrub        = "urza_scrub"
	workerHealthWatch  = "health_watch"
	workerNissa        = "nissa_heartbeat"
	workerWatchdog     = "watchdog"

	workerSignalReports = "signal_reports"
)

// crew is a list of workers, in the order in which they start.
type crew struct {
	specs      []supervise.Spec
	supervised *supervise.Supervisor
}

func (f *foundation) newCrew(specs ...supervise.Spec) crew { return crew{specs, f.supervisor} }

// start starts one worker after the other. An error means that none is left running.
func (c crew) start(ctx context.Context) error {
	for i, spec := range c.specs {
		if err := c.supervised.Start(ctx, spec); err != nil {
			started := crew{c.specs[:i+1], c.supervised}
			return errors.Join(fmt.Errorf("start worker %s: %w", spec.Name, err), started.stop(ctx))
		}
	}
	return nil
}

// stop stops one worker after the other, backwards, so that each drains into those
// started before it. Once ctx is done there is no time left for that: the rest
// stop together, or a step with many workers would outlast its bound.
func (c crew) stop(ctx context.Context) error {
	failures := make([]error, len(c.specs))
	var rest sync.WaitGroup
	for i, spec := range slices.Backward(c.specs) {
		stop := func() { failures[i] = c.supervised.StopWorker(ctx, spec.Name) }
		if ctx.Err() != nil {
			rest.Go(stop)
		} else {
			stop()
		}
	}
	rest.Wait()
	return errors.Join(failures...)
}

// close is for parts that have nothing to close.
func (crew) close(context.Context) error { return nil }
