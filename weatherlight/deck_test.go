package weatherlight

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// alarms collects what a monitor reports.
type alarms struct {
	mu   sync.Mutex
	seen []alarm
	full bool
}

func (a *alarms) report(raised alarm) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.full {
		return false
	}
	a.seen = append(a.seen, raised)
	return true
}

func (a *alarms) setFull(full bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.full = full
}

func (a *alarms) list() []alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]alarm(nil), a.seen...)
}

// deck is a monitor whose looks and clock are in the test's hand.
type deck struct {
	*alarms

	t       *testing.T
	monitor *signalMonitor
	path    string
	now     time.Time
}

func newDeck(t *testing.T, size int, cooldown time.Duration, decode func([]byte) sharedSignal) *deck {
	t.Helper()
	dir := t.TempDir()
	d := &deck{alarms: &alarms{}, t: t, path: filepath.Join(dir, "signal"), now: time.Now()}
	d.monitor = &signalMonitor{
		segment: newSegment(dir, "/signal", size), decode: decode, damper: damper{cooldown: cooldown}, report: d.report,
	}
	t.Cleanup(func() { _ = d.monitor.segment.detach() })
	return d
}

// polling is the worker of some monitors.
func polling(monitors ...*signalMonitor) *signalPoller { return &signalPoller{monitors: monitors} }

func emergencyDeck(t *testing.T) *deck {
	return newDeck(t, emergencySize, emergencyCooldown, decodeEmergency)
}
func rollbackDeck(t *testing.T) *deck {
	return newDeck(t, deadlineSize, rollbackCooldown, decodeDeadline)
}

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

func (d *deck) wantAlarms(want ...alarm) {
	d.t.Helper()
	got := d.list()
	if len(got) != len(want) {
		d.t.Fatalf("%d alarms %+v, want %d", len(got), got, len(want))
	}
	for i := range want {
		got[i].latency = 0
		if got[i] != want[i] {
			d.t.Errorf("alarm %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func emergencyRecord(level byte, at uint64, reason string) []byte {
	record := make([]byte, emergencySize)
	record[0], record[1], record[10] = 1, level, byte(len(reason))
	binary.LittleEndian.PutUint64(record[2:], at)
	copy(record[11:], reason)
	return record
}

func deadlineRecord(at uint64) []byte {
	record := make([]byte, deadlineSize)
	record[0] = 1
	binary.LittleEndian.PutUint64(record[8:], at)
	return record
}

const (
	notice = leyline.EmergencyLevel_EMERGENCY_LEVEL_NOTICE
	halt   = leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT
)
