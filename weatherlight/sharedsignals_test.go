package weatherlight

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/internal/pythontest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal/shmsignaltest"
)

// prototypeTrainer uses Python's own shared memory, as the prototype does: both
// segments are made, raised, seen to be cleared by the reader, and removed. It can
// notify as well.
const prototypeTrainer = `
import fcntl, os, struct, sys, time
from multiprocessing.shared_memory import SharedMemory
rollback = SharedMemory(sys.argv[1], create=True, size=16)
emergency = SharedMemory(sys.argv[2], create=True, size=64)
files = []
if sys.argv[3] == "notifies":
    files = [os.open("/dev/shm/" + name, os.O_RDWR) for name in sys.argv[1:3]]
for file in files:
    fcntl.flock(file, fcntl.LOCK_SH)
stamp = time.monotonic_ns() // 1_000_000
rollback.buf[0] = 1
struct.pack_into("<Q", rollback.buf, 8, stamp)
reason = b"loss_spike"
emergency.buf[0] = 1
emergency.buf[1] = 3
struct.pack_into("<Q", emergency.buf, 2, stamp)
emergency.buf[10] = len(reason)
emergency.buf[11:11 + len(reason)] = reason
for file in files:
    os.utime(file)
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
	for _, manner := range []string{"silent", "notifies"} {
		t.Run(manner, func(t *testing.T) { testTrainersAlarms(t, manner) })
	}
}

func testTrainersAlarms(t *testing.T, manner string) {
	rollback, rollbackPath := shmsignaltest.Name(t)
	emergency, emergencyPath := shmsignaltest.Name(t)
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
		for name, value := range metricsOf(packet) {
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
