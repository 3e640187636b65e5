package weatherlight

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/esper-lite/weatherlight/leyline"
)

// trainer is a Python process with nothing but its standard library that makes
// a segment and raises a signal in the order of the prototype: flag first.
const trainer = `
import mmap, os, struct, sys, time
kind, path, level, stamp, reason = sys.argv[1:6]
fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
os.ftruncate(fd, 16 if kind == "rollback" else 64)
shm = mmap.mmap(fd, 0)
stamp = int(stamp, 0) or time.monotonic_ns() // 1_000_000
shm[0] = 1
if kind == "rollback":
    struct.pack_into("<Q", shm, 8, stamp)
else:
    data = reason.encode()[:53]
    shm[1] = int(level)
    struct.pack_into("<Q", shm, 2, stamp)
    shm[10] = len(data)
    shm[11:11 + len(data)] = data
print(stamp)
`

// raiseInPython has a Python trainer raise a signal and returns its time in ms.
func raiseInPython(t *testing.T, kind, path string, level int, stamp, reason string) uint64 {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatal("python3 not found: apt-get install python3")
	}
	command := exec.Command("python3", "-c", trainer, kind, path, strconv.Itoa(level), stamp, reason)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("python trainer: %v", err)
	}
	at, err := strconv.ParseUint(strings.TrimSpace(string(output)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// sharedName is a name in shared memory that nobody else uses.
func sharedName(t *testing.T) (name, path string) {
	t.Helper()
	name = fmt.Sprintf("esper-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	path = filepath.Join(sharedMemoryDir, name)
	t.Cleanup(func() { _ = os.Remove(path) })
	return name, path
}

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

func TestEmergencyOfPythonTrainerIsReadByteByByte(t *testing.T) {
	d := emergencyDeck(t)
	raiseInPython(t, "emergency", d.path, 4, "0x0102030405060708", "rollback_deadline_ü")
	golden := "01040807060504030201" + "14" + hex.EncodeToString([]byte("rollback_deadline_ü"))
	want, err := hex.DecodeString(golden + strings.Repeat("00", emergencySize-len(golden)/2))
	if err != nil {
		t.Fatal(err)
	}
	if got := d.content(); !bytes.Equal(got, want) {
		t.Fatalf("the trainer wrote\n%x, want\n%x", got, want)
	}
	d.look(50 * time.Millisecond)
	d.wantAlarms(alarm{level: halt, reason: "rollback_deadline_ü", atMs: 0x0102030405060708, triggers: 1})
	if got := d.content(); !bytes.Equal(got, make([]byte, emergencySize)) {
		t.Errorf("after it was taken the segment holds %x", got)
	}
}

func TestRollbackOfPythonTrainerIsReadByteByByte(t *testing.T) {
	d := rollbackDeck(t)
	raiseInPython(t, "rollback", d.path, 0, "0x0102030405060708", "")
	if got, want := hex.EncodeToString(d.content()), "0100000000000000"+"0807060504030201"; got != want {
		t.Fatalf("the trainer wrote %s, want %s", got, want)
	}
	d.look(50 * time.Millisecond)
	d.wantAlarms(alarm{atMs: 0x0102030405060708, triggers: 1})
	if got := d.content(); !bytes.Equal(got, make([]byte, deadlineSize)) {
		t.Errorf("after it was taken the segment holds %x", got)
	}
}

// The real thing: shared memory, a Python trainer, the monitors as workers, the
// latency that both clocks agree on.
func TestTrainerInAnotherProcessIsHeard(t *testing.T) {
	name, path := sharedName(t)
	heard := &alarms{}
	monitor := &signalMonitor{
		segment: newSegment(sharedMemoryDir, name, emergencySize), decode: decodeEmergency,
		damper: damper{cooldown: emergencyCooldown}, report: heard.report,
	}
	stop := run(t, monitor)
	began := time.Now()
	at := raiseInPython(t, "emergency", path, 3, "0", "loss_spike")
	eventually(t, "the alarm", func() bool { return len(heard.list()) == 1 })
	got := heard.list()[0]
	if got.level != leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE || got.reason != "loss_spike" || got.atMs != at {
		t.Errorf("alarm %+v, want level 3, loss_spike, %d", got, at)
	}
	if got.latency <= 0 || got.latency > time.Since(began) {
		t.Errorf("latency %v of %v", got.latency, time.Since(began))
	}
	stop()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("stopping us took the trainer's segment away: %v", err)
	}
}

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
	d.look(5 * time.Millisecond)
	d.wantAlarms()
	d.look(20 * time.Millisecond)
	d.wantAlarms(alarm{level: 2, triggers: 1})
	if got := d.list()[0].latency; got != 0 {
		t.Errorf("latency %v of an unknown time", got)
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

func TestRecreatedSegmentIsWatchedAgain(t *testing.T) {
	d := emergencyDeck(t)
	for i := range 3 {
		d.write(0, make([]byte, emergencySize))
		d.look(signalSearch)
		d.write(0, emergencyRecord(1, uint64(i)+1, "again"))
		d.look(2 * emergencyCooldown)
		if got := len(d.list()); got != i+1 {
			t.Fatalf("%d alarms after the trainer started %d times", got, i+1)
		}
		if err := os.Remove(d.path); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			d.look(2 * signalSearch) // gone for a while; else recreated at once
		}
	}
}

func TestLastAlarmOfATrainerThatEndsIsHeard(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, make([]byte, emergencySize))
	d.look(20 * time.Millisecond)
	d.write(0, emergencyRecord(4, 3, "dying"))
	if err := os.Remove(d.path); err != nil {
		t.Fatal(err)
	}
	d.look(20 * time.Millisecond)
	d.wantAlarms(alarm{level: halt, reason: "dying", atMs: 3, triggers: 1})
}

func TestAlarmWaitsUntilTelemetryHasRoom(t *testing.T) {
	d := emergencyDeck(t)
	d.setFull(true)
	d.write(0, emergencyRecord(1, 1, "first"))
	d.look(time.Second)
	d.write(0, emergencyRecord(4, 2, "second"))
	d.look(time.Second)
	d.wantAlarms()
	d.setFull(false)
	d.look(time.Second)
	d.wantAlarms(alarm{level: halt, reason: "second", atMs: 2, triggers: 2})
}

func TestHeldAlarmIsReportedWhenWeStop(t *testing.T) {
	d := emergencyDeck(t)
	for at := uint64(1); at <= 2; at++ {
		d.write(0, emergencyRecord(1, at, "again"))
		d.look(20 * time.Millisecond)
	}
	if got := len(d.list()); got != 1 {
		t.Fatalf("%d alarms within the cooldown", got)
	}
	stop := run(t, d.monitor)
	stop()
	if got := len(d.list()); got != 2 {
		t.Errorf("%d alarms after the stop, want 2", got)
	}
}

func TestForeignSegmentIsRefusedWithItsSize(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(path string) error
		want string
	}{
		{"too short", func(path string) error { return os.WriteFile(path, make([]byte, 16), 0o600) }, "16 bytes, want 64"},
		{"too long", func(path string) error { return os.WriteFile(path, make([]byte, 65), 0o600) }, "65 bytes, want 64"},
		{"a folder", func(path string) error { return os.Mkdir(path, 0o700) }, "directory"},
		{"a link", func(path string) error { return os.Symlink("/etc/hostname", path) }, "symbolic"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := emergencyDeck(t)
			if err := test.make(d.path); err != nil {
				t.Fatal(err)
			}
			_, err := d.monitor.look(d.now)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), d.path) {
				t.Errorf("error %v, want %q and the path", err, test.want)
			}
		})
	}
}

func TestSegmentRoundedUpToAPageIsRead(t *testing.T) {
	d := emergencyDeck(t)
	page := make([]byte, os.Getpagesize())
	copy(page, emergencyRecord(1, 2, "mac"))
	if err := os.WriteFile(d.path, page, 0o600); err != nil {
		t.Fatal(err)
	}
	d.look(20 * time.Millisecond)
	d.wantAlarms(alarm{level: notice, reason: "mac", atMs: 2, triggers: 1})
}

func TestSegmentCutShortDoesNotEndTheProcess(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, make([]byte, emergencySize))
	d.look(10 * time.Millisecond)
	if err := os.Truncate(d.path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := d.monitor.look(d.now); err == nil {
		t.Error("nothing was said about memory that went away")
	}
	if err := d.monitor.segment.detach(); err != nil { // as the end of Run does
		t.Fatal(err)
	}
	d.write(0, emergencyRecord(1, 2, "back"))
	d.look(signalSearch)
	d.wantAlarms(alarm{level: notice, reason: "back", atMs: 2, triggers: 1})
}

func TestSegmentWithoutSizeYetIsWaitedFor(t *testing.T) {
	d := emergencyDeck(t)
	if err := os.WriteFile(d.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if pause, err := d.monitor.look(d.now); err != nil || pause != signalSearch {
		t.Errorf("look = %v, %v", pause, err)
	}
}

func FuzzDecodeSharedSignals(f *testing.F) {
	f.Add(emergencyRecord(4, 0x0102030405060708, "rollback_deadline_ü"))
	f.Add(bytes.Repeat([]byte{0xff}, emergencySize))
	f.Fuzz(func(t *testing.T, record []byte) {
		if len(record) < emergencySize {
			return
		}
		record = record[:emergencySize]
		signal := decodeEmergency(record)
		if !utf8.ValidString(signal.reason) || len(signal.reason) > emergencySize-emergencyHeader {
			t.Errorf("reason %q", signal.reason)
		}
		if signal.level < 0 || signal.level > 255 {
			t.Errorf("level %d", signal.level)
		}
		if raised := decodeDeadline(record[:deadlineSize]).raised; raised != (record[0] == 1) {
			t.Errorf("raised %v with flag %d", raised, record[0])
		}
	})
}
