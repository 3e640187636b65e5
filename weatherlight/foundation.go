package weatherlight

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/health"
	"github.com/esper-lite/weatherlight/weatherlight/preflight"
)

// foundation is what every part of a service stands on. It is there before the boot, and
// does not change.
type foundation struct {
	settings   *settings.Settings
	logger     *slog.Logger
	logLost    func() int64 // lines of it; may be nil
	secrets    *signing.Follower
	keyring    *signing.Keyring
	supervisor *supervise.Supervisor

	fetch     context.Context //nolint:containedctx // one state of all consumers; done when none is to fetch any more
	stopFetch context.CancelFunc
}

// newFoundation opens nothing; its errors are faults of the configuration.
func newFoundation(set *settings.Settings, logger *slog.Logger) (*foundation, error) {
	if err := assembly.Check(set); err != nil {
		return nil, err
	}
	secrets, err := signing.Follow(set.Secrets, logger)
	if err != nil {
		return nil, fmt.Errorf("ESPER_LEYLINE_SECRET: %w", err)
	}
	f := &foundation{settings: set, logger: logger, secrets: secrets, keyring: secrets.Keyring()}
	// Fetching is stopped by the stop, in its own order, not by the context of Run.
	f.fetch, f.stopFetch = context.WithCancel(context.Background())
	f.supervisor = supervise.New(supervise.Config{
		SoftStop: set.Workers.ShutdownTimeout / 2,
		HardStop: set.Workers.ShutdownTimeout / 2,
		OnEvent:  f.logWorker,
	})
	return f, nil
}

// rhythm is that of the bus client, so that the loops of this process fall
// together with it.
func (f *foundation) rhythm() cadence.Phase {
	return cadence.PhaseOf(f.settings.Weatherlight.Consumer())
}

func (f *foundation) instance() string { return f.settings.Weatherlight.Instance }

// warn logs what the preflight says of a machine that a service starts on all the same.
func (f *foundation) warn(checks ...preflight.Check) {
	for _, check := range checks {
		if check.Result == preflight.Warned {
			f.logger.Warn("preflight", "check", check.Name, "detail", check.Detail)
		}
	}
}

// workers sums up the workers as they are now.
func (f *foundation) workers() health.Workers { return health.SumUp(f.supervisor.Status()) }

// logWorker turns the supervisor's event stream into log lines: failures and
// recoveries, not every start and stop.
func (f *foundation) logWorker(event supervise.Event) {
	logger := f.logger.With("worker", event.Worker, "from", event.From, "to", event.To)
	switch {
	case event.Err != nil:
		logger.Warn("worker failed", "error", event.Err, "restarts", event.Restarts, "delay", event.Delay)
	case event.Recovered():
		logger.Info("worker recovered", "restarts", event.Restarts)
	default:
		logger.Debug("worker", "restarts", event.Restarts)
	}
}

// progress is how far a service has come.
type progress struct {
	booted     atomic.Bool
	accepting  atomic.Bool // work: who is booted and does not accept any drains
	ready      chan struct{}
	forged     chan struct{}
	markForged func() // closes forged, once
}

func newProgress() *progress {
	forged := make(chan struct{})
	return &progress{ready: make(chan struct{}), forged: forged, markForged: sync.OnceFunc(func() { close(forged) })}
}
