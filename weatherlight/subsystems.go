package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/urza"
)

// reportInterval is the pause between two looks for unsent field reports.
const reportInterval = time.Second

// probationEpochs is how long the controller watches a seed on probation before
// it asks to keep it. The seed manager counts from the epoch after the promotion
// and wants two, so one less would be refused.
const probationEpochs = 3

// A host is given time to come to rest by itself before a seed is spent on it:
// eight epochs in which its validation loss did not fall by half a per cent.
const (
	stallPatience = 8
	stallMinDelta = 0.005
)

// startSeeds sets up the seed manager and what feeds it the answers to its
// kernel requests.
func (s *Service) startSeeds(ctx context.Context) error {
	s.answers = newAnswers(s.bus, func() bool { return s.seeds.AwaitsAny() })
	seeds, err := kasmina.NewManager(kasmina.Config{
		Keyring:        s.keyring,
		Requests:       s.answers,
		Emit:           s.telemetry.Offer,
		Open:           s.library.OpenArtifact,
		LedgerPath:     s.ledgerPath(),
		LedgerCapacity: s.settings.Kernel.NonceCacheSize,
		Logger:         s.logger.With("part", "kasmina"),
	})
	if err != nil {
		return fmt.Errorf("seed manager: %w", err)
	}
	s.seeds = seeds
	s.fleet.tell(s.describeInstance, func([]fleetMember) {})
	return s.startWorkers(s.seedWorkers)(ctx)
}

func (s *Service) seedWorkers() []supervise.Spec {
	streams, own := s.busConfig().Streams, answerGroup(s.instance())
	return []supervise.Spec{
		{Name: workerSeeds, Worker: s.seeds},
		s.consumer(workerSeedReady, oona.Subscription{Stream: streams.KernelReady, Group: own,
			Wanted: s.awaited, Demand: s.answers.ready,
			Handlers: only(leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY, typed(s.seedReady))}),
		s.consumer(workerSeedErrors, oona.Subscription{Stream: streams.KernelErrors, Group: own,
			Wanted: s.awaited, Demand: s.answers.errors,
			Handlers: only(leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR, typed(s.seedError))}),
		// One at a time: in the order in which the leader handed them on.
		s.consumer(workerInbox, oona.Subscription{Stream: inbox(s.instance()), Concurrency: 1, Key: subjectOf,
			Handlers: only(leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND, typed(s.applyCommand))}),
	}
}

// only handles one type of message.
func only(kind leyline.BusMessageType, handler oona.Handler) map[leyline.BusMessageType]oona.Handler {
	return map[leyline.BusMessageType]oona.Handler{kind: handler}
}

// awaited tells answers to the seeds of this instance from those to others, which
// go by on the same streams.
func (s *Service) awaited(delivery *oona.Delivery) bool {
	answer, ok := delivery.Payload.(interface{ GetRequestId() string })
	return !ok || s.seeds.Awaits(answer.GetRequestId())
}

func (s *Service) seedReady(ctx context.Context, ready *leyline.KernelArtifactReady) ([]oona.Message, error) {
	return nil, s.seeds.HandleReady(ctx, ready)
}

func (s *Service) seedError(ctx context.Context, failed *leyline.KernelArtifactError) ([]oona.Message, error) {
	return nil, s.seeds.HandleError(ctx, failed)
}

// handleState lets the controller decide on an epoch. Its commands and its
// packet commit together with the acknowledgement of the state; its reports are
// made durable first, because their log decides when they are sent.
func (s *Service) handleState(ctx context.Context, state *leyline.SystemStatePacket) ([]oona.Message, error) {
	decision, err := s.controller.HandleState(ctx, state)
	if errors.Is(err, tamiyo.ErrNoTrainingRun) {
		return nil, oona.Permanent(err)
	}
	if err != nil {
		return nil, fmt.Errorf("evaluate epoch %d: %w", state.GetCurrentEpoch(), err)
	}
	for _, report := range decision.Reports {
		if err := s.reports.Append(report); err != nil {
			return nil, fmt.Errorf("keep field report: %w", err)
		}
	}
	messages := make([]oona.Message, 0, len(decision.Commands)+len(decision.Packets)+1)
	for _, command := range s.selectBlueprints(ctx, decision.Commands) {
		messages = append(messages, oona.Message{Payload: command})
	}
	if selections := s.catalog.Packet(); selections != nil {
		messages = append(messages, s.telemetryMessage(selections))
	}
	for _, packet := range decision.Packets {
		messages = append(messages, s.telemetryMessage(packet))
	}
	return messages, nil
}

// candidates are the kernels that the controller may choose from: what the
// library would serve.
func (s *Service) candidates(ctx context.Context) ([]tamiyo.Candidate, error) {
	records, err := s.library.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list kernels: %w", err)
	}
	candidates := make([]tamiyo.Candidate, 0, len(records))
	for _, record := range records {
		if s.library.Withheld(record) != nil {
			continue
		}
		blueprint := record.Descriptor
		candidates = append(candidates, tamiyo.Candidate{
			BlueprintID:      blueprint.GetBlueprintId(),
			Tier:             blueprint.GetTier(),
			Risk:             float64(blueprint.GetRisk()),
			ParameterCount:   parameterCount(record),
			ApprovalRequired: blueprint.GetApprovalRequired(),
			QuarantineOnly:   blueprint.GetQuarantineOnly(),
		})
	}
	return candidates, nil
}

// parameterCount is how many weights of a kernel can be trained, as its maker
// noted; an imported artifact may not say.
func parameterCount(record *urza.Record) int {
	switch count := record.Extras["parameter_count"].(type) {
	case int:
		return count
	case int64:
		return int(count)
	case float64:
		return int(count)
	default:
		return 0
	}
}

// startController sets up the policies, the field-report log and the controller,
// and the consumers of the policy stream and of the normal stream. The latter
// brings the seeds' commands as well as the trainers' states: they share a
// stream and a group, so they share a consumer.
func (s *Service) startController(ctx context.Context) error {
	if err := s.openController(); err != nil {
		return err
	}
	s.policyNotes = newPolicyLearner(s.learnPolicy, s.logger.With("part", "tamiyo"))
	s.fleet.tell(s.describePolicy, s.policyNotes.heed)
	if err := s.startWorkers(s.controllerWorkers)(ctx); err != nil {
		return errors.Join(err, s.reports.Close())
	}
	return nil
}

func (s *Service) openController() error {
	logger := s.logger.With("part", "tamiyo")
	var err error
	s.policies, err = tamiyo.NewPolicies(tamiyo.PolicyConfig{
		Dir:       s.settings.Tamiyo.PolicyDir,
		Verify:    s.settings.Tamiyo.VerifyUpdates,
		Freshness: s.settings.Tamiyo.UpdateFreshness,
		Emit:      s.acknowledgePolicy,
		Logger:    logger,
	})
	if err != nil {
		return fmt.Errorf("policy store: %w", err)
	}
	s.controller, err = tamiyo.NewController(tamiyo.Config{
		Keyring:       s.keyring,
		Candidates:    s.candidates,
		MeshLayers:    s.fleetLayers,
		PolicyVersion: s.policies.ActiveVersion,

		Patience:        stallPatience,
		MinDelta:        stallMinDelta,
		ProbationEpochs: probationEpochs,
		Logger:          logger,
	})
	if err != nil {
		return fmt.Errorf("controller: %w", err)
	}
	s.reports, err = tamiyo.NewReportLog(filepath.Join(s.tamiyoDir(), "field_reports.log"), tamiyo.ReportConfig{
		Retention:         s.settings.Tamiyo.FieldReportRetention,
		Backoff:           s.settings.Tamiyo.RetryBackoff,
		BackoffMultiplier: s.settings.Tamiyo.RetryBackoffMultiplier,
		MaxRetries:        s.settings.Tamiyo.FieldReportMaxRetries,
		Emit:              s.telemetry.Offer,
		Logger:            logger,
	})
	if err != nil {
		return fmt.Errorf("field-report log: %w", err)
	}
	return nil
}

func (s *Service) stopController(ctx context.Context) error {
	return errors.Join(s.stopWorkers(s.controllerWorkers)(ctx), s.reports.Close())
}

func (s *Service) controllerWorkers() []supervise.Spec {
	streams := s.busConfig().Streams
	return []supervise.Spec{
		{Name: workerPolicyNotes, Worker: s.policyNotes},
		// The leader alone, one at a time, and none before one that has to be tried
		// again: policies are ordered.
		s.leaderConsumer(workerPolicies, oona.Subscription{
			Stream:      streams.Policy,
			Concurrency: 1,
			Key:         func(*oona.Delivery) string { return "policies" },
			Handlers: map[leyline.BusMessageType]oona.Handler{
				leyline.BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE: typed(s.handlePolicy),
			},
		}),
		// The leader alone: one controller decides on a run, and the commands of a
		// seed keep their order on the way to the instance that it lives in.
		s.leaderConsumer(workerControl, oona.Subscription{
			Stream: streams.Normal,
			// One at a time, and by key, so that a retry changes no order: the
			// commands of a seed and the states of a run must take effect in the
			// order in which they were sent.
			Concurrency: 1,
			Key:         subjectOf,
			Handlers: map[leyline.BusMessageType]oona.Handler{
				leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND: typed(s.handleCommand),
				leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE:       typed(s.handleState),
			},
		}),
		{Name: workerReports, Worker: supervise.WorkerFunc(s.publishReports)},
	}
}

// publishReports sends the field reports that are due, once more when the
// worker is asked to stop.
func (s *Service) publishReports(ctx context.Context) error {
	every(ctx, s.rhythm(), reportInterval, s.publishDueReports)
	s.publishDueReports(ctx)
	return nil
}

func (s *Service) publishDueReports(ctx context.Context) {
	// The log keeps what could not be sent and says when to try again, so a
	// refused report is no failure of this worker.
	if _, err := s.reports.PublishPending(supervise.Work(ctx), durableReports{s.outbox}); err != nil {
		s.logger.Debug("field reports pending", "error", err)
	}
}

// startForwarder sets up the forge and the worker that announces its kernels.
// The forge itself starts with the loops, once the service is ready.
func (s *Service) startForwarder(ctx context.Context) error {
	config, err := ForgeConfig(s.settings, s.library)
	if err != nil {
		return err
	}
	s.updates = newCatalogForwarder(s.bus)
	config.Announce = s.updates.Announce
	config.Progress = s.config.OnForge
	config.Logger = s.logger.With("part", "tezzeret")
	s.forge = tezzeret.NewForge(config)
	return s.startWorkers(s.forwarderWorkers)(ctx)
}

func (s *Service) forwarderWorkers() []supervise.Spec {
	return []supervise.Spec{{Name: workerForwarder, Worker: s.updates}}
}

// runForge waits until the service is ready, so that compiling never delays the
// boot, and compiles what the library lacks.
func (s *Service) runForge(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.ready:
	}
	err := s.forge.Run(ctx)
	// What compiling took is not needed again until the next start.
	debug.FreeOSMemory()
	s.telemetry.Offer(s.forge.Packet())
	if err != nil {
		return fmt.Errorf("forge: %w", err)
	}
	if ctx.Err() == nil {
		s.markForged()
	}
	return nil
}
