package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/internal/sdnotify"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/capability"
	"github.com/esper-lite/weatherlight/weatherlight/internal/health"
	"github.com/esper-lite/weatherlight/weatherlight/internal/maintenance"
)

// flushTimeout bounds the final flush, so that a dead bus cannot use up the time for
// stopping, and lastPacketTimeout the last summary after it: a long queue must not
// use up its time.
const (
	flushTimeout      = 2 * time.Second
	lastPacketTimeout = 2 * time.Second
)

// loops are the workers that look after the others.
func (s *Service) loops() []supervise.Spec {
	if s.chores == nil {
		s.fanOut = capability.New(capability.Config{
			Library: s.library, Catalog: s.catalog, Each: s.runs.Each, Confirm: s.confirmLead,
		})
		s.chores = maintenance.New(maintenance.Config{
			Clock: s.rhythm(), Interval: s.settings.Weatherlight.HousekeepingInterval, Logger: s.logger,
		}, maintenance.Jobs(s.jobsConfig()))
	}
	if s.health == nil {
		s.nissa = health.NewNissa(s.settings.Weatherlight.NissaURL.Reveal(), s.rhythm())
		s.health = health.New(s.healthConfig())
	}
	specs := []supervise.Spec{
		{Name: workerTelemetry, Worker: s.telemetry},
		{Name: workerSummary, Worker: supervise.WorkerFunc(s.summarize)},
		{Name: workerHousekeeping, Worker: s.chores},
		s.consumer(workerEmergency, oona.Subscription{Handlers: s.emergencyHandlers()}),
	}
	specs = append(specs, s.signalWorkers()...)
	if s.settings.Urza.ScrubInterval > 0 {
		specs = append(specs, supervise.Spec{Name: workerScrub, Worker: s.scrubber()})
	}
	specs = append(specs, s.watchers()...)
	if s.settings.Tezzeret.ForgeOnStart && s.settings.Urza.Format != settings.FormatPT {
		return append(specs, supervise.Spec{Name: workerForge, Worker: supervise.WorkerFunc(s.runForge), Finite: true})
	}
	s.markForged()
	return specs
}

// jobsConfig is what the maintenance jobs work on.
func (s *Service) jobsConfig() maintenance.JobsConfig {
	streams := assembly.Streams(s.settings)
	return maintenance.JobsConfig{
		Bus: s.bus, Library: s.library, Fleet: s.fleet, FanOut: s.fanOut.Run,
		DeadLetterTTL: s.settings.Oona.DeadLetterTTL, Group: assembly.Group,
		ReplyStreams: []string{streams.KernelReady, streams.KernelErrors},
	}
}

// confirmLead keeps a leader that was from writing over its successor.
func (s *Service) confirmLead(ctx context.Context) error {
	if !s.fleet.Leads() {
		return nil
	}
	return s.fleet.Confirm(ctx)
}

func (s *Service) scrubber() maintenance.Scrubber {
	set := s.settings.Urza
	return maintenance.Scrubber{
		Ours: s.fleet.KeepsLibrary,
		Scrub: func(ctx context.Context) (urza.Scrubbed, error) {
			return s.library.Scrub(ctx, int64(set.ScrubBytesPerSecond))
		},
		Interval: set.ScrubInterval, Logger: s.logger,
	}
}

// healthConfig is every part of the service as it is looked at.
func (s *Service) healthConfig() health.Config {
	folders := []string{s.settings.Weatherlight.DataDir, assembly.ReportFolder(s.settings)}
	if s.settings.Urza.ArtifactURL.Reveal() == "" {
		folders = append(folders, s.settings.Urza.ArtifactDir)
	}
	return health.Config{
		Workers: s.supervisor.Status, Bus: s.bus, Library: s.pingLibrary, Outbox: s.outbox.Waiting, Folders: folders,
		Dropped: s.telemetry.Dropped, Failures: s.chores.Failures, Signals: s.signals.Faults, Contested: s.runs.Contested,
		Nissa: s.nissa, Maintenance: s.settings.Weatherlight.HousekeepingInterval, Clock: s.rhythm(), Logger: s.logger,
	}
}

func (s *Service) pingLibrary(ctx context.Context) error {
	if err := s.library.Ping(ctx); err != nil {
		return fmt.Errorf("%s: %w", s.settings.Urza.DatabaseURL, err)
	}
	return nil
}

// watchers are the workers that look at the rest of the service: for trouble,
// for Nissa, and on behalf of the service manager.
func (s *Service) watchers() []supervise.Spec {
	specs := []supervise.Spec{{Name: workerHealthWatch, Worker: s.health}}
	if s.nissa != nil {
		specs = append(specs, supervise.Spec{Name: workerNissa, Worker: s.nissa})
	}
	if dog := sdnotify.Watchdog(s.supervisor.Alive, s.logger); dog != nil {
		specs = append(specs, supervise.Spec{Name: workerWatchdog, Worker: dog})
	}
	return specs
}

func (s *Service) markForged() { s.forgedOnce.Do(func() { close(s.forged) }) }

// emergencyHandlers dispatch by type whatever arrives on the emergency stream:
// older peers divert any message to it, and what they divert must still reach
// its handler.
func (s *Service) emergencyHandlers() map[leyline.BusMessageType]oona.Handler {
	return map[leyline.BusMessageType]oona.Handler{
		leyline.BusMessageType_BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL:        s.emergency.Signal,
		leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY:               typed(s.urgentTelemetry),
		leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND:      s.runs.Command,
		leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE:            s.runs.State,
		leyline.BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE:           typed(passOn[*leyline.PolicyUpdate]),
		leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST: s.answerRequest,
		leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY:   typed(passOn[*leyline.KernelArtifactReady]),
		leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR:   typed(passOn[*leyline.KernelArtifactError]),
	}
}

// passOn moves a diverted message to its own stream, where the instance that
// asked reads an answer, and the leader a policy update.
func passOn[M proto.Message](_ context.Context, diverted M) ([]oona.Message, error) {
	return []oona.Message{{Payload: diverted}}, nil
}

// urgentTelemetry takes a packet of the emergency stream.
func (s *Service) urgentTelemetry(_ context.Context, packet *leyline.TelemetryPacket) ([]oona.Message, error) {
	s.tamiyo.Observe(packet)
	s.emergency.CountTelemetry(packet)
	return nil, nil
}

// telemetryMessage routes a packet that commits together with something else.
func (s *Service) telemetryMessage(packet *leyline.TelemetryPacket) oona.Message {
	s.tamiyo.Observe(packet)
	return s.bus.Route(packet, telemetry.Priority(packet))
}

// summarize offers the summary packet once an interval.
func (s *Service) summarize(ctx context.Context) error {
	cadence.Every(ctx, s.rhythm(), s.settings.Weatherlight.TelemetryInterval, func(ctx context.Context) {
		s.telemetry.Offer(s.summaryPacket(ctx))
	})
	return nil
}

// sendLastPacket publishes what is still queued and one last summary, after all
// workers have stopped and before the bus closes.
func (s *Service) sendLastPacket(ctx context.Context) error {
	if !s.booted.Load() {
		return nil
	}
	flushing, flushEnd := context.WithTimeout(ctx, flushTimeout)
	defer flushEnd()
	flushed := s.telemetry.Flush(flushing)
	ctx, cancel := context.WithTimeout(ctx, lastPacketTimeout)
	defer cancel()
	packet := s.summaryPacket(ctx)
	if err := s.bus.PublishTelemetry(ctx, packet, telemetry.Priority(packet)); err != nil {
		return errors.Join(flushed, fmt.Errorf("publish last summary: %w", err))
	}
	return flushed
}
