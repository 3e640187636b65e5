package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/esper-lite/weatherlight/internal/broker"
	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/internal/sdnotify"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/internal/datadir"
)

// drainNotice is how long readiness is off before the first worker stops.
const drainNotice = 50 * time.Millisecond

// claimIdle is how long another instance may be silent about an entry before it
// is taken over. One that works on an entry says so more often.
const claimIdle = 8 * time.Second

// steps is the boot list. It is read from top to bottom to boot and from bottom
// to top to stop; a step that fails rolls back the steps above it.
//
// Each step finds everything above it running. So the bus closes after the last
// packet was sent, that packet goes out after the workers stopped, and the
// workers stop before what they work on closes.
func (s *Service) steps() []supervise.Step {
	return []supervise.Step{
		{Name: "data folder and HTTP listener", Start: s.openHouse, Stop: s.closeHouse},
		{Name: "oona connection", Start: s.connectBus, Stop: s.disconnectBus},
		{Name: "streams and groups", Start: s.openStreams, Stop: s.closeStreams},
		{Name: "urza catalogue", Start: s.openLibrary, Stop: s.closeLibrary},
		{Name: "urza prefetch worker", Start: s.startWorkers(s.prefetchWorkers), Stop: s.stopWorkers(s.prefetchWorkers)},
		{Name: "kasmina coordinator", Start: s.startGrowth, Stop: s.stopGrowth},
		{Name: "tamiyo and command consumer", Start: s.startController, Stop: s.stopWorkers(s.controllerWorkers)},
		{Name: "tezzeret forge", Start: s.openForge},
		{Name: "loops", Start: s.startWorkers(s.loops), Stop: s.stopWorkers(s.loops)},
		{Name: "ready", Start: s.open, Stop: s.close},
	}
}

// openHouse takes the data folder and opens the HTTP side, not ready yet, so
// that an operator can watch the boot.
func (s *Service) openHouse(ctx context.Context) error {
	s.logger.Info("settings", "settings", s.settings)
	lock, err := datadir.Take(s.settings.Weatherlight.DataDir)
	if err != nil {
		return err
	}
	s.lock = lock
	if err := s.openOutbox(ctx); err != nil {
		return errors.Join(err, s.lock.Release())
	}
	if err := s.listen(ctx); err != nil {
		return errors.Join(err, s.outbox.Close(), s.lock.Release())
	}
	return nil
}

func (s *Service) listen(ctx context.Context) error {
	address := string(s.settings.Weatherlight.HTTPAddr)
	if address == "" {
		return nil
	}
	server, err := httpserver.Listen(ctx, address)
	if err != nil {
		return fmt.Errorf("listen on WEATHERLIGHT_HTTP_ADDR %s: %w", address, err)
	}
	s.http = server.Serve(s.routes(server.Addr()), s.logger)
	if err := s.supervisor.Start(ctx, supervise.Spec{Name: workerHTTP, Worker: s.http}); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

func (s *Service) closeHouse(ctx context.Context) error {
	var err error
	if s.http != nil {
		err = s.supervisor.StopWorker(ctx, workerHTTP)
	}
	return errors.Join(err, s.supervisor.Stop(ctx), s.outbox.Close(), s.lock.Release())
}

func (s *Service) connectBus(ctx context.Context) error {
	if s.settings.Redis.Embedded() {
		if err := s.startBroker(ctx); err != nil {
			return err
		}
	}
	bus, err := oona.Connect(ctx, s.busConfig())
	if err != nil {
		return errors.Join(err, s.stopBroker(ctx))
	}
	s.bus = bus
	s.telemetry.publish = bus.PublishTelemetry
	if err := s.inspectServer(ctx); err != nil {
		return errors.Join(err, s.disconnectBus(ctx))
	}
	return nil
}

func (s *Service) startBroker(ctx context.Context) error {
	embedded, err := broker.Start(broker.Config{})
	if err != nil {
		return fmt.Errorf("start embedded broker: %w", err)
	}
	s.broker = embedded
	s.logger.Info("embedded broker: volatile, nothing in it survives this process", "url", embedded.URL())
	if err := s.supervisor.Start(ctx, supervise.Spec{Name: workerBroker, Worker: embedded}); err != nil {
		embedded.Close()
		return err
	}
	return nil
}

func (s *Service) stopBroker(ctx context.Context) error {
	if s.broker == nil {
		return nil
	}
	err := s.supervisor.StopWorker(ctx, workerBroker)
	s.broker.Close()
	return err
}

func (s *Service) disconnectBus(ctx context.Context) error {
	return errors.Join(s.bus.Close(), s.stopBroker(ctx))
}

func (s *Service) busConfig() oona.Config {
	set := s.settings
	return oona.Config{
		URL:                s.BusURL(),
		Group:              Group,
		Consumer:           set.Weatherlight.Consumer(),
		Streams:            Streams(set),
		Keyring:            s.keyring,
		Trust:              trust(set.Oona.Trust),
		ClaimIdle:          claimIdle,
		FreshnessWindow:    set.Kernel.FreshnessWindow,
		ReplayCapacity:     set.Kernel.NonceCacheSize,
		EmergencyPerMinute: set.Oona.EmergencyPerMinute,
		EmergencyThreshold: int64(set.Oona.EmergencyThreshold),
		Logger:             s.logger.With("part", "oona"),
	}
}

func trust(text string) oona.Trust {
	if text == settings.TrustStrict {
		return oona.TrustStrict
	}
	return oona.TrustCompatible
}

// openStreams joins the other instances, creates the groups and starts what
// needs nothing but the bus.
func (s *Service) openStreams(ctx context.Context) error {
	if err := s.joinFleet(ctx); err != nil {
		return err
	}
	if err := s.ensureGroups(ctx); err != nil {
		return errors.Join(err, s.leaveFleet(ctx))
	}
	if err := s.startWorkers(s.busWorkers)(ctx); err != nil {
		return errors.Join(err, s.leaveFleet(ctx))
	}
	return nil
}

// busWorkers outlive the other workers: what those leave behind goes through
// them.
func (s *Service) busWorkers() []supervise.Spec {
	specs := []supervise.Spec{s.outboxWorker()}
	if s.settings.SecretFile != "" {
		specs = append(specs, supervise.Spec{Name: workerSecrets, Worker: s.secrets})
	}
	return specs
}

// closeStreams sends what is left, once nobody adds to it any more.
func (s *Service) closeStreams(ctx context.Context) error {
	return errors.Join(s.sendLastPacket(ctx), s.drainOutbox(ctx), s.stopWorkers(s.busWorkers)(ctx), s.leaveFleet(ctx))
}

// ensureGroups creates the groups that the instances share.
func (s *Service) ensureGroups(ctx context.Context) error {
	if err := s.bus.EnsureGroups(ctx, Group, s.busConfig().Streams.Names()...); err != nil {
		return fmt.Errorf("create consumer groups: %w", err)
	}
	return nil
}

// LibraryConfig is the kernel library that the settings describe: the service
// and the tools that look into its library open the same one.
func LibraryConfig(resolved *settings.Settings) urza.Config {
	set := resolved.Urza
	return urza.Config{
		DatabaseURL:        set.DatabaseURL.Reveal(),
		ArtifactDir:        set.ArtifactDir,
		ArtifactURL:        set.ArtifactURL.Reveal(),
		S3AccessKey:        set.S3AccessKey.Reveal(),
		S3SecretKey:        set.S3SecretKey.Reveal(),
		SigningKeyFile:     set.SigningKeyFile,
		SigningKeyPassword: set.SigningKeyPassword.Reveal(),
		TrustedKeys:        set.TrustedKeys,
		RequireApproval:    set.RequireApproval,
		Permit:             NewCatalog(resolved).Permit,
		Retention:          set.Retention(),
		MaxVariants:        set.MaxVariants,
		CacheTTL:           set.CacheTTL,
	}
}

// OpenLibrary opens a kernel library. That the password of its signing key is wrong
// shows only here; it is a fault of the settings all the same, which no restart
// mends.
func OpenLibrary(ctx context.Context, config urza.Config) (*urza.Library, error) {
	library, err := urza.Open(ctx, config)
	if errors.Is(err, urza.ErrSigningKey) {
		return nil, &settings.Faults{List: []settings.Fault{{Env: "URZA_SIGNING_KEY_FILE", Err: err}}}
	}
	if err != nil {
		return nil, fmt.Errorf("open kernel library: %w", err)
	}
	return library, nil
}

func (s *Service) openLibrary(ctx context.Context) error {
	s.catalog = NewCatalog(s.settings)
	config := LibraryConfig(s.settings)
	config.Logger = s.logger.With("part", "urza")
	config.FinishSaves = true
	compiler, err := newCompiler(s.settings)
	if err != nil {
		return err
	}
	library, err := OpenLibrary(ctx, config)
	if err != nil {
		return err
	}
	s.library = library
	forge := variantForge{compiler: compiler, catalog: s.catalog}
	s.prefetcher = urza.NewPrefetcher(library, urza.PrefetchConfig{
		Slot: compiler.Slot().Shape(), Forge: forge.forge, Current: forge.current, Format: s.settings.Urza.Format,
	})
	s.surveyor = tezzeret.NewSurveyor(compiler, s.catalog.List)
	return nil
}

func (s *Service) closeLibrary(context.Context) error { return s.library.Close() }

// open says that the service takes work, last to the service manager: who hears it
// there may ask /readyz at once.
func (s *Service) open(context.Context) error {
	s.accepting.Store(true) // first: who is booted and does not accept work drains
	s.booted.Store(true)
	if _, err := sdnotify.Notify(sdnotify.Ready); err != nil {
		s.accepting.Store(false)
		return err
	}
	return nil
}

// close turns readiness off before anything stops, and leaves whoever asks for
// it a moment to see that and turn away. Then all consumers stop fetching at
// once, so that they finish side by side what they hold.
func (s *Service) close(ctx context.Context) error {
	s.accepting.Store(false)
	_, err := sdnotify.Notify(sdnotify.Stopping)
	cadence.Sleep(ctx, drainNotice)
	s.closeIntake()
	return err
}

// tamiyoDir is the folder of the field-report log: the parent of the policies.
func (s *Service) tamiyoDir() string {
	return filepath.Dir(filepath.Clean(s.settings.Tamiyo.PolicyDir))
}
