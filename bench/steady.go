package main

import (
	"context"
	"testing"

	"github.com/esper-lite/weatherlight/supervise"
)

// measureSteady counts what a supervisor allocates while nothing fails: for the
// calls of a running worker, a look at all of them, and a sign of life.
func (b *bench) measureSteady(ctx context.Context) error {
	if !b.table.wants("supervise_steady_allocs") {
		return nil
	}
	inRun := make(chan context.Context, 1)
	supervisor := supervise.New(supervise.Config{})
	err := supervisor.Start(ctx, supervise.Spec{
		Name: "worker", AwaitReady: true,
		Worker: supervise.WorkerFunc(func(ctx context.Context) error {
			supervise.Ready(ctx)
			inRun <- ctx
			<-ctx.Done()
			return nil
		}),
	})
	if err != nil {
		return err
	}
	run, table := <-inRun, []supervise.Status(nil)
	for range b.runs {
		b.table.sample("supervise_steady_allocs", ours, testing.AllocsPerRun(1000, func() {
			supervise.Ready(run)
			_ = supervise.Work(run)
			table = supervisor.AppendStatus(table[:0])
			_ = supervisor.Alive(ctx)
		}))
	}
	return supervisor.Stop(ctx)
}
