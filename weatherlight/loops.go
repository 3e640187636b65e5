package weatherlight

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/internal/sdnotify"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/capability"
	"github.com/esper-lite/weatherlight/weatherlight/internal/emergency"
	"github.com/esper-lite/weatherlight/weatherlight/internal/health"
	"github.com/esper-lite/weatherlight/weatherlight/internal/maintenance"
	"github.com/esper-lite/weatherlight/weatherlight/internal/nissawatch"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
	"github.com/esper-lite/weatherlight/weatherlight/preflight"
)

// loops are what looks after the rest of the service.
type loops struct {
	crew

	jobs    *maintenance.Runner
	fanOut  *capability.FanOut
	signals *shmsignal.Watch
	health  *health.Monitor
	nissa   *nissawatch.Watch // nil without NISSA_URL
}

func (s *Service) openLoops(context.Context) (*loops, error) {
	trust, err := s.settings.Weatherlight.Trust()
	if err != nil {
		return nil, fmt.Errorf("ESPER_CA_FILE: %w", err)
	}
	l := &loops{
		fanOut: capability.New(capability.Config{
			Library: s.library, Catalog: s.catalog, Each: s.runs.Each, Confirm: s.confirmLead,
		}),
		signals: watchSignals(s.settings.Tolaria, s.telemetry.Raise, s.emergency),
		nissa:   nissawatch.New(s.settings.Weatherlight.NissaURL.Reveal(), trust, s.rhythm()),
	}
	l.jobs = maintenance.New(maintenance.Config{
		Clock: s.rhythm(), Interval: s.settings.Weatherlight.HousekeepingInterval, Logger: s.logger,
	}, maintenance.Jobs(s.jobsConfig(l.fanOut)))
	l.health = s.newMonitor(l.jobs, l.signals, l.nissa)
	l.crew = s.newCrew(s.loopWorkers(l)...)
	return l, nil
}

// loopWorkers are in the order of the outline. The forge is the last: it begins when the
// service is ready.
func (s *Service) loopWorkers(l *loops) []supervise.Spec {
	specs := []supervise.Spec{
		{Name: workerTelemetry, Worker: s.telemetry},
		{Name: workerSummary, Worker: supervise.WorkerFunc(s.summarize)},
		{Name: workerHousekeeping, Worker: l.jobs},
		s.consumer(workerEmergency, oona.Subscription{Handlers: s.emergencyHandlers()}),
	}
	if !l.signals.Empty() {
		specs = append(specs, // The reporter stops last.
			supervise.Spec{Name: workerSignalReports, Worker: supervise.WorkerFunc(l.signals.Report)},
			supervise.Spec{Name: workerSignals, Worker: supervise.WorkerFunc(l.signals.Poll)})
	}
	if s.settings.Urza.ScrubInterval > 0 {
		specs = append(specs, supervise.Spec{Name: workerScrub, Worker: s.scrubber(s.fleet.KeepsLibrary)})
	}
	specs = append(specs, supervise.Spec{Name: workerHealthWatch, Worker: l.health})
	if l.nissa != nil {
		specs = append(specs, supervise.Spec{Name: workerNissa, Worker: l.nissa})
	}
	if dog := sdnotify.Watchdog(s.supervisor.Alive, s.logger); dog != nil {
		specs = append(specs, supervise.Spec{Name: workerWatchdog, Worker: dog})
	}
	if s.settings.Tezzeret.ForgeOnStart && s.settings.Urza.Format != settings.FormatPT {
		return append(specs, supervise.Spec{Name: workerForge, Worker: supervise.WorkerFunc(s.runForge), Finite: true})
	}
	s.markForged()
	return specs
}

// jobsConfig is what the maintenance jobs work on.
func (s *Service) jobsConfig(fanOut *capability.FanOut) maintenance.JobsConfig {
	streams := assembly.Streams(s.settings)
	return maintenance.JobsConfig{
		Bus: s.bus.Admin(), DeadLetters: s.bus.DeadLetters(), Library: s.library, Fleet: s.fleet, FanOut: fanOut.Run,
		MessageTTL: s.settings.Oona.MessageTTL, DeadLetterTTL: s.settings.Oona.DeadLetterTTL, Group: assembly.Group,
		ReplyStreams: []string{streams.KernelReady, streams.KernelErrors},
	}
}

// newMonitor looks at every part of the service.
func (s *Service) newMonitor(jobs *maintenance.Runner, signals *shmsignal.Watch, nissa *nissawatch.Watch) *health.Monitor {
	server := preflight.Running{Streams: assembly.Streams(s.settings).Names(), Group: assembly.Group}
	if s.broker == nil { // the embedded one has no such troubles
		server.Admin = s.bus.Admin()
	}
	return health.New(health.Config{
		Workers: health.Crew{Status: s.supervisor.Status, Job: jobs.InHand, Failures: s.failures(jobs)},
		Bus:     s.bus, Server: server, Library: s.pingLibrary, Outbox: s.outbox, Telemetry: s.telemetry,
		LogLost: s.logLost, Place: s.fleet.Trouble, Files: s.files(), Signals: signals.Faults, Runs: s.runs,
		Nissa: nissa.Trouble, Maintenance: s.settings.Weatherlight.HousekeepingInterval, Clock: s.rhythm(), Logger: s.logger,
	})
}

// files are where the parts of the service write to, and its certificate.
func (s *Service) files() health.Files {
	folders := []string{s.settings.Weatherlight.DataDir, s.settings.Tamiyo.ReportFolder()}
	if s.settings.Urza.ArtifactURL.Reveal() == "" {
		folders = append(folders, s.settings.Urza.ArtifactDir)
	}
	files := health.Files{Folders: folders, InPlace: map[string]func() error{
		"locks": s.lock.InPlace, "outbox": s.outbox.InPlace, "kernels": s.library.InPlace,
		"field_reports": s.reports.InPlace, "policies": s.policies.InPlace, "forge": s.forge.InPlace,
	}}
	if s.http != nil {
		files.Certificate = s.http.Expiry
	}
	return files
}

// failures counts those of the tasks, and of taking over secrets beside them.
func (s *Service) failures(jobs *maintenance.Runner) func() map[string]int64 {
	return func() map[string]int64 {
		counts := jobs.Failures()
		counts[workerSecrets] = s.secrets.Faults()
		return counts
	}
}

// watchSignals watches the shared memory of a trainer on this machine, where it has names.
func watchSignals(names settings.Tolaria, raise func(*leyline.TelemetryPacket) bool, emergencies *emergency.Watch) *shmsignal.Watch {
	return shmsignal.New(
		shmsignal.Signal{
			Kind: shmsignal.Rollback, Name: names.RollbackSignal,
			Report: func(t shmsignal.Trigger) bool { return raise(emergency.RollbackPacket(t)) },
		},
		shmsignal.Signal{Kind: shmsignal.Emergency, Name: names.EmergencySignal, Report: emergencies.Shared})
}

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

// summarize offers the summary packet once an interval.
func (s *Service) summarize(ctx context.Context) error {
	cadence.Every(ctx, s.rhythm(), s.settings.Weatherlight.TelemetryInterval, func(ctx context.Context) {
		s.telemetry.Offer(s.summaryPacket(ctx))
	})
	return nil
}
