package weatherlight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/internal/broker"
	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/admin"
	"github.com/esper-lite/weatherlight/oona/outbox"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tamiyo/fieldreport"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
	"github.com/esper-lite/weatherlight/weatherlight/internal/datadir"
	"github.com/esper-lite/weatherlight/weatherlight/internal/emergency"
	"github.com/esper-lite/weatherlight/weatherlight/internal/maintenance"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

// Group is the consumer group of every Weatherlight on a bus.
const Group = "weatherlight"

// InUseError says that another process holds the data folder.
type InUseError = datadir.InUseError

// Config is what a service is made from.
type Config struct {
	// Settings are the resolved settings. Required.
	Settings *settings.Settings
	// Logger receives state changes, never a line a message. Default: none.
	Logger *slog.Logger
	// OnBoot, when set, sees each boot step as it ends.
	OnBoot func(supervise.Trace)
	// OnForge, when set, sees each blueprint that the forge takes up.
	OnForge func(forge.Progress)
}

// Service is one Weatherlight. Make it with New, run it once with Run.
type Service struct {
	config   Config
	settings *settings.Settings
	logger   *slog.Logger
	keyring  *signing.Keyring
	begun    time.Time

	supervisor *supervise.Supervisor
	alive      func(context.Context) bool // does the supervisor answer?
	telemetry  *telemetryQueue
	signals    *shmsignal.Watch

	// The parts below are set by the boot steps, one after the other, and read
	// by the HTTP side only once booted is true.
	lock        *datadir.Lock
	http        *httpserver.Worker // nil when it is off
	broker      *broker.Broker
	bus         *oona.Client
	fleet       *fleet
	outbox      *outbox.Outbox
	catalog     *karn.Catalog
	library     *urza.Library
	prefetcher  *urza.Prefetcher
	surveyor    *tezzeret.Surveyor
	runs        *control.Room
	policies    *policy.Store
	policyNotes *policyLearner
	reports     *fieldreport.Log
	forge       *forge.Forge
	emergency   *emergency.Watch
	chores      *maintenance.Runner
	health      *healthWatch
	nissa       *nissaHeartbeat // nil without NISSA_URL
	tamiyo      tamiyoMirror
	busServer   admin.Server

	booted     atomic.Bool
	accepting  atomic.Bool
	ready      chan struct{}
	forged     chan struct{}
	forgedOnce sync.Once

	// granted are the blueprints whose capabilities were written and not yet
	// taken back, nil until the library was asked. Only housekeeping uses it.
	granted map[string]bool

	// intake is done when no consumer is to fetch any more.
	intake      context.Context //nolint:containedctx // one state of all consumers
	closeIntake context.CancelFunc
	fetching    atomic.Int64 // consumers that fetch or finish

	secrets *signing.Follower

	traceMu sync.Mutex
	trace   []supervise.Trace
}

// New prepares a service. It opens nothing yet; its errors are faults of the
// configuration.
func New(config Config) (*Service, error) {
	if config.Settings == nil {
		return nil, errors.New("weatherlight needs settings")
	}
	config.Logger = cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	if err := CheckSettings(config.Settings); err != nil {
		return nil, err
	}
	service := &Service{
		config:   config,
		settings: config.Settings,
		logger:   config.Logger,
		begun:    time.Now(),
		ready:    make(chan struct{}),
		forged:   make(chan struct{}),
	}
	if err := service.loadKeyring(); err != nil {
		return nil, err
	}
	// The intake is closed by the stop, in its own order, not by the context of Run.
	service.intake, service.closeIntake = context.WithCancel(context.Background())
	service.telemetry = newTelemetryQueue(config.Logger)
	service.telemetry.setAside = service.setAside
	service.signals = service.newSignals()
	service.supervisor = supervise.New(supervise.Config{
		SoftStop: config.Settings.Workers.ShutdownTimeout / 2,
		HardStop: config.Settings.Workers.ShutdownTimeout / 2,
		OnEvent:  service.logWorker,
	})
	service.alive = service.supervisor.Alive
	return service, nil
}

// Run boots the service, keeps it running until ctx is done or a worker reports
// a fatal error, and stops it. A failed boot returns a *supervise.BootError and
// leaves nothing running. Run may be called once.
func (s *Service) Run(ctx context.Context) error {
	bootCtx, cancel := context.WithTimeout(ctx, s.settings.Weatherlight.BootTimeout)
	defer cancel()
	booted, err := supervise.Boot(bootCtx, s.steps(), s.traceStep)
	if err != nil && ctx.Err() != nil {
		s.logger.Info("stopped while booting", "reason", context.Cause(ctx), "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	// Not before the last step is in the boot trace: whoever waited may read it.
	close(s.ready)
	s.logger.Info("ready", "took", time.Since(s.begun).Round(time.Millisecond), "bus", s.BusAddr(), "http", s.HTTPAddr())
	failure := s.serve(ctx)
	return errors.Join(failure, s.stop(ctx, booted))
}

// serve waits for the reason to stop.
func (s *Service) serve(ctx context.Context) error {
	select {
	case <-ctx.Done():
		s.logger.Info("stopping", "reason", context.Cause(ctx))
		return nil
	case err := <-s.supervisor.Fatal():
		s.logger.Error("stopping", "reason", err)
		return fmt.Errorf("fatal worker failure: %w", err)
	}
}

// stop runs the boot list backwards.
func (s *Service) stop(ctx context.Context, booted *supervise.Booted) error {
	// The reason to stop is usually that ctx is done, so the stop needs a
	// context of its own, bounded by the shutdown timeout.
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.settings.Weatherlight.ShutdownTimeout)
	defer cancel()
	begun := time.Now()
	if err := booted.Stop(stopCtx); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	s.logger.Info("shutdown complete", "took", time.Since(begun).Round(time.Millisecond))
	return nil
}

// Interrupt makes a stop that is under way leave at once: a second signal asks
// for it.
func (s *Service) Interrupt() { s.supervisor.Interrupt() }

// Ready is closed once the service takes work and its boot trace is whole.
func (s *Service) Ready() <-chan struct{} { return s.ready }

// Forged is closed once the forge has been over the catalogue, or at once when
// the forge is switched off.
func (s *Service) Forged() <-chan struct{} { return s.forged }

// ForgeResult is what the forge's last pass over the catalogue came to.
func (s *Service) ForgeResult() forge.Result { return s.forge.Result() }

// PrefetchMetrics counts the kernel requests answered so far: hits, misses,
// errors, and the latency of the last look-up in milliseconds.
func (s *Service) PrefetchMetrics() map[string]float64 { return s.prefetcher.Metrics() }

// BusURL is the address under which other processes reach the bus.
func (s *Service) BusURL() string {
	if s.broker != nil {
		return s.broker.URL()
	}
	return s.settings.Redis.URL.Reveal()
}

// BusAddr is the bus's address with its password masked.
func (s *Service) BusAddr() string {
	if s.broker != nil {
		return s.broker.URL()
	}
	return s.settings.Redis.URL.String()
}

// HTTPAddr is the address that the HTTP side listens on, or "off".
func (s *Service) HTTPAddr() string {
	if s.http == nil {
		return "off"
	}
	return s.http.Addr().String()
}

func (s *Service) traceStep(trace supervise.Trace) {
	s.traceMu.Lock()
	s.trace = append(s.trace, trace)
	s.traceMu.Unlock()
	if s.config.OnBoot != nil {
		s.config.OnBoot(trace)
	}
	s.logger.Debug("boot step", "step", trace.Step, "took", trace.Took, "error", trace.Err)
}

func (s *Service) bootTrace() []supervise.Trace {
	s.traceMu.Lock()
	defer s.traceMu.Unlock()
	return append([]supervise.Trace(nil), s.trace...)
}

// logWorker turns the supervisor's event stream into log lines: failures and
// recoveries, not every start and stop.
func (s *Service) logWorker(event supervise.Event) {
	logger := s.logger.With("worker", event.Worker, "from", event.From, "to", event.To)
	switch {
	case event.Err != nil:
		logger.Warn("worker failed", "error", event.Err, "restarts", event.Restarts, "delay", event.Delay)
	case event.Recovered():
		logger.Info("worker recovered", "restarts", event.Restarts)
	default:
		logger.Debug("worker", "restarts", event.Restarts)
	}
}
