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
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// reportInterval is the pause between two looks for unsent field reports.
const reportInterval = time.Second

const (
	// runTTL is how long a run that nobody reports for is remembered.
	runTTL = 30 * 24 * time.Hour
	// publishGrace is how long another instance may take to publish what it decided
	// on a run. One that died meanwhile costs the run that much.
	publishGrace = 500 * time.Millisecond
)

// startGrowth sets up what decides on runs, and starts what feeds it the answers
// to its kernel requests and what comes due.
func (s *Service) startGrowth(ctx context.Context) error {
	core := kasmina.NewCore(s.coreConfig())
	controller := tamiyo.NewController(s.controllerConfig())
	s.localOnly = s.warnLocalOnly()
	records := s.bus.Records(trainer.Stream)
	s.runs = control.New(control.Config{
		Core: core, Controller: controller, Records: records, Awaits: records,
		Keyring: s.keyring, Now: s.bus.Now, Rhythm: s.rhythm(),
		Publish: s.bus.Publish, Route: s.telemetryMessage, Offer: s.telemetry.Offer,
		KeepReport: func(report *leyline.FieldReport) error { return s.reports.Append(report) },
		Candidates: s.candidates, Permit: s.permitBlueprint,
		TTL: runTTL, Grace: publishGrace, Logger: s.logger.With("part", "kasmina"),
	})
	return s.startWorkers(s.growthWorkers)(ctx)
}

// coreConfig is what the settings say of the life of a seed.
func (s *Service) coreConfig() kasmina.Config {
	k := s.settings.Kasmina
	return kasmina.Config{
		Keyring: s.keyring, ArtifactURL: s.advertisedURL(), AutoFossilize: k.AutoFossilize,
		Promotion: kasmina.Promotion{
			MinTraining: k.MinTraining, TrainEpochs: k.TrainEpochs,
			Plateau: k.Plateau, PlateauGain: k.PlateauGain, MaxBlending: k.MaxBlending,
			MinShadowing: k.MinShadowing, MaxShadowing: k.MaxShadowing,
			MinProbation: k.MinProbation, MaxProbation: k.MaxProbation,
			MinGain: k.MinGain, AccuracyGain: k.AccuracyGain, MaxRegression: k.MaxRegression, Sigma: k.Sigma,
		},
		Schedule: trainer.Schedule{
			Shape: trainer.Shape(k.AlphaSchedule), Steps: k.AlphaSteps, Temperature: k.AlphaTemperature,
			WarmUp: k.AlphaWarmUpSteps, Hold: k.AlphaHoldSteps,
		},
		Embargo: k.Embargo, Takeover: k.Takeover, PrefetchTimeout: k.PrefetchTimeout,
		MaxGradientNorm: k.MaxGradientNorm, MaxGradientCosine: k.MaxGradientCosine,
		LatencyBudgetMS: float64(k.LatencyBudget) / float64(time.Millisecond),
	}
}

// controllerConfig asks of a seed what Kasmina asks. Kasmina counts a probation from
// the report after the promotion, so the controller asks to keep a seed one later.
func (s *Service) controllerConfig() tamiyo.Config {
	t, k := s.settings.Tamiyo, s.settings.Kasmina
	return tamiyo.Config{
		PolicyVersion: func() string { return s.policies.ActiveVersion() },

		Patience: uint32(t.StallEpochs), MinDelta: t.StallGain,
		MaxGrowing: t.MaxGrowing, MaxAgeEpochs: uint32(t.MaxSeedAge),
		MinAccuracyGain: k.AccuracyGain, MinLossGain: k.MinGain,
		ProbationEpochs: uint32(k.MinProbation) + 1,
	}
}

func (s *Service) growthWorkers() []supervise.Spec {
	streams := s.busConfig().Streams
	return []supervise.Spec{
		{Name: workerRuns, Worker: s.runs},
		s.consumer(workerSeedReady, oona.Subscription{
			Stream: streams.KernelReady, Wanted: control.Answers, Key: control.RunOf, Demand: s.runs.ReadyDemand(),
			Handlers: only(leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY, s.runs.Ready),
		}),
		s.consumer(workerSeedErrors, oona.Subscription{
			Stream: streams.KernelErrors, Wanted: control.Answers, Key: control.RunOf, Demand: s.runs.RefusalDemand(),
			Handlers: only(leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR, s.runs.Refusal),
		}),
	}
}

// only handles one type of message.
func only(kind leyline.BusMessageType, handler oona.Handler) map[leyline.BusMessageType]oona.Handler {
	return map[leyline.BusMessageType]oona.Handler{kind: handler}
}

// startController sets up the policies and the field-report log, and the consumers
// of the policy stream and of the normal stream. The latter brings the seeds'
// commands as well as the trainers' states: they share a stream and a group, so
// they share a consumer.
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
		// Every instance: what is decided on a run is decided on its record.
		s.consumer(workerControl, oona.Subscription{
			Stream: streams.Normal,
			Key:    control.RunOf,
			Handlers: map[leyline.BusMessageType]oona.Handler{
				leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND: s.runs.Command,
				leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE:       s.state,
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
