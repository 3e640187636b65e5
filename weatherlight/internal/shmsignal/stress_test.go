package shmsignal

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/supervise/supervisetest"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal/shmsignaltest"
)

func TestWorkersCanBeStartedAndStoppedAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	var made atomic.Int64
	taken := func(Trigger) bool { return true }
	for name, newWorker := range map[string]func() supervise.Worker{
		"poller": func() supervise.Worker {
			kind := Kind(made.Add(1) % 2)
			return supervise.WorkerFunc(polling(newMonitor(dir, fmt.Sprint("signal", kind), kind, taken)))
		},
		"reporter": func() supervise.Worker { return supervise.WorkerFunc(New().Report) },
	} {
		t.Run(name, func(t *testing.T) { supervisetest.Stress(t, newWorker) })
	}
}

// A monitor under a trainer that raises signals as fast as it can: every one is
// reported or counted as part of another.
func TestStormOfSignalsIsCountedWhole(t *testing.T) {
	d := emergencyDeck(t)
	d.monitor.coalescer.cooldown = 20 * time.Millisecond
	d.write(0, make([]byte, emergencySize))
	stop := run(t, polling(d.monitor))
	const storm = 200
	for i := range uint64(storm) {
		d.write(0, shmsignaltest.Emergency(byte(1+i%4), i+1, "storm"))
		eventually(t, "the record is taken", func() bool { return d.content()[0] == 0 })
	}
	stop()
	total := 0
	for _, raised := range d.list() {
		total += raised.Count
	}
	if total != storm {
		t.Errorf("%d of %d signals were told of", total, storm)
	}
	if last := d.list()[len(d.list())-1]; last.Level < leyline.EmergencyLevel_EMERGENCY_LEVEL_NOTICE {
		t.Errorf("last %+v", last)
	}
}

// BenchmarkSharedSignal measures the way from a trigger to its report.
func BenchmarkSharedSignal(b *testing.B) {
	dir := b.TempDir()
	reported := make(chan struct{}, 1)
	monitor := newMonitor(dir, "signal", Rollback, func(Trigger) bool { reported <- struct{}{}; return true })
	monitor.coalescer.cooldown = 0
	path := monitor.segment.path
	if err := os.WriteFile(path, make([]byte, rollbackSize), 0o600); err != nil {
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
		if _, err := file.WriteAt(shmsignaltest.Rollback(at), 0); err != nil {
			b.Fatal(err)
		}
		<-reported
		worst = max(worst, time.Since(begun))
	}
	b.ReportMetric(worst.Seconds()*1e3, "worst-ms")
	stop()
}
