package weatherlight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
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

// startWorkers is a boot step that starts a list of workers in order. The list
// is made when the step runs, because it needs what the steps before set up.
func (s *Service) startWorkers(list func() []supervise.Spec) func(context.Context) error {
	return func(ctx context.Context) error {
		for i, spec := range list() {
			if err := s.supervisor.Start(ctx, spec); err != nil {
				return errors.Join(fmt.Errorf("start worker %s: %w", spec.Name, err), s.stopSpecs(ctx, list()[:i+1]))
			}
		}
		return nil
	}
}

// stopWorkers stops the same list backwards.
func (s *Service) stopWorkers(list func() []supervise.Spec) func(context.Context) error {
	return func(ctx context.Context) error { return s.stopSpecs(ctx, list()) }
}

// stopSpecs stops one worker after the other, so that each drains into those
// started before it. Once ctx is done there is no time left for that: the rest
// stop together, or a step with many workers would outlast its bound.
func (s *Service) stopSpecs(ctx context.Context, specs []supervise.Spec) error {
	failures := make([]error, len(specs))
	var rest sync.WaitGroup
	for i, spec := range slices.Backward(specs) {
		stop := func() { failures[i] = s.supervisor.StopWorker(ctx, spec.Name) }
		if ctx.Err() != nil {
			rest.Go(stop)
		} else {
			stop()
		}
	}
	rest.Wait()
	return errors.Join(failures...)
}

// idleBlock is how long one read of an empty stream may wait. A stop and a new
// entry end it at once; only that many questions less are asked while nothing
// happens.
const idleBlock = 2 * time.Second

// consumer is a worker that reads one stream. It is ready once its group exists
// and its own pending entries were read.
func (s *Service) consumer(name string, subscription oona.Subscription) supervise.Spec {
	subscription.Stream = streamOf(name, s.busConfig().Streams)
	subscription.Concurrency = cmp.Or(subscription.Concurrency, s.settings.Workers.MaxConcurrency)
	subscription.Block = idleBlock
	run := func(ctx context.Context) error { return s.consume(ctx, subscription) }
	return supervise.Spec{Name: name, Worker: supervise.WorkerFunc(run), AwaitReady: true}
}

// leaderConsumer is a consumer of the instance that leads.
func (s *Service) leaderConsumer(name string, subscription oona.Subscription) supervise.Spec {
	spec := s.consumer(name, subscription)
	spec.Worker = supervise.WorkerFunc(s.fleet.whileLeading(spec.Worker.Run))
	return spec
}

// consume reads until ctx is done or the intake is closed; then it rests until
// ctx is done, for its end would count as a failure.
func (s *Service) consume(ctx context.Context, subscription oona.Subscription) error {
	fetch, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(s.intake, end)()
	subscription.OnReady = func() { supervise.Ready(ctx) }
	s.fetching.Add(1)
	err := s.bus.Consume(fetch, supervise.Work(ctx), subscription)
	s.fetching.Add(-1)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// typed adapts a function of one message type to the bus.
func typed[M proto.Message](handle func(context.Context, M) ([]oona.Message, error)) oona.Handler {
	return func(ctx context.Context, delivery *oona.Delivery) ([]oona.Message, error) {
		message, ok := delivery.Payload.(M)
		if !ok {
			return nil, oona.Permanent(fmt.Errorf("payload is %T, want %T", delivery.Payload, message))
		}
		return handle(ctx, message)
	}
}

// prefetchWorkers answer kernel requests.
func (s *Service) prefetchWorkers() []supervise.Spec {
	return []supervise.Spec{s.consumer(workerPrefetch, oona.Subscription{
		AnswersOnly: true,
		Handlers: map[leyline.BusMessageType]oona.Handler{
			leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST: s.answerRequest,
		},
	})}
}

// answerRequest answers one kernel request. The answer, the replay mark and the
// acknowledgement commit together; an error means that the library is down and
// brings the request back.
func (s *Service) answerRequest(ctx context.Context, delivery *oona.Delivery) ([]oona.Message, error) {
	request, ok := delivery.Payload.(*leyline.KernelPrefetchRequest)
	if !ok {
		return nil, oona.Permanent(fmt.Errorf("kernel request is %T", delivery.Payload))
	}
	answer, attributes, err := s.prefetcher.Answer(ctx, request, delivery.Attributes)
	if err != nil {
		return nil, fmt.Errorf("answer request for %s: %w", request.GetBlueprintId(), err)
	}
	return []oona.Message{{Payload: answer, Attributes: attributes}}, nil
}
