package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
)

const (
	// stormWorkers fail at once, again and again.
	stormWorkers = 16
	// untold is how many failures may wait to be told: enough that a worker hardly
	// ever waits, and few enough that a supervisor drops none.
	untold = 256
)

func supervisionRows() []row {
	return []row{
		{"supervise_event_us", "us of CPU/event", lower, nil},
		{"supervise_restart_us", "us of CPU/restart", lower, nil},
		{"supervise_restart_allocs", "allocations/restart", lower, nil},
		{"supervise_steady_allocs", "allocations/call", lower, nil},
	}
}

var errWorker = errors.New("worker failed")

// storm makes workers fail as fast as they are started again, until n failures
// were reported, and returns how many events were.
type storm func(ctx context.Context, n int) (events int64, err error)

// measureSupervision takes what a supervisor costs: for each event that it
// reports while workers fail, and while all is well.
func measureSupervision(ctx context.Context, b *bench) error {
	n := b.pick(50_000, 5000)
	measure := func(s storm) func(string) error {
		return func(column string) error { return b.measureStorm(ctx, column, n, s) }
	}
	err := b.interleave([]turn{
		{ours, measure(stormOurs)},
		{suturePeer, measure(stormSuture)},
	}, func() error {
		_, ourErr := stormOurs(ctx, n/10)
		_, theirErr := stormSuture(ctx, n/10)
		return errors.Join(ourErr, theirErr)
	})
	return errors.Join(err, b.measureSteady(ctx))
}

func (b *bench) measureStorm(ctx context.Context, column string, n int, s storm) error {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begun, err := ownCPU()
	if err != nil {
		return err
	}
	events, err := s(ctx, n)
	if err != nil {
		return err
	}
	ended, err := ownCPU()
	runtime.ReadMemStats(&after)
	ran := float64((ended - begun).Microseconds())
	b.table.sample("supervise_event_us", column, ran/float64(events))
	b.table.sample("supervise_restart_us", column, ran/float64(n))
	b.table.sample("supervise_restart_allocs", column, float64(after.Mallocs-before.Mallocs)/float64(n))
	return err
}

// ownCPU is the processor time that this process has used.
func ownCPU() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("read own run time: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// paced lets workers fail no faster than failures are told, and is the same for
// every supervisor.
type paced struct {
	permits chan struct{}
	left    atomic.Int64
	enough  chan struct{} // closed when the last failure was told
}

func newPaced(n int) *paced {
	p := &paced{permits: make(chan struct{}, untold), enough: make(chan struct{})}
	p.left.Store(int64(n))
	for range untold {
		p.permits <- struct{}{}
	}
	return p
}

func (p *paced) fail(ctx context.Context) error {
	select {
	case <-p.permits:
		return errWorker
	case <-ctx.Done():
		return nil
	}
}

// told is called for each failure that a supervisor reports.
func (p *paced) told() {
	switch left := p.left.Add(-1); {
	case left > 0:
		p.permits <- struct{}{}
	case left == 0:
		close(p.enough)
	}
}

func (p *paced) wait(ctx context.Context) error {
	select {
	case <-p.enough:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stormOurs counts every move of every worker: started, ready, failed.
func stormOurs(ctx context.Context, n int) (int64, error) {
	var events atomic.Int64
	storm := newPaced(n)
	supervisor := supervise.New(supervise.Config{OnEvent: func(e supervise.Event) {
		events.Add(1)
		if e.Err != nil {
			storm.told()
		}
	}})
	spec := supervise.Spec{Worker: supervise.WorkerFunc(storm.fail), Policy: supervise.Policy{Base: 1, Cap: 1}}
	for i := range stormWorkers {
		spec.Name = fmt.Sprintf("worker-%d", i)
		if err := supervisor.Start(ctx, spec); err != nil {
			return 0, errors.Join(err, supervisor.Stop(ctx))
		}
	}
	err := storm.wait(ctx)
	told := events.Load()
	if dropped := supervisor.DroppedEvents(); err == nil && dropped > 0 {
		err = fmt.Errorf("%d of %d events were dropped", dropped, told)
	}
	return told, errors.Join(err, supervisor.Stop(ctx))
}
