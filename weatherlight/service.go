// Package weatherlight is the composition root: it boots the parts of the
// Esper-Lite foundation in one fixed order, connects them through the bus,
// keeps them alive under supervision, reports on them, and stops them in the
// reverse order.
//
// A [Service] is all of it, made from a [Config]; [Outline] is its boot list as data. It
// holds no logic of its own beyond composition: what a message means is
// decided by the subsystem that handles it. The commands make one.
package weatherlight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/internal/bootlog"
	"github.com/esper-lite/weatherlight/weatherlight/internal/datadir"
)

// InUseError says that another process holds the data folder.
type InUseError = datadir.InUseError

// Config is what a service is made from.
type Config struct {
	// Settings are the resolved settings. Required.
	Settings *settings.Settings
	// Logger receives state changes, never a line a message. Default: none.
	Logger *slog.Logger
	// LogLost, when set, is how many lines of that log were lost so far.
	LogLost func() int64
	// OnBoot, when set, sees each boot step as it ends.
	OnBoot func(supervise.Trace)
	// OnForge, when set, sees each blueprint that the forge takes up.
	OnForge func(forge.Progress)
}

// Service is one Weatherlight. Make it with New, run it once with Run.
type Service struct {
	*foundation
	*progress
	bootLog *bootlog.Log

	begun   time.Time
	onForge func(forge.Progress) // may be nil

	// The parts are made by the boot steps, one after the other, and read
	// by the HTTP side only once booted is true.
	*node
	*connection
	*instances
	*kernels
	*growth
	*controller
	*loops

	answering crew // of kernel requests
	forge     *forge.Forge
}

// New prepares a service. It opens nothing yet; its errors are faults of the
// configuration.
func New(config Config) (*Service, error) {
	if config.Settings == nil {
		return nil, errors.New("weatherlight needs settings")
	}
	logger := cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	foundation, err := newFoundation(config.Settings, logger)
	if err != nil {
		return nil, err
	}
	foundation.logLost = config.LogLost
	return &Service{
		foundation: foundation,
		progress:   newProgress(),
		bootLog:    bootlog.New(stepNames(), config.OnBoot, logger),
		begun:      time.Now(),
		onForge:    config.OnForge,
	}, nil
}

// Run boots the service, keeps it running until ctx is done or a worker reports
// a fatal error, and stops it. A failed boot returns a *supervise.BootError and
// leaves nothing running. Run may be called once.
func (s *Service) Run(ctx context.Context) error {
	bootCtx, cancel := context.WithTimeout(ctx, s.settings.Weatherlight.BootTimeout)
	defer cancel()
	booted, err := supervise.Boot(bootCtx, s.steps(), s.bootLog.Step)
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
	failure = errors.Join(failure, s.stop(ctx, booted))
	lost := errors.Join(s.lost...)
	if lost != nil && failure == nil {
		return &WithoutBusError{lost}
	}
	return errors.Join(failure, lost)
}

// WithoutBusError says what a stop in good order could not send for want of a bus. That is
// no failure of the process: the outbox keeps what matters, and its place among the others
// ends by itself.
type WithoutBusError struct{ Err error }

func (e *WithoutBusError) Error() string { return "stopped without the bus: " + e.Err.Error() }
func (e *WithoutBusError) Unwrap() error { return e.Err }

// Exit is the code of a clean stop.
func (e *WithoutBusError) Exit() int { return 0 }

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

// PrefetchStats are the kernel requests answered so far.
func (s *Service) PrefetchStats() urza.PrefetchStats { return s.prefetcher.Stats() }

// Reload goes over to the secrets of a source at once, and follows it from now
// on: nothing that is under way is refused, as long as the secret it was signed
// with is still among them. When they cannot be read everything stays as it was.
func (s *Service) Reload(secrets signing.Source) error { return s.secrets.Use(secrets) }

// BusURL is the address under which other processes reach the bus. It is known, as
// what the other methods tell, once the service is ready.
func (s *Service) BusURL() string { return s.url() }

// BusAddr is the bus's address with its password masked.
func (s *Service) BusAddr() string { return s.connection.addr() }

// HTTPAddr is the address that the HTTP side listens on, or "off".
func (s *Service) HTTPAddr() string { return s.node.addr() }
