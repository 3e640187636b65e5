package weatherlight

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/internal/pythontest"
	"github.com/esper-lite/weatherlight/weatherlight/internal/storewatch"
)

// storingTrainer maps an emergency segment and stores the records it is asked
// for, in the order of the prototype, and tells nobody.
const storingTrainer = `
import mmap, os, struct, sys
shm = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 0)
print("mapped", flush=True)
for line in sys.stdin:
    level, at = (int(word) for word in line.split())
    shm[0] = min(level, 1)
    if not level:
        print("stored", flush=True)
        continue
    shm[1] = level
    struct.pack_into("<Q", shm, 2, at)
    shm[10] = 6
    shm[11:17] = b"stored"
    print("stored", flush=True)
`

// storer is a process of its own that stores into the segment.
type storer struct{ *pythontest.Process }

func (d *shared) storer() storer {
	d.t.Helper()
	w := storer{pythontest.Start(d.t, storingTrainer, d.path)}
	w.Hear("mapped")
	return w
}

func (w storer) store(level byte, at uint64) {
	w.Say(fmt.Sprint(level, " ", at))
	w.Hear("stored")
}

func (w storer) clear() { w.store(0, 0) }

// hunted looks until a hunt is over, which the time of the deck has no part in.
func (d *shared) hunted() {
	d.t.Helper()
	d.turn()
	w := &d.monitor.segment.writers
	had := w.hunt.pause
	for begun := time.Now(); w.stores == nil && (had == 0 || w.hunt.pause == had); {
		if time.Since(begun) > patience {
			d.t.Fatal("no hunt came to an end")
		}
		d.now = d.now.Add(signalRest)
		d.turn()
		if had == 0 {
			had = w.hunt.pause
		}
	}
}

// wantTold hunts and wants the stores of all trainers to be told.
func (d *shared) wantTold() {
	d.t.Helper()
	if err := storewatch.Granted(); err != nil {
		d.t.Skip("this machine grants no hardware breakpoints:", err) // which fails a test of storewatch in CI
	}
	d.hunted()
	d.monitor.tell(nil)
	if got := d.monitor.status(); got.HeardBy != heardStores {
		d.t.Fatalf("heard by %+v", got)
	}
}

// awaitTold waits until there is something to tell of stores.
func (d *shared) awaitTold() {
	d.t.Helper()
	waiting := []unix.PollFd{{Fd: int32(d.monitor.segment.writers.stores.FD()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(waiting, int(patience.Milliseconds()))
		if err == nil && n == 1 {
			return
		}
		if !errors.Is(err, unix.EINTR) {
			d.t.Fatalf("nothing was told: %v", err)
		}
	}
}

func TestTrainerThatOnlyStoresIsHeardWithoutPolling(t *testing.T) {
	d := sharedDeck(t)
	d.turn()
	w := d.storer()
	d.wantPause(signalPoll, "with a trainer there")
	d.wantTold()
	for at := uint64(1); at <= 3; at++ {
		d.wantPause(signalRest, "with a trainer whose stores are told")
		w.store(byte(at), at)
		d.take()
		d.wantPause(signalRest, "after a signal that was told")
	}
	if got := len(d.list()); got != 3 {
		t.Errorf("%d alarms, want 3", got)
	}
	w.Kill()
	d.wantPause(signalRest, "after the trainer was killed")
	if d.monitor.tell(nil); d.monitor.status().HeardBy != heardUnused {
		t.Errorf("heard by %+v after the trainer was killed", d.monitor.status())
	}
}

// A trainer that is stopped in the middle of its signal, as by our waking up, goes
// on with it when it has been taken.
func TestRestOfASignalThatWasTakenIsClearedToo(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	defer w.end()
	whole := emergencyRecord(3, 1, "")
	copy(w.data, whole)
	d.take()
	late := emergencyRecord(3, 1, "late")
	copy(w.data[10:], late[10:])
	for range 4 {
		d.now = d.now.Add(signalPoll)
		d.turn()
	}
	if !bytes.Equal(w.data, make([]byte, emergencySize)) {
		t.Errorf("left behind: %x", w.data)
	}
	w.store(4, 2)
	d.now = d.now.Add(emergencyCooldown)
	d.take()
	if got := d.list()[1]; got.level != halt || got.reason != "stored" {
		t.Errorf("the next signal is told as %+v", got)
	}
}

func TestReasonWithHolesIsWaitedFor(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	defer w.end()
	record := emergencyRecord(3, 1, "reason")
	copy(w.data, record[:11])
	for range 20 {
		d.turn()
		d.now = d.now.Add(signalPatience)
	}
	if got := d.list(); len(got) != 0 {
		t.Fatalf("told without its reason: %+v", got)
	}
	copy(w.data, record)
	d.take()
	if got := d.list()[0]; got.reason != "reason" {
		t.Errorf("told as %+v", got)
	}
}

func TestSecondTrainerIsPolledUntilItsStoresAreToldToo(t *testing.T) {
	d := sharedDeck(t)
	first := d.storer()
	d.wantTold()
	second := d.storer()
	if got := d.turn(); got != signalPoll {
		t.Errorf("pause of %v right after somebody new opened the segment", got)
	}
	d.wantTold()
	for at, w := range []storer{first, second, first} {
		d.wantPause(signalRest, "with two trainers whose stores are told")
		w.store(1, uint64(at)+1)
		d.take()
	}
	first.Kill()
	d.wantPause(signalRest, "with the second there")
	second.store(2, 9)
	d.take()
	d.wantPause(signalRest, "after a signal that was told")
}

// A writer that cannot be watched stands for one whose stores the kernel makes.
func TestSignalThatNothingToldOfIsPolledForAfterwards(t *testing.T) {
	d := sharedDeck(t)
	hidden := d.writer()
	defer hidden.end()
	w := d.storer()
	d.wantTold()
	hidden.store(1, 1)
	d.now = d.now.Add(signalRest)
	d.take()
	for range 20 {
		d.wantPause(signalPoll, "after a signal that nothing told of")
	}
	w.store(2, 2)
	d.take()
}

// A trainer may clear its segment at each step of its training.
func TestTrainerThatStoresAllTheTimeIsPolled(t *testing.T) {
	d := sharedDeck(t)
	w := d.storer()
	d.wantTold()
	d.now = d.now.Add(toldSpan)
	for n := 0; d.monitor.segment.writers.heard == heardStores; n++ {
		if n > 2*toldMost {
			t.Fatalf("stores are still told of after %d within no time", n)
		}
		w.clear()
		d.awaitTold()
		d.turn()
	}
	for range huntEvery / signalRest / 2 {
		d.wantPause(signalPoll, "after too many stores")
	}
	if d.monitor.tell(nil); d.monitor.status() != (SignalStatus{d.path, heardPoll, errTooOften.Error()}) {
		t.Errorf("heard by %+v after too many stores", d.monitor.status())
	}
	w.store(1, 1)
	d.take()
	d.now = d.now.Add(huntEvery)
	d.wantTold()
}

func TestSignalThatWasPolledForPutsNoHuntOff(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	defer w.end()
	d.turn()
	next := d.monitor.segment.writers.hunt.next
	for at := uint64(1); at <= 2; at++ {
		w.store(1, at)
		d.take()
		d.wantPause(signalPoll, "with a trainer there")
	}
	if got := d.monitor.segment.writers.hunt.next; next.IsZero() || got != next {
		t.Errorf("the hunt was to begin at %v, now at %v", next, got)
	}
}

func TestHuntBesideManyProcessesIsRare(t *testing.T) {
	h, now := hunt{took: 300 * time.Millisecond}, time.Now()
	if _, err := h.step(now, nil); err != nil || h.next.Sub(now) != huntShare*h.took {
		t.Errorf("a hunt after %v, one took %v", h.next.Sub(now), h.took)
	}
	h.took = time.Hour
	if h.end(); h.took != time.Hour {
		t.Error("a new trainer makes forget how long a hunt takes")
	}
	if _, err := h.step(now, nil); err != nil || h.next.Sub(now) != huntEvery {
		t.Errorf("a hunt after %v", h.next.Sub(now))
	}
}

func TestStatusSaysWhyASegmentIsPolled(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	defer w.end()
	w.promise()
	d.wantTrust()
	w.store(1, 1)
	d.now = d.now.Add(signalRest)
	d.take()
	d.monitor.tell(nil)
	if got := d.monitor.status(); got != (SignalStatus{d.path, heardPoll, errUntold.Error()}) {
		t.Errorf("after a signal that nothing had told of: %+v", got)
	}
	if err := d.monitor.leave(); err != nil {
		t.Error(err)
	}
	if got := d.monitor.status(); got != (SignalStatus{d.path, heardMissing, ""}) {
		t.Errorf("after the poller left: %+v", got)
	}
	d.monitor.segment.bell = nil
	d.turn()
	d.monitor.tell(nil)
	if got := d.monitor.status(); got != (SignalStatus{d.path, heardPoll, errNoNotice.Error()}) {
		t.Errorf("without notices: %+v", got)
	}
}

func TestPromiseIsBelievedInsteadOfTheStores(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	defer w.end()
	d.hunted()
	if d.monitor.tell(nil); d.monitor.status() != (SignalStatus{d.path, heardPoll, storewatch.ErrNobody.Error()}) {
		t.Errorf("heard by %+v when nobody was found", d.monitor.status())
	}
	w.promise()
	d.wantTrust()
	if d.monitor.tell(nil); d.monitor.status() != (SignalStatus{d.path, heardRing, ""}) {
		t.Errorf("heard by %+v when somebody promised to ring", d.monitor.status())
	}
}

func TestNothingIsHuntedForAfterTheSegmentWasLetGo(t *testing.T) {
	d := sharedDeck(t)
	w := d.storer()
	d.turn()
	for d.monitor.segment.writers.hunt.running == nil {
		d.wantPause(signalPoll, "with a trainer there")
	}
	if err := d.monitor.leave(); err != nil {
		t.Error(err)
	}
	d.wantTold()
	if err := d.monitor.leave(); err != nil {
		t.Error(err)
	}
	if len(d.bell.stores) != 0 {
		t.Error("stores are still told of")
	}
	w.store(1, 1)
	d.take()
}
