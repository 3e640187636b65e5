package shmsignal

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal/shmsignaltest"
)

// shared is a deck whose segment lies in shared memory, with a watcher.
type shared struct {
	*deck

	watcher *watcher
}

func sharedDeck(t *testing.T) *shared {
	t.Helper()
	d := emergencyDeck(t)
	name, path := shmsignaltest.Name(t)
	d.path, d.monitor.segment = path, newSegment(folder, name, emergencySize)
	b, err := newWatcher()
	if err != nil {
		t.Fatal(err)
	}
	d.monitor.segment.watcher = b
	t.Cleanup(func() {
		if err := d.monitor.leave(); err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	shmsignaltest.Write(t, path, make([]byte, emergencySize))
	return &shared{deck: d, watcher: b}
}

// turn takes what the watcher told and looks once.
func (d *shared) turn() (pause time.Duration) {
	d.t.Helper()
	(&poller{monitors: []*monitor{d.monitor}}).hear(d.watcher.events())
	pause, err := d.monitor.look(d.now)
	if err != nil {
		d.t.Fatal("look:", err)
	}
	return pause
}

// wantPause passes the time of one rest and wants a pause after the next look.
func (d *shared) wantPause(want time.Duration, when string) {
	d.t.Helper()
	d.now = d.now.Add(restPause)
	if got := d.turn(); got != want {
		d.t.Fatalf("pause of %v %s, want %v", got, when, want)
	}
}

// wantTrust wants a promise to be believed when it was found twice.
func (d *shared) wantTrust() {
	d.t.Helper()
	d.wantPause(pollPause, "when a promise was found once")
	d.wantPause(restPause, "when a promise was found again")
}

// take looks until a raised signal is taken, without a pause that a poll would
// make.
func (d *shared) take() {
	d.t.Helper()
	for had := len(d.list()); len(d.list()) == had; d.now = d.now.Add(settlePause) {
		if pause := d.turn(); len(d.list()) == had && pause > settlePause {
			d.t.Fatalf("pause of %v before the signal was taken", pause)
		}
	}
}

// writer is a trainer that has mapped the segment.
type writer struct {
	t    *testing.T
	file *os.File
	data []byte
}

func (d *shared) writer() *writer {
	d.t.Helper()
	file, err := os.OpenFile(d.path, os.O_RDWR, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	data, err := unix.Mmap(int(file.Fd()), 0, emergencySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		d.t.Fatal(err)
	}
	return &writer{d.t, file, data}
}

func (w *writer) promise() {
	w.t.Helper()
	if err := unix.Flock(int(w.file.Fd()), unix.LOCK_SH); err != nil {
		w.t.Fatal(err)
	}
}

func (w *writer) store(level byte, at uint64) {
	copy(w.data, shmsignaltest.Emergency(level, at, "stored"))
}

func (w *writer) notify() {
	w.t.Helper()
	if err := os.Chtimes(w.file.Name(), time.Now(), time.Now()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *writer) end() {
	w.t.Helper()
	if err := unix.Munmap(w.data); err != nil {
		w.t.Fatal(err)
	}
	if err := w.file.Close(); err != nil {
		w.t.Fatal(err)
	}
}
