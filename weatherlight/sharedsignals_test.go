package weatherlight

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/internal/pythontest"
	"github.com/esper-lite/weatherlight/leyline"
)

// prototypeTrainer uses Python's own shared memory, as the prototype does: both
// segments are made, raised, seen to be cleared by the reader, and removed. It can
// ring as well.
const prototypeTrainer = `
import fcntl, os, struct, sys, time
from multiprocessing.shared_memory import SharedMemory
rollback = SharedMemory(sys.argv[1], create=True, size=16)
emergency = SharedMemory(sys.argv[2], create=True, size=64)
bells = []
if sys.argv[3] == "rings":
    bells = [os.open("/dev/shm/" + name, os.O_RDWR) for name in sys.argv[1:3]]
for bell in bells:
    fcntl.flock(bell, fcntl.LOCK_SH)
stamp = time.monotonic_ns() // 1_000_000
rollback.buf[0] = 1
struct.pack_into("<Q", rollback.buf, 8, stamp)
reason = b"loss_spike"
emergency.buf[0] = 1
emergency.buf[1] = 3
struct.pack_into("<Q", emergency.buf, 2, stamp)
emergency.buf[10] = len(reason)
emergency.buf[11:11 + len(reason)] = reason
for bell in bells:
    os.utime(bell)
end = time.monotonic() + 20
while (any(rollback.buf[:16]) or any(emergency.buf[:64])) and time.monotonic() < end:
    time.sleep(0.001)
print("cleared" if time.monotonic() < end else "still set", flush=True)
sys.stdin.readline()
for segment in (rollback, emergency):
    segment.close()
    segment.unlink()
`

func TestRunningTrainersAlarmsReachTheObserver(t *testing.T) {
	for _, manner := range []string{"silent", "rings"} {
		t.Run(manner, func(t *testing.T) { testTrainersAlarms(t, manner) })
	}
}

func testTrainersAlarms(t *testing.T, manner string) {
	rollback, rollbackPath := sharedName(t)
	emergency, emergencyPath := sharedName(t)
	r := start(t, newService(t, map[string]string{
		"TOLARIA_ROLLBACK_SIGNAL_NAME": rollback, "TOLARIA_EMERGENCY_SIGNAL_NAME": emergency,
	}))
	heard := listen(t, connect(t, r.BusURL(), "nissa"), onEmergency, "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	trainer := pythontest.Start(t, prototypeTrainer, rollback, emergency, manner)
	trainer.Hear("cleared")

	eventually(t, "both alarms", func() bool { return len(heard.packets()) == 2 })
	got := map[string]map[string]string{}
	for _, packet := range heard.packets() {
		event := packet.GetEvents()[0]
		got[event.GetDescription()] = event.GetAttributes()
		for name, value := range metrics(packet) {
			if strings.HasSuffix(name, "latency_ms") && (value < 0 || value > patience.Seconds()*1e3) {
				t.Errorf("%s is %v", name, value)
			}
		}
	}
	want := map[string]map[string]string{
		"rollback_deadline_triggered": nil,
		"emergency_signal_received":   {"reason": "loss_spike", "origin": "shared_signal", "level": "3"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("events (-want +got):", diff)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	for _, path := range []string{rollbackPath, emergencyPath} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("our stop took the trainer's segment away: %v", err)
		}
	}
	trainer.Wait()
}

// BenchmarkSharedSignal measures the way from a trigger to its report.
func BenchmarkSharedSignal(b *testing.B) {
	dir := b.TempDir()
	reported := make(chan struct{}, 1)
	monitor := &signalMonitor{
		segment: newSegment(dir, "signal", deadlineSize), decode: decodeDeadline,
		report: func(alarm) bool { reported <- struct{}{}; return true },
	}
	path := monitor.segment.path
	if err := os.WriteFile(path, make([]byte, deadlineSize), 0o600); err != nil {
		b.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	stop := run(b, polling(monitor))
	var worst time.Duration
	at := uint64(0)
	for b.Loop() {
		at++
		begun := time.Now()
		if _, err := file.WriteAt(deadlineRecord(at), 0); err != nil {
			b.Fatal(err)
		}
		<-reported
		worst = max(worst, time.Since(begun))
	}
	b.ReportMetric(worst.Seconds()*1e3, "worst-ms")
	stop()
}
