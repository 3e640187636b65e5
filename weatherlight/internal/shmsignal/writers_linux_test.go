package shmsignal

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/internal/pythontest"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal/shmsignaltest"
)

func TestSegmentThatNobodyHasOpenIsNotPolled(t *testing.T) {
	d := sharedDeck(t)
	d.wantPause(restPause, "with nobody there")
	w := d.writer()
	d.wantPause(pollPause, "with a trainer there")
	w.store(4, 1)
	d.take()
	w.end()
	d.wantPause(restPause, "after the trainer ended")
	d.wantTriggers(Trigger{Level: halt, Reason: "stored", AtMs: 1, Count: 1})
}

func TestTrainerThatWasThereBeforeUsIsPolled(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	defer w.end()
	for range 3 {
		d.wantPause(pollPause, "with a trainer there")
	}
}

// mappingTrainer maps a segment and does nothing.
const mappingTrainer = `
import mmap, os, sys
shm = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 0)
print("mapped", flush=True)
sys.stdin.readline()
`

func TestTrainerThatWasKilledIsNotWaitedFor(t *testing.T) {
	d := sharedDeck(t)
	trainer := pythontest.Start(t, mappingTrainer, d.path)
	trainer.Hear("mapped")
	d.wantPause(pollPause, "with a trainer there")
	trainer.Kill()
	d.wantPause(restPause, "after the trainer was killed")
}

func TestTrainerThatNotifiesIsHeardWithoutPolling(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	defer w.end()
	w.promise()
	d.wantTrust()
	for at := uint64(1); at <= 3; at++ {
		w.store(byte(at), at)
		w.notify()
		d.take()
		d.wantPause(restPause, "after a signal that was notified for")
	}
	if got := len(d.list()); got != 3 {
		t.Errorf("%d triggers, want 3", got)
	}
}

func TestTrainerWithoutAPromiseIsPolledAfterOneThatNotified(t *testing.T) {
	d := sharedDeck(t)
	notifying := d.writer()
	notifying.promise()
	d.wantTrust()
	notifying.end()
	next := d.writer()
	defer next.end()
	if got := d.turn(); got != pollPause {
		t.Errorf("pause of %v right after somebody new opened the segment", got)
	}
	d.wantPause(pollPause, "without a promise")
	next.promise()
	d.wantTrust()
}

func TestPromiseEndsWithWhoMadeIt(t *testing.T) {
	d := sharedDeck(t)
	notifying, silent := d.writer(), d.writer()
	defer silent.end()
	notifying.promise()
	d.wantTrust()
	notifying.end()
	d.wantPause(pollPause, "when only one is there who promised nothing")
}

// Another service on the same host looks for promises as we do: for a moment it
// has the segment locked.
func TestQuestionOfAnotherServiceIsNotTakenForAPromise(t *testing.T) {
	d := sharedDeck(t)
	trainer, other := d.writer(), d.writer()
	defer trainer.end()
	defer other.end()
	d.wantPause(pollPause, "with a trainer there")
	for range 3 {
		if err := unix.Flock(int(other.file.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		d.wantPause(pollPause, "while another service asks")
		if err := unix.Flock(int(other.file.Fd()), unix.LOCK_UN); err != nil {
			t.Fatal(err)
		}
		d.wantPause(pollPause, "after another service has asked")
	}
}

func TestBrokenPromiseIsPolledUntilTheNextNotice(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	defer w.end()
	w.promise()
	d.wantTrust()
	w.store(1, 1)
	d.now = d.now.Add(restPause)
	d.take()
	for range 3 {
		d.wantPause(pollPause, "after a signal that nobody notified for")
	}
	w.store(2, 2)
	w.notify()
	d.take()
	d.wantPause(restPause, "after a notice")
}

func TestBrokenPromiseIsForgottenWithItsTrainer(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	w.promise()
	d.wantTrust()
	w.store(1, 1)
	d.now = d.now.Add(restPause)
	d.take()
	w.end()
	d.wantPause(restPause, "with nobody there")
	w = d.writer()
	defer w.end()
	w.promise()
	d.wantTrust()
}

func TestHeldAlarmIsReportedInTimeByTheMonitorOfANotifier(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	defer w.end()
	w.promise()
	d.wantTrust()
	w.store(3, 1)
	w.notify()
	d.take()
	w.store(1, 2)
	w.notify()
	d.turn()
	d.now = d.now.Add(settlePause)
	if got := d.turn(); got > emergencyCooldown || len(d.list()) != 1 {
		t.Fatalf("pause of %v with an alarm held back for %v, %d reported", got, emergencyCooldown, len(d.list()))
	}
	d.now = d.now.Add(emergencyCooldown)
	d.turn()
	if got := len(d.list()); got != 2 {
		t.Errorf("%d triggers after the cooldown, want 2", got)
	}
}

func TestWatcherThatCouldNotKeepUpIsNotTrusted(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	defer w.end()
	w.promise()
	d.wantTrust()
	content, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Fatal(err)
	}
	var queue int
	for _, digit := range content[:len(content)-1] {
		queue = 10*queue + int(digit-'0')
	}
	for range queue { // Equal neighbours would become one.
		w.notify()
		if file, err := os.Open(d.path); err != nil || file.Close() != nil {
			t.Fatal(err)
		}
	}
	heard := d.watcher.events()
	last := heard[len(heard)-1]
	if last.watch != 0 || !last.opened || !last.notified || !d.monitor.segment.writers.concerns(last) {
		t.Errorf("after more than the queue holds the last event is %+v", last)
	}
}

func TestSegmentMadeAnewIsWatchedWithoutTheOldWatch(t *testing.T) {
	d := sharedDeck(t)
	d.wantPause(restPause, "with nobody there")
	old := d.monitor.segment.writers.watch
	if err := os.Remove(d.path); err != nil {
		t.Fatal(err)
	}
	shmsignaltest.Write(t, d.path, make([]byte, emergencySize))
	d.turn() // The removal watched: there is nothing to wait for.
	w := d.writer()
	defer w.end()
	d.wantPause(pollPause, "with a trainer at the new one")
	if d.monitor.segment.writers.concerns(event{watch: old}) {
		t.Error("the old segment is still listened to")
	}
}

func TestTrainerThatOpensTheSegmentIsNotHeldUpByOurQuestion(t *testing.T) {
	d := sharedDeck(t)
	d.turn()
	opened := make(chan error, 1)
	go func() {
		for range 2000 {
			file, err := os.OpenFile(d.path, os.O_RDWR, 0)
			if err == nil {
				err = file.Close()
			}
			if err != nil {
				opened <- err
				return
			}
		}
		close(opened)
	}()
	for {
		select {
		case err := <-opened:
			if err != nil {
				t.Error(err)
			}
			return
		default:
			if _, err := onlyOurs(d.monitor.segment.file); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestEventWakesTheSleeper(t *testing.T) {
	_, path := shmsignaltest.Name(t)
	shmsignaltest.Write(t, path, make([]byte, emergencySize))
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sleeper, err := newWaker()
	if err != nil {
		t.Fatal(err)
	}
	defer sleeper.Close()
	watch := sleeper.watcher.watch(int(file.Fd()))
	steps := make(chan []event)
	stop := run(t, func(ctx context.Context) error {
		return sleeper.run(ctx, func() time.Duration {
			steps <- sleeper.watcher.events()
			return time.Hour
		})
	})
	<-steps
	for range 3 {
		if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if got := <-steps; len(got) != 1 || got[0] != (event{watch: watch, notified: true}) {
			t.Errorf("woken by %+v", got)
		}
	}
	stop()
}

// A trainer that is stopped in the middle of its signal, as by our waking up, goes
// on with it when it has been taken.
func TestRestOfASignalThatWasTakenIsClearedToo(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	defer w.end()
	whole := shmsignaltest.Emergency(3, 1, "")
	copy(w.data, whole)
	d.take()
	late := shmsignaltest.Emergency(3, 1, "late")
	copy(w.data[10:], late[10:])
	for range 4 {
		d.now = d.now.Add(pollPause)
		d.turn()
	}
	if !bytes.Equal(w.data, make([]byte, emergencySize)) {
		t.Errorf("left behind: %x", w.data)
	}
	w.store(4, 2)
	d.now = d.now.Add(emergencyCooldown)
	d.take()
	if got := d.list()[1]; got.Level != halt || got.Reason != "stored" {
		t.Errorf("the next signal is told as %+v", got)
	}
}

func TestReasonWithHolesIsWaitedFor(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	defer w.end()
	record := shmsignaltest.Emergency(3, 1, "reason")
	copy(w.data, record[:11])
	for range 20 {
		d.turn()
		d.now = d.now.Add(patienceForReason)
	}
	if got := d.list(); len(got) != 0 {
		t.Fatalf("told without its reason: %+v", got)
	}
	copy(w.data, record)
	d.take()
	if got := d.list()[0]; got.Reason != "reason" {
		t.Errorf("told as %+v", got)
	}
}

func TestStatusSaysWhyASegmentIsPolled(t *testing.T) {
	d := sharedDeck(t)
	w := d.writer()
	defer w.end()
	w.promise()
	d.wantTrust()
	if d.monitor.publish(nil); d.monitor.status() != (Status{d.path, byNotice, ""}) {
		t.Errorf("detected by %+v when somebody promised to notify", d.monitor.status())
	}
	w.store(1, 1)
	d.now = d.now.Add(restPause)
	d.take()
	d.monitor.publish(nil)
	if got := d.monitor.status(); got != (Status{d.path, byPoll, errNotNotified.Error()}) {
		t.Errorf("after a signal that nobody notified for: %+v", got)
	}
	if err := d.monitor.leave(); err != nil {
		t.Error(err)
	}
	if got := d.monitor.status(); got != (Status{d.path, byNothing, ""}) {
		t.Errorf("after the poller left: %+v", got)
	}
	d.monitor.segment.watcher = nil
	d.turn()
	d.monitor.publish(nil)
	if got := d.monitor.status(); got != (Status{d.path, byPoll, errNoInotify.Error()}) {
		t.Errorf("without notices: %+v", got)
	}
}
