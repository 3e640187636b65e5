package alerting_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/telemetry"
)

// bus is one that may be away, and that may be read later than it is written.
type bus struct {
	away    atomic.Bool
	written atomic.Int64
	read    atomic.Int64
}

func (b *bus) reach(context.Context) (map[string]alerting.Reach, error) {
	if b.away.Load() {
		return nil, errors.New("away")
	}
	place := func(n int64) alerting.Place { return alerting.Place{MS: uint64(n / 10), Seq: uint64(n % 10)} }
	return map[string]alerting.Reach{"s": {Written: place(b.written.Load()), Read: place(b.read.Load())}}, nil
}

// listener is a desk with a rule about silence that hears a bus, within a bubble.
type listener struct {
	*desk

	bus *bus
	t   *testing.T
}

func listening(t *testing.T) *listener {
	t.Helper()
	b := new(bus)
	d := startWith(t, alerting.Config{Name: "a", Reach: b.reach},
		"rules: [{name: silent, summary: s, severity: info, metric: uptime, absent: 3m}]", nil)
	return &listener{d, b, t}
}

// pass lets time pass, in which somebody speaks each ten seconds or is silent.
func (l *listener) pass(length time.Duration, speaks bool) alert.State {
	l.t.Helper()
	for range length / (10 * time.Second) {
		if speaks {
			l.bus.written.Add(1)
			l.bus.read.Add(1)
			l.Observe(telemetry.New("w", "p").Metric("uptime", 1, "s").Build())
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
	}
	return l.states()["silent"]
}

func (l *listener) expect(when string, got, want alert.State) {
	l.t.Helper()
	if got != want {
		l.t.Errorf("%s: %q, wanted %q", when, got, want)
	}
}

// A bus that was away says nothing of who could not be heard on it.
func TestNobodyIsSilentOnABusThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listening(t)
		l.expect("heard", l.pass(time.Minute, true), "")
		l.bus.away.Store(true)
		l.expect("away", l.pass(10*time.Minute, false), "")
		l.bus.away.Store(false)
		l.expect("back, before anybody speaks", l.pass(time.Minute, false), "")
		l.expect("heard again", l.pass(5*time.Minute, true), "")
		l.expect("dead", l.pass(2*time.Minute, false), "")
		l.expect("dead for long", l.pass(2*time.Minute, false), alert.Firing)
		l.stop()
	})
}

// Who was silent while the bus was away and is silent on is told of three minutes later.
func TestWhoDiesWithTheBusIsSilentAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listening(t)
		l.pass(time.Minute, true)
		l.bus.away.Store(true)
		l.pass(10*time.Minute, false)
		l.bus.away.Store(false)
		l.expect("back", l.pass(170*time.Second, false), "")
		l.expect("silent", l.pass(20*time.Second, false), alert.Firing)
		l.stop()
	})
}

// While a backlog is read, what is missed may lie in it.
func TestNobodyIsSilentInABacklogThatIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listening(t)
		l.pass(time.Minute, true)
		l.bus.written.Add(1000)
		l.expect("behind", l.pass(10*time.Minute, false), "")
		l.bus.written.Add(1000)
		l.bus.read.Add(1000)
		l.expect("read up to ten minutes ago", l.pass(20*time.Second, false), "")
		l.bus.read.Add(1000)
		l.expect("all is read, and nobody is in it", l.pass(20*time.Second, false), alert.Firing)
		l.stop()
	})
}

// Nissa was away for longer than anybody may be silent, and all were well.
func TestNobodyWasSilentWhileNissaWasAway(t *testing.T) {
	t.Parallel()
	h, store := newHook(t), openStore(t, sqliteURL(t))
	file := quick + fmt.Sprintf(`
receivers: [{name: hook, url: %q, per_minute: 6000}]
rules:
- {name: silent, summary: s, severity: critical, metric: heat, absent: 2s, receivers: hook}
- {name: hot, summary: s, severity: info, metric: heat, when: value > 9, receivers: hook}
`, h.URL)
	d := start(t, file, store, nil)
	d.heat(t, 1, "")
	eventually(t, "it is heard", func() bool {
		judged, _, err := d.store.Judged(t.Context(), 0)
		return err == nil && judged.Place > 0
	})
	d.stop()
	stopped := time.Now()
	eventually(t, "it was away for long", func() bool { return time.Since(stopped) > 2500*time.Millisecond })
	d = start(t, file, store, nil)
	eventually(t, "it judges", func() bool { return d.judging(t) })
	eventually(t, "it has looked", func() bool { return time.Since(stopped) > 3*time.Second })
	d.heat(t, 12, "")
	h.hears(t, "firing hot")
	h.hears(t, "firing hot; firing silent")
}
