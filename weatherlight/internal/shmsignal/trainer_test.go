package shmsignal

import (
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal/shmsignaltest"
)

// raisingTrainer is a Python process with nothing but its standard library that makes
// a segment and raises a signal in the order of the prototype: flag first.
const raisingTrainer = `
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
	command := exec.Command("python3", "-c", raisingTrainer, kind, path, strconv.Itoa(level), stamp, reason)
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
	d.wantTriggers(Trigger{Level: halt, Reason: "rollback_deadline_ü", AtMs: 0x0102030405060708, Count: 1})
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
	d.wantTriggers(Trigger{AtMs: 0x0102030405060708, Count: 1})
	if got := d.content(); !bytes.Equal(got, make([]byte, rollbackSize)) {
		t.Errorf("after it was taken the segment holds %x", got)
	}
}

// The real thing: shared memory, a Python trainer, the monitors as workers, the
// latency that both clocks agree on.
func TestTrainerInAnotherProcessIsHeard(t *testing.T) {
	name, path := shmsignaltest.Name(t)
	heard := &triggers{}
	monitor := newMonitor(folder, name, Emergency, heard.report)
	stop := run(t, polling(monitor))
	began := time.Now()
	at := raiseInPython(t, "emergency", path, 3, "0", "loss_spike")
	eventually(t, "the alarm", func() bool { return len(heard.list()) == 1 })
	got := heard.list()[0]
	if got.Level != leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE || got.Reason != "loss_spike" || got.AtMs != at {
		t.Errorf("alarm %+v, want level 3, loss_spike, %d", got, at)
	}
	if got.Latency <= 0 || got.Latency > time.Since(began) {
		t.Errorf("latency %v of %v", got.Latency, time.Since(began))
	}
	stop()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("stopping us took the trainer's segment away: %v", err)
	}
}
