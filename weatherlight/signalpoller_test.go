package weatherlight

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// monitorIn is an emergency monitor of a segment in a folder.
func monitorIn(dir, name string, report func(alarm) bool) *signalMonitor {
	return &signalMonitor{
		segment: newSegment(dir, name, emergencySize), decode: decodeEmergency, report: report,
		damper: damper{cooldown: emergencyCooldown},
	}
}

func writeSegment(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestForeignSegmentDoesNotBlindTheOtherSignal(t *testing.T) {
	dir, heard := t.TempDir(), &alarms{}
	foreign, good := monitorIn(dir, "foreign", heard.report), monitorIn(dir, "good", heard.report)
	writeSegment(t, foreign.segment.path, make([]byte, 17))
	writeSegment(t, good.segment.path, make([]byte, emergencySize))
	run(t, polling(foreign, good))
	eventually(t, "the foreign segment is refused", func() bool { return foreign.unusable() != nil })
	if err := good.unusable(); err != nil {
		t.Errorf("the good one: %v", err)
	}
	s := &Service{signals: []*signalMonitor{foreign, good}}
	if found := s.lookAtSignals(t.Context()); len(found) != 1 || found[0].subject != foreign.segment.path {
		t.Errorf("findings %v, want one of %s", found, foreign.segment.path)
	}
	writeSegment(t, good.segment.path, emergencyRecord(4, 1, "oom"))
	eventually(t, "the good one is heard", func() bool { return len(heard.list()) == 1 })

	replacement := filepath.Join(dir, "replacement")
	writeSegment(t, replacement, emergencyRecord(3, 2, "mended"))
	if err := os.Rename(replacement, foreign.segment.path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the mended one is heard", func() bool { return len(heard.list()) == 2 })
	if err := foreign.unusable(); err != nil {
		t.Errorf("after it was mended: %v", err)
	}
}

func TestSlowDiskDoesNotHoldUpTheNextSignal(t *testing.T) {
	dir, heard, release := t.TempDir(), &alarms{}, make(chan struct{})
	reporter := newSignalReporter()
	slow := reporter.offering(func(a alarm) bool { <-release; return heard.report(a) })
	first, second := monitorIn(dir, "first", slow), monitorIn(dir, "second", slow)
	for i, m := range []*signalMonitor{first, second} {
		writeSegment(t, m.segment.path, emergencyRecord(1, uint64(i)+1, "raised"))
	}
	run(t, reporter)
	run(t, polling(first, second))
	for _, m := range []*signalMonitor{first, second} {
		eventually(t, "the signal is taken", func() bool {
			content, err := os.ReadFile(m.segment.path)
			return err == nil && content[0] == 0
		})
	}
	if got := heard.list(); len(got) != 0 {
		t.Errorf("reported %v while the disk hangs", got)
	}
	close(release)
	eventually(t, "both reports", func() bool { return len(heard.list()) == 2 })
}

func TestReportTakenBeforeTheStopIsMade(t *testing.T) {
	heard, reporter := &alarms{}, newSignalReporter()
	report := reporter.offering(heard.report)
	for range reportsQueued {
		if !report(alarm{level: notice}) {
			t.Fatal("no room in an empty queue")
		}
	}
	if report(alarm{level: halt}) {
		t.Error("there is room for more than the queue holds")
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := reporter.Run(stopped); err != nil {
		t.Fatal(err)
	}
	if got := len(heard.list()); got != reportsQueued {
		t.Errorf("%d reports, want %d", got, reportsQueued)
	}
}

func TestReportThatFindsNoRoomIsMadeByTheNextRun(t *testing.T) {
	heard, reporter := &alarms{}, newSignalReporter()
	heard.setFull(true)
	reporter.offering(heard.report)(alarm{level: halt})
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := reporter.Run(stopped); err != nil {
		t.Fatal(err)
	}
	heard.setFull(false)
	if err := reporter.Run(stopped); err != nil {
		t.Fatal(err)
	}
	if got := heard.list(); len(got) != 1 || got[0].level != halt {
		t.Errorf("reports %v, want the one that had found no room", got)
	}
}

func TestSleeperWakesAtItsTimeAndAtTheStop(t *testing.T) {
	sleeper, err := newWaker()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	steps, begun := 0, time.Now()
	err = sleeper.run(ctx, func() time.Duration {
		if steps++; steps < 4 {
			return 5 * time.Millisecond
		}
		cancel()
		return time.Hour
	})
	if took := time.Since(begun); err != nil || steps != 4 || took < 15*time.Millisecond || took > patience {
		t.Errorf("%d steps in %v, %v; want 4 in at least 15ms", steps, took, err)
	}
	if err := sleeper.Close(); err != nil {
		t.Error(err)
	}
}

func TestSummaryDoesNotTakeASignalAway(t *testing.T) {
	name, path := sharedName(t)
	r := start(t, newService(t, map[string]string{"TOLARIA_EMERGENCY_SIGNAL_NAME": name}))
	if err := r.supervisor.StopWorker(t.Context(), workerSignals); err != nil {
		t.Fatal(err)
	}
	record := emergencyRecord(4, 1, "oom")
	writeSegment(t, path, record)
	if got := metrics(r.summaryPacket(t.Context()))["weatherlight.emergency.detections_total"]; got != 0 {
		t.Errorf("the summary counted %v signals", got)
	}
	content, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(content, record) {
		t.Errorf("after a summary the segment holds %x, %v", content, err)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
