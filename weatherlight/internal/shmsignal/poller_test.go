package shmsignal

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal/shmsignaltest"
)

func TestForeignSegmentDoesNotBlindTheOtherSignal(t *testing.T) {
	dir, heard := t.TempDir(), &triggers{}
	foreign, good := newMonitor(dir, "foreign", Emergency, heard.report), newMonitor(dir, "good", Emergency, heard.report)
	shmsignaltest.Write(t, foreign.segment.path, make([]byte, 17))
	shmsignaltest.Write(t, good.segment.path, make([]byte, emergencySize))
	run(t, polling(foreign, good))
	eventually(t, "the foreign segment is refused", func() bool { return foreign.unusable() != nil })
	if err := good.unusable(); err != nil {
		t.Errorf("the good one: %v", err)
	}
	watch := &Watch{poller: poller{monitors: []*monitor{foreign, good}}}
	if faults := watch.Faults(); len(faults) != 1 || faults[foreign.segment.path] == nil {
		t.Errorf("faults %v, want one of %s", faults, foreign.segment.path)
	}
	shmsignaltest.Write(t, good.segment.path, shmsignaltest.Emergency(4, 1, "oom"))
	eventually(t, "the good one is heard", func() bool { return len(heard.list()) == 1 })

	replacement := filepath.Join(dir, "replacement")
	shmsignaltest.Write(t, replacement, shmsignaltest.Emergency(3, 2, "mended"))
	if err := os.Rename(replacement, foreign.segment.path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the mended one is heard", func() bool { return len(heard.list()) == 2 })
	if err := foreign.unusable(); err != nil {
		t.Errorf("after it was mended: %v", err)
	}
}

func TestSlowDiskDoesNotHoldUpTheNextSignal(t *testing.T) {
	dir, heard, release := t.TempDir(), &triggers{}, make(chan struct{})
	reporter := newReporter()
	slow := reporter.offering(func(a Trigger) bool { <-release; return heard.report(a) })
	first, second := newMonitor(dir, "first", Emergency, slow), newMonitor(dir, "second", Emergency, slow)
	for i, m := range []*monitor{first, second} {
		shmsignaltest.Write(t, m.segment.path, shmsignaltest.Emergency(1, uint64(i)+1, "raised"))
	}
	run(t, reporter.run)
	run(t, polling(first, second))
	for _, m := range []*monitor{first, second} {
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
	heard, reporter := &triggers{}, newReporter()
	report := reporter.offering(heard.report)
	for range reportsQueued {
		if !report(Trigger{Level: notice}) {
			t.Fatal("no room in an empty queue")
		}
	}
	if report(Trigger{Level: halt}) {
		t.Error("there is room for more than the queue holds")
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := reporter.run(stopped); err != nil {
		t.Fatal(err)
	}
	if got := len(heard.list()); got != reportsQueued {
		t.Errorf("%d reports, want %d", got, reportsQueued)
	}
}

func TestReportThatFindsNoRoomIsMadeByTheNextRun(t *testing.T) {
	heard, reporter := &triggers{}, newReporter()
	heard.setFull(true)
	reporter.offering(heard.report)(Trigger{Level: halt})
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := reporter.run(stopped); err != nil {
		t.Fatal(err)
	}
	heard.setFull(false)
	if err := reporter.run(stopped); err != nil {
		t.Fatal(err)
	}
	if got := heard.list(); len(got) != 1 || got[0].Level != halt {
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
