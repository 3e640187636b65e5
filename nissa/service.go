package nissa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/internal/sdnotify"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/nissa/internal/elastic"
	"github.com/esper-lite/weatherlight/supervise"
)

// ErrNoBus is returned by New without a bus client.
var ErrNoBus = errors.New("nissa needs a bus client")

// Service reads the bus and serves what it heard over HTTP.
type Service struct {
	config     Config
	recorder   *recorder
	supervisor *supervise.Supervisor
	reading    reading
	kept       *kept            // nil: runs are not kept
	documents  *elastic.Indexer // nil: no documents are kept
	watched    watched
	stopping   atomic.Bool
	ending     chan struct{}  // closed when the service stops
	desk       *alerting.Desk // nil: alerts are not looked for
	addr       atomic.Value   // string
}

// New returns a service that Run starts.
func New(config Config) (*Service, error) {
	if config.Bus == nil {
		return nil, ErrNoBus
	}
	config = config.withDefaults()
	desk, err := newDesk(config)
	if err != nil {
		return nil, err
	}
	s := &Service{config: config, recorder: newRecorder(config), desk: desk, ending: make(chan struct{})}
	if desk != nil {
		s.recorder.registry.MustRegister(desk)
	}
	s.supervisor = supervise.New(supervise.Config{
		SoftStop: config.Stop / 2, HardStop: config.Stop / 4, OnEvent: s.logEvent,
	})
	return s, nil
}

// Run opens the store, the spool of documents and the HTTP address, reads the bus until ctx ends, and stops
// within the configured bound. It returns an error at once when one of the two cannot be
// had, and nil after a stop in good order. Run may be called once.
func (s *Service) Run(ctx context.Context) error {
	if err := s.openStore(ctx); err != nil {
		return fmt.Errorf("start nissa: %w", &supervise.BootError{Step: "store", Err: err})
	}
	if err := s.openDocuments(); err != nil {
		return errors.Join(fmt.Errorf("start nissa: %w", &supervise.BootError{Step: "documents", Err: err}), s.closeStore())
	}
	return errors.Join(s.serve(ctx), s.closeDocuments(), s.closeStore())
}

func (s *Service) serve(ctx context.Context) error {
	server, err := httpserver.Listen(ctx, s.config.HTTP.listener(), s.config.Logger)
	if err != nil {
		return fmt.Errorf("start nissa: open HTTP address %s: %w", s.config.HTTP.Addr, err)
	}
	if warning := server.Warning(); warning != "" {
		s.config.Logger.Warn(warning)
	}
	s.addr.Store(server.Addr().String())
	err = s.start(ctx, server.Serve(s.handler(server.Guard())))
	if err == nil {
		err = s.wait(ctx)
	}
	s.stopping.Store(true)
	close(s.ending)
	_, told := sdnotify.Notify(sdnotify.Stopping)
	return errors.Join(err, told, s.stop(ctx), server.Close())
}

// Interrupt cuts a stop short: what still runs is cancelled at once.
func (s *Service) Interrupt() { s.supervisor.Interrupt() }

// Addr returns the HTTP address in use once Run has opened it; empty before.
func (s *Service) Addr() string {
	addr, _ := s.addr.Load().(string)
	return addr
}

// Ready returns why what the service shows may be out of date, or nil, as /readyz does.
func (s *Service) Ready(ctx context.Context) error {
	if s.Addr() == "" {
		return errors.New("not started")
	}
	return s.ready(ctx)
}

// start runs HTTP first: while consumers come up, readiness is asked for.
func (s *Service) start(ctx context.Context, server *httpserver.Worker) error {
	specs := append(slices.Clone(s.config.Beside), supervise.Spec{Name: "http", Worker: server, AwaitReady: true})
	specs = append(specs, s.keepers()...)
	if s.desk != nil {
		specs = append(specs, supervise.Spec{Name: "alerts", Worker: s.desk})
	}
	if s.documents != nil {
		specs = append(specs, supervise.Spec{Name: "documents", Worker: s.documents})
	}
	for _, stream := range s.streams() {
		specs = append(specs, supervise.Spec{Name: "consume " + stream, Worker: s.consumer(stream)})
	}
	if dog := sdnotify.Watchdog(s.supervisor.Alive, s.config.Logger); dog != nil {
		specs = append(specs, supervise.Spec{Name: "watchdog", Worker: dog})
	}
	for _, spec := range specs {
		if err := s.supervisor.Start(ctx, spec); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("start nissa: %w", err)
		}
	}
	s.config.Logger.Info("nissa started", "http", server.Addr().String(), "group", s.config.Group, "streams", s.streams())
	_, err := sdnotify.Notify(sdnotify.Ready)
	return err
}

func (s *Service) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		s.config.Logger.Info("stopping", "reason", context.Cause(ctx))
		return nil
	case err := <-s.supervisor.Fatal():
		s.config.Logger.Error("stopping", "reason", err)
		return fmt.Errorf("nissa: %w", err)
	}
}

func (s *Service) stop(ctx context.Context) error {
	// ctx has ended, which is why we are here; the stop has a bound of its own.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Stop)
	defer cancel()
	if err := s.supervisor.Stop(ctx); err != nil {
		return fmt.Errorf("stop nissa: %w", err)
	}
	return nil
}

func (s *Service) logEvent(event supervise.Event) {
	if event.Err != nil {
		s.config.Logger.Warn("worker failed", "worker", event.Worker, "state", event.To.String(),
			"error", event.Err, "retry_in", event.Delay)
		return
	}
	s.config.Logger.Debug("worker moved", "worker", event.Worker, "state", event.To.String())
}
