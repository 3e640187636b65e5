package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
	"github.com/esper-lite/weatherlight/weatherlight/internal/fleet"
)

// reportInterval is the pause between two looks for unsent field reports.
const reportInterval = time.Second

// startController sets up the policies and the field-report log, and the consumers
// of the policy stream and of the normal stream. The latter brings the seeds'
// commands as well as the trainers' states: they share a stream and a group, so
// they share a consumer.
func (s *Service) startController(ctx context.Context) error {
	if err := s.openController(); err != nil {
		return err
	}
	s.policyNotes = fleet.NewPolicyNotes(s.fleet, s.policies, s.keyring, s.logger.With("part", "tamiyo"))
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
		Freshness: s.settings.Tamiyo.Freshness(),
		Emit:      s.telemetry.Acknowledge,
		Logger:    logger,
	})
	if err != nil {
		return fmt.Errorf("policy store: %w", err)
	}
	s.reports, err = tamiyo.NewReportLog(filepath.Join(assembly.ReportFolder(s.settings), "field_reports.log"), tamiyo.ReportConfig{
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
	return []supervise.Spec{
		{Name: workerPolicyNotes, Worker: s.policyNotes},
		// The leader alone, one at a time, and none before one that has to be tried
		// again: policies are ordered.
		s.leaderConsumer(workerPolicies, oona.Subscription{
			Concurrency: 1,
			Key:         func(*oona.Delivery) string { return "policies" },
			Handlers: map[leyline.BusMessageType]oona.Handler{
				leyline.BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE: typed(s.handlePolicy),
			},
		}),
		// Every instance: what is decided on a run is decided on its record.
		s.consumer(workerControl, oona.Subscription{
			Key: control.RunOf,
			Handlers: map[leyline.BusMessageType]oona.Handler{
				leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND: s.runs.Command,
				leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE:       s.runs.State,
			},
		}),
		{Name: workerReports, Worker: supervise.WorkerFunc(s.publishReports)},
	}
}

// handlePolicy takes an update in. It is settled when all others can know of it:
// whoever leads next goes on with it.
func (s *Service) handlePolicy(ctx context.Context, update *leyline.PolicyUpdate) ([]oona.Message, error) {
	err := s.policies.HandleUpdate(ctx, update)
	if _, rejected := errors.AsType[*tamiyo.RejectedError](err); rejected {
		return nil, oona.Permanent(err)
	}
	if err != nil {
		return nil, err
	}
	if err := s.fleet.Renew(ctx); err != nil { // The next renewal tells them as well.
		s.logger.Debug("the others were not told of a policy at once", "policy", update.GetPolicyId(), "error", err)
	}
	return nil, nil
}

// publishReports sends the field reports that are due, once more when the
// worker is asked to stop.
func (s *Service) publishReports(ctx context.Context) error {
	cadence.Every(ctx, s.rhythm(), reportInterval, s.publishDueReports)
	s.publishDueReports(ctx)
	return nil
}

func (s *Service) publishDueReports(ctx context.Context) {
	// The log keeps what could not be sent and says when to try again, so a
	// refused report is no failure of this worker.
	if _, err := s.reports.PublishPending(supervise.Work(ctx), s.durable); err != nil {
		s.logger.Debug("field reports pending", "error", err)
	}
}

// openForge sets up the forge. It starts with the loops, once the service is ready.
func (s *Service) openForge(context.Context) error {
	config, err := assembly.Forge(s.settings, s.library)
	if err != nil {
		return err
	}
	config.Announce = s.durable.AnnounceKernel
	config.Progress = s.config.OnForge
	config.Logger = s.logger.With("part", "tezzeret")
	s.forge = tezzeret.NewForge(config)
	return nil
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
