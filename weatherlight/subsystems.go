package weatherlight

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// startController sets up the policies, and the consumers of the policy stream and of
// the normal stream. The latter brings the seeds' commands as well as the trainers'
// states: they share a stream and a group, so they share a consumer.
func (s *Service) startController(ctx context.Context) error {
	var err error
	s.policies, err = policy.Open(policy.Config{
		Dir:       s.settings.Tamiyo.PolicyDir,
		Freshness: s.settings.Tamiyo.Freshness(),
		Emit:      s.acknowledgePolicy,
		Logger:    s.logger.With("part", "tamiyo"),
	})
	if err != nil {
		return fmt.Errorf("policy store: %w", err)
	}
	s.policyNotes = newPolicyLearner(s.learnPolicy, s.logger.With("part", "tamiyo"))
	s.fleet.tell(s.describePolicy, s.policyNotes.heed)
	return s.startWorkers(s.controllerWorkers)(ctx)
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
	}
}

// openForge sets up the forge. It starts with the loops, once the service is ready.
func (s *Service) openForge(context.Context) error {
	config, err := ForgeConfig(s.settings, s.library)
	if err != nil {
		return err
	}
	config.Announce = s.announceKernel
	config.Progress = s.config.OnForge
	config.Logger = s.logger.With("part", "tezzeret")
	s.forge = forge.New(config)
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
