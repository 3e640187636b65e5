package shmsignal

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// triggers collects what a monitor reports.
type triggers struct {
	mu   sync.Mutex
	seen []Trigger
	full bool
}

func (a *triggers) report(raised Trigger) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.full {
		return false
	}
	a.seen = append(a.seen, raised)
	return true
}

func (a *triggers) setFull(full bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.full = full
}

func (a *triggers) list() []Trigger {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Trigger(nil), a.seen...)
}

// deck is a monitor whose looks and clock are in the test's hand.
type deck struct {
	*triggers

	t       *testing.T
	monitor *monitor
	path    string
	now     time.Time
}

func newDeck(t *testing.T, kind Kind) *deck {
	t.Helper()
	dir := t.TempDir()
	d := &deck{triggers: &triggers{}, t: t, path: filepath.Join(dir, "signal"), now: time.Now()}
	d.monitor = newMonitor(dir, "/signal", kind, d.report)
	t.Cleanup(func() { _ = d.monitor.segment.detach() })
	return d
}

// polling looks at the segments of some monitors.
func polling(monitors ...*monitor) func(context.Context) error {
	return (&poller{monitors: monitors}).run
}

// run runs a loop until the test ends or stop is called.
func run(t testing.TB, loop func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- loop(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// patience bounds every wait.
const patience = 20 * time.Second

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-poll.C {
		if holds() {
			return
		}
	}
	t.Fatalf("waited %v in vain: %s", patience, what)
}

func emergencyDeck(t *testing.T) *deck { return newDeck(t, Emergency) }
func rollbackDeck(t *testing.T) *deck  { return newDeck(t, Rollback) }

// look lets time pass in the monitor's own steps.
func (d *deck) look(passing time.Duration) {
	d.t.Helper()
	for end := d.now.Add(passing); ; {
		pause, err := d.monitor.look(d.now)
		if err != nil {
			d.t.Fatalf("look: %v", err)
		}
		if pause <= 0 {
			d.t.Fatalf("pause of %v: the monitor would spin", pause)
		}
		if d.now.Add(pause).After(end) {
			d.now = end
			return
		}
		d.now = d.now.Add(pause)
	}
}

// write changes bytes of the segment, creating it when it is not there.
func (d *deck) write(offset int64, content []byte) {
	d.t.Helper()
	file, err := os.OpenFile(d.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(content, offset); err != nil {
		d.t.Fatal(err)
	}
	if err := file.Truncate(int64(d.monitor.segment.size)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *deck) content() []byte {
	d.t.Helper()
	content, err := os.ReadFile(d.path)
	if err != nil {
		d.t.Fatal(err)
	}
	return content
}

func (d *deck) wantTriggers(want ...Trigger) {
	d.t.Helper()
	got := d.list()
	if len(got) != len(want) {
		d.t.Fatalf("%d triggers %+v, want %d", len(got), got, len(want))
	}
	for i := range want {
		if got[i].FoundAt.IsZero() {
			d.t.Errorf("trigger %d does not say when it was found", i)
		}
		got[i].Latency, got[i].FoundAt = 0, time.Time{}
		if got[i] != want[i] {
			d.t.Errorf("trigger %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

const (
	notice = leyline.EmergencyLevel_EMERGENCY_LEVEL_NOTICE
	halt   = leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT
)
