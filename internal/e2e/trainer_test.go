package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// signal is one that the Python trainer raised, by its own account.
type signal struct {
	Level     int
	Reason    string
	At, Taken uint64 // monotonic ms
	Writing   uint64 // how long it took, in ms
	Wrote     string // the segment, in hexadecimal
}

// raise has a Python trainer make both segments and raise its signals.
func raise(t testing.TB, names ...string) (raised []signal) {
	t.Helper()
	trainer := exec.CommandContext(t.Context(), "python3", append([]string{"testdata/trainer.py"}, names...)...)
	trainer.Stderr = os.Stderr
	output, err := trainer.Output()
	if err != nil {
		t.Fatalf("trainer: %v\n%s", err, output)
	}
	for line := range bytes.Lines(output) {
		var one signal
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatalf("the trainer printed %q: %v", line, err)
		}
		raised = append(raised, one)
	}
	return raised
}

// golden is the segment that the prototype writes.
func (s signal) golden() string {
	if s.Level == 0 {
		return hex.EncodeToString(binary.LittleEndian.AppendUint64([]byte{1, 0, 0, 0, 0, 0, 0, 0}, s.At))
	}
	reason := s.reason()
	segment := binary.LittleEndian.AppendUint64([]byte{1, byte(s.Level)}, s.At)
	segment = append(append(segment, byte(len(reason))), reason...)
	return hex.EncodeToString(append(segment, make([]byte, 64-len(segment))...))
}

// reason is what fits into the segment.
func (s signal) reason() string { return s.Reason[:min(len(s.Reason), 53)] }

// Both segments, each byte, each level and reason, and a latency that both sides'
// clocks allow.
func TestSignalsOfAPythonTrainerAreReportedExactly(t *testing.T) {
	begin(t)
	w := newWorld(t)
	unique := fmt.Sprintf("esper-e2e-%d-%d", os.Getpid(), time.Now().UnixNano())
	rollback, emergency := unique+"-rollback", unique+"-emergency"
	w.environ = append(w.environ, "TOLARIA_ROLLBACK_SIGNAL_NAME="+rollback, "TOLARIA_EMERGENCY_SIGNAL_NAME="+emergency)
	w.boot()
	raised := raise(t, rollback, emergency)
	if len(raised) != 6 {
		t.Fatalf("the trainer raised %+v", raised)
	}
	var reports []packet
	eventually(t, "every signal is reported", patience, func() bool {
		reports = w.signalReports()
		return len(reports) >= len(raised)
	})
	w.stop()
	most := len(raised)
	for _, one := range raised {
		if one.heldUp() {
			most++
		}
	}
	if reports = w.signalReports(); len(reports) < len(raised) || len(reports) > most {
		t.Errorf("%d signals were reported %d times", len(raised), len(reports))
	}
	for _, one := range raised {
		if want := one.golden(); one.Wrote != want {
			t.Errorf("the trainer wrote\n%s, the prototype writes\n%s", one.Wrote, want)
		}
		one.mustBeReported(t, reports)
	}
}

// heldUp reports whether the trainer was stopped while it wrote, for longer than the
// service waits for the rest of a signal: each half is then one.
func (s signal) heldUp() bool { return s.Writing+1 >= 100 } // the clock ticks in whole milliseconds

// mustBeReported finds the packet of a signal.
func (s signal) mustBeReported(t testing.TB, reports []packet) {
	t.Helper()
	description, latency := "emergency_signal_received", "weatherlight.emergency.latency_ms"
	if s.Level == 0 {
		description, latency = "rollback_deadline_triggered", "weatherlight.rollback.deadline_latency_ms"
	}
	for _, report := range reports {
		e := report.events[0]
		if e.description != description || s.Level > 0 && e.attributes["level"] != strconv.Itoa(s.Level) {
			continue
		}
		if s.Level > 0 && (e.attributes["reason"] != s.reason() || e.attributes["origin"] != "shared_signal" ||
			report.value("weatherlight.emergency.level") != float64(s.Level)) {
			t.Errorf("the report of %+v is %+v", s, report)
		}
		// The trainer's clock ticks in whole milliseconds.
		if got, most := report.value(latency), float64(s.Taken-s.At+1); s.Level > 0 && (got < 0 || got > most) {
			t.Errorf("latency of %+v is %g ms, the trainer saw %g", s, got, most)
		}
		return
	}
	t.Errorf("nobody reported %+v", s)
}

// signalReports are the packets on the bus that report a signal.
func (w *world) signalReports() (reports []packet) {
	w.t.Helper()
	for _, stream := range []string{streamTelemetry, "oona.emergency"} {
		for _, e := range w.bus.entries(stream) {
			outer := decodeMessage(w.t, []byte(e.fields["payload"]))
			if outer[1].varint != typeTelemetry {
				continue
			}
			p := decodePacket(w.t, outer[2].bytes)
			if len(p.events) > 0 && (strings.HasPrefix(p.events[0].description, "emergency_signal") ||
				strings.HasPrefix(p.events[0].description, "rollback_deadline")) {
				reports = append(reports, p)
			}
		}
	}
	return reports
}
