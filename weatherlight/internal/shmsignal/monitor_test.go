package shmsignal

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal/shmsignaltest"
)

func TestSignalRaisedBeforeWeStartedIsHeard(t *testing.T) {
	d := rollbackDeck(t)
	d.write(0, shmsignaltest.Rollback(7))
	d.look(20 * time.Millisecond)
	d.wantTriggers(Trigger{AtMs: 7, Count: 1})
}

func TestHalfWrittenRecordIsNotReportedAsLevelZero(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, make([]byte, emergencySize))
	d.look(20 * time.Millisecond)
	whole := shmsignaltest.Emergency(4, 99, "oom")
	for _, end := range []int{1, 2, 10, 11} {
		d.write(0, whole[:end])
		if _, err := d.monitor.look(d.now); err != nil {
			t.Fatal(err)
		}
		d.now = d.now.Add(settlePause)
		d.wantTriggers()
	}
	d.write(0, whole)
	d.look(20 * time.Millisecond)
	d.wantTriggers(Trigger{Level: halt, Reason: "oom", AtMs: 99, Count: 1})
}

func TestFlagWithoutTimeIsReportedAfterAMoment(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, shmsignaltest.Emergency(2, 0, ""))
	d.look(storm / 2)
	d.wantTriggers()
	d.look(storm)
	d.wantTriggers(Trigger{Level: 2, Count: 1})
	if got := d.list()[0].Latency; got != 0 {
		t.Errorf("latency %v of an unknown time", got)
	}
}

func TestWriterThatWasStoppedInTheMiddleRaisesOneSignal(t *testing.T) {
	rollback, whole := rollbackDeck(t), shmsignaltest.Rollback(7)
	rollback.write(0, whole[:1])
	rollback.look(storm / 2)
	rollback.wantTriggers()
	rollback.write(8, whole[8:])
	rollback.look(overtaking)
	rollback.wantTriggers(Trigger{AtMs: 7, Count: 1})

	emergency, whole := emergencyDeck(t), shmsignaltest.Emergency(3, 8, "loss_spike")
	for _, end := range []int{10, 11, 15} { // before the length, the reason, the rest of it
		emergency.write(0, whole[:end])
		emergency.look(patienceForReason / 4)
		emergency.wantTriggers()
	}
	emergency.write(0, whole)
	emergency.look(overtaking)
	emergency.wantTriggers(Trigger{Level: 3, Reason: "loss_spike", AtMs: 8, Count: 1})
}

func TestEmergencyWithoutAReasonIsReported(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, shmsignaltest.Emergency(4, 9, ""))
	d.look(2 * patienceForReason)
	d.wantTriggers(Trigger{Level: halt, AtMs: 9, Count: 1})
}

func TestWriterThatNeverRestsIsHeard(t *testing.T) {
	d := rollbackDeck(t)
	for at := uint64(1); at < uint64(2*storm/settlePause); at++ {
		d.write(0, shmsignaltest.Rollback(at))
		if _, err := d.monitor.look(d.now); err != nil {
			t.Fatal(err)
		}
		d.now = d.now.Add(settlePause)
	}
	if len(d.list()) == 0 {
		t.Error("a trigger at every look was never told of")
	}
}

func TestTriggerWhileWeClearIsNotWiped(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, shmsignaltest.Emergency(1, 5, "first"))
	if _, err := d.monitor.segment.follow(); err != nil {
		t.Fatal(err)
	}
	seen, err := d.monitor.segment.read()
	if err != nil {
		t.Fatal(err)
	}
	next := shmsignaltest.Emergency(4, 6, "second")
	d.write(0, next)
	if cleared, err := d.monitor.segment.clear(seen); cleared || err != nil {
		t.Fatalf("clear = %v, %v of a record that had changed", cleared, err)
	}
	if got := d.content(); !bytes.Equal(got, next) {
		t.Errorf("the newer record became %x", got)
	}
}

// The writer sets a flag that is still set, we clear it, the writer goes on with
// the time.
func TestFlagThatWeClearedUnderTheWriterIsStillSeen(t *testing.T) {
	d := rollbackDeck(t)
	d.write(0, shmsignaltest.Rollback(5))
	d.look(20 * time.Millisecond)
	d.wantTriggers(Trigger{AtMs: 5, Count: 1})
	d.write(8, shmsignaltest.Rollback(6)[8:])
	d.look(rollbackCooldown)
	d.wantTriggers(Trigger{AtMs: 5, Count: 1}, Trigger{AtMs: 6, Count: 1})
}

func TestSameTriggerTwiceIsOneRollback(t *testing.T) {
	d := rollbackDeck(t)
	for range 3 {
		d.write(0, shmsignaltest.Rollback(5))
		d.look(rollbackCooldown)
	}
	d.wantTriggers(Trigger{AtMs: 5, Count: 1})
}

func TestSecondRollbackWithinTheCooldownIsNotLost(t *testing.T) {
	d := rollbackDeck(t)
	for at := uint64(1); at <= 4; at++ {
		d.write(0, shmsignaltest.Rollback(at))
		d.look(20 * time.Millisecond)
	}
	d.wantTriggers(Trigger{AtMs: 1, Count: 1})
	d.look(rollbackCooldown)
	d.wantTriggers(Trigger{AtMs: 1, Count: 1}, Trigger{AtMs: 2, Count: 3})
	if stats := d.monitor.snapshot(); stats.Detections != 2 || stats.Skipped != 3 || stats.LastAt.IsZero() {
		t.Errorf("stats %+v, want 2 reports and 3 signals that became part of one", stats)
	}
}

func TestHaltRightAfterANoticeIsReportedAtOnce(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, shmsignaltest.Emergency(1, 1, "notice"))
	d.look(20 * time.Millisecond)
	d.write(0, shmsignaltest.Emergency(4, 2, "halt"))
	d.look(20 * time.Millisecond)
	d.wantTriggers(Trigger{Level: notice, Reason: "notice", AtMs: 1, Count: 1}, Trigger{Level: halt, Reason: "halt", AtMs: 2, Count: 1})
}

func TestLesserEmergencyInTheCooldownFollowsWhenItIsOver(t *testing.T) {
	d := emergencyDeck(t)
	for i, level := range []byte{4, 1, 3, 2} {
		d.write(0, shmsignaltest.Emergency(level, uint64(i)+1, fmt.Sprint("level ", level)))
		d.look(20 * time.Millisecond)
	}
	d.look(emergencyCooldown)
	d.wantTriggers(Trigger{Level: halt, Reason: "level 4", AtMs: 1, Count: 1},
		Trigger{Level: 3, Reason: "level 3", AtMs: 3, Count: 3})
}
