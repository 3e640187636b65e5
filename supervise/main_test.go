package supervise_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/supervise"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

// scripted is a worker whose n-th run is the n-th script; the last one repeats.
type scripted struct {
	runs    atomic.Int64
	scripts []supervise.WorkerFunc
}

func script(scripts ...supervise.WorkerFunc) *scripted { return &scripted{scripts: scripts} }

func (s *scripted) Run(ctx context.Context) error {
	n := int(s.runs.Add(1)) - 1
	return s.scripts[min(n, len(s.scripts)-1)](ctx)
}

func fails(err error) supervise.WorkerFunc { return func(context.Context) error { return err } }

func panics(v any) supervise.WorkerFunc { return func(context.Context) error { panic(v) } }

func waits(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func readyThenWaits(ctx context.Context) error {
	supervise.Ready(ctx)
	return waits(ctx)
}

// lasts runs for d and then returns err, unless it is stopped before.
func lasts(d time.Duration, err error) supervise.WorkerFunc {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// deaf ignores its contexts until released.
func deaf(release <-chan struct{}) supervise.WorkerFunc {
	return func(context.Context) error {
		<-release
		return nil
	}
}

// recorder is an OnEvent that keeps what it sees.
type recorder struct {
	mu     sync.Mutex
	events []supervise.Event
}

func (r *recorder) record(e supervise.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) of(worker string) []supervise.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var own []supervise.Event
	for _, e := range r.events {
		if e.Worker == worker {
			own = append(own, e)
		}
	}
	return own
}

func (r *recorder) states(worker string) []supervise.State {
	var states []supervise.State
	for _, e := range r.of(worker) {
		states = append(states, e.To)
	}
	return states
}

func seeded() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func newSupervisor(r *recorder) *supervise.Supervisor {
	return supervise.New(supervise.Config{Rand: seeded(), OnEvent: r.record})
}

func mustStart(t *testing.T, s *supervise.Supervisor, spec supervise.Spec) {
	t.Helper()
	if err := s.Start(t.Context(), spec); err != nil {
		t.Fatalf("Start(%s): %v", spec.Name, err)
	}
}

func mustStop(t *testing.T, s *supervise.Supervisor) {
	t.Helper()
	if err := s.Stop(context.Background()); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func statusOf(t *testing.T, s *supervise.Supervisor, name string) supervise.Status {
	t.Helper()
	for _, status := range s.Status() {
		if status.Name == name {
			return status
		}
	}
	t.Fatalf("no worker %q in the status table", name)
	return supervise.Status{}
}
