package weatherlight

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

func TestSignalRaisedBeforeWeStartedIsHeard(t *testing.T) {
	d := rollbackDeck(t)
	d.write(0, deadlineRecord(7))
	d.look(20 * time.Millisecond)
	d.wantAlarms(alarm{atMs: 7, triggers: 1})
}

func TestHalfWrittenRecordIsNotReportedAsLevelZero(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, make([]byte, emergencySize))
	d.look(20 * time.Millisecond)
	whole := emergencyRecord(4, 99, "oom")
	for _, end := range []int{1, 2, 10, 11} {
		d.write(0, whole[:end])
		if _, err := d.monitor.look(d.now); err != nil {
			t.Fatal(err)
		}
		d.now = d.now.Add(signalSettle)
		d.wantAlarms()
	}
	d.write(0, whole)
	d.look(20 * time.Millisecond)
	d.wantAlarms(alarm{level: halt, reason: "oom", atMs: 99, triggers: 1})
}

func TestFlagWithoutTimeIsReportedAfterAMoment(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, emergencyRecord(2, 0, ""))
	d.look(signalStorm / 2)
	d.wantAlarms()
	d.look(signalStorm)
	d.wantAlarms(alarm{level: 2, triggers: 1})
	if got := d.list()[0].latency; got != 0 {
		t.Errorf("latency %v of an unknown time", got)
	}
}

func TestWriterThatWasStoppedInTheMiddleRaisesOneSignal(t *testing.T) {
	rollback, whole := rollbackDeck(t), deadlineRecord(7)
	rollback.write(0, whole[:1])
	rollback.look(signalStorm / 2)
	rollback.wantAlarms()
	rollback.write(8, whole[8:])
	rollback.look(signalOvertaking)
	rollback.wantAlarms(alarm{atMs: 7, triggers: 1})

	emergency, whole := emergencyDeck(t), emergencyRecord(3, 8, "loss_spike")
	for _, end := range []int{10, 11, 15} { // before the length, the reason, the rest of it
		emergency.write(0, whole[:end])
		emergency.look(signalPatience / 4)
		emergency.wantAlarms()
	}
	emergency.write(0, whole)
	emergency.look(signalOvertaking)
	emergency.wantAlarms(alarm{level: 3, reason: "loss_spike", atMs: 8, triggers: 1})
}

func TestEmergencyWithoutAReasonIsReported(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, emergencyRecord(4, 9, ""))
	d.look(2 * signalPatience)
	d.wantAlarms(alarm{level: halt, atMs: 9, triggers: 1})
}

func TestWriterThatNeverRestsIsHeard(t *testing.T) {
	d := rollbackDeck(t)
	for at := uint64(1); at < uint64(2*signalStorm/signalSettle); at++ {
		d.write(0, deadlineRecord(at))
		if _, err := d.monitor.look(d.now); err != nil {
			t.Fatal(err)
		}
		d.now = d.now.Add(signalSettle)
	}
	if len(d.list()) == 0 {
		t.Error("a trigger at every look was never told of")
	}
}

func TestTriggerWhileWeClearIsNotWiped(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, emergencyRecord(1, 5, "first"))
	if _, err := d.monitor.segment.follow(); err != nil {
		t.Fatal(err)
	}
	seen, err := d.monitor.segment.read()
	if err != nil {
		t.Fatal(err)
	}
	next := emergencyRecord(4, 6, "second")
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
	d.write(0, deadlineRecord(5))
	d.look(20 * time.Millisecond)
	d.wantAlarms(alarm{atMs: 5, triggers: 1})
	d.write(8, deadlineRecord(6)[8:])
	d.look(rollbackCooldown)
	d.wantAlarms(alarm{atMs: 5, triggers: 1}, alarm{atMs: 6, triggers: 1})
}

func TestSameTriggerTwiceIsOneRollback(t *testing.T) {
	d := rollbackDeck(t)
	for range 3 {
		d.write(0, deadlineRecord(5))
		d.look(rollbackCooldown)
	}
	d.wantAlarms(alarm{atMs: 5, triggers: 1})
}

func TestSecondRollbackWithinTheCooldownIsNotLost(t *testing.T) {
	d := rollbackDeck(t)
	for at := uint64(1); at <= 4; at++ {
		d.write(0, deadlineRecord(at))
		d.look(20 * time.Millisecond)
	}
	d.wantAlarms(alarm{atMs: 1, triggers: 1})
	d.look(rollbackCooldown)
	d.wantAlarms(alarm{atMs: 1, triggers: 1}, alarm{atMs: 2, triggers: 3})
	want := map[string]float64{"r.detections_total": 2, "r.skipped_total": 3}
	for _, p := range d.monitor.points("r") {
		if value, known := want[p.name]; known && p.value != value {
			t.Errorf("%s is %v, want %v", p.name, p.value, value)
		}
	}
}

func TestHaltRightAfterANoticeIsReportedAtOnce(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, emergencyRecord(1, 1, "notice"))
	d.look(20 * time.Millisecond)
	d.write(0, emergencyRecord(4, 2, "halt"))
	d.look(20 * time.Millisecond)
	d.wantAlarms(alarm{level: notice, reason: "notice", atMs: 1, triggers: 1}, alarm{level: halt, reason: "halt", atMs: 2, triggers: 1})
}

func TestLesserEmergencyInTheCooldownFollowsWhenItIsOver(t *testing.T) {
	d := emergencyDeck(t)
	for i, level := range []byte{4, 1, 3, 2} {
		d.write(0, emergencyRecord(level, uint64(i)+1, fmt.Sprint("level ", level)))
		d.look(20 * time.Millisecond)
	}
	d.look(emergencyCooldown)
	d.wantAlarms(alarm{level: halt, reason: "level 4", atMs: 1, triggers: 1},
		alarm{level: 3, reason: "level 3", atMs: 3, triggers: 3})
}
