package main

import (
	"context"
	"errors"
	"math"
	"sync/atomic"

	"github.com/thejerf/suture/v4"
)

// sutureService makes a function a service.
type sutureService func(context.Context) error

func (s sutureService) Serve(ctx context.Context) error { return s(ctx) }

func (sutureService) String() string { return "worker" }

// stormSuture counts the one event that suture reports for each failure.
func stormSuture(ctx context.Context, n int) (int64, error) {
	var events atomic.Int64
	storm := newPaced(n)
	supervisor := suture.New("bench", suture.Spec{
		FailureThreshold: math.MaxFloat64, // it never backs off
		EventHook: func(e suture.Event) {
			if e.Type() == suture.EventTypeServiceTerminate {
				events.Add(1)
				storm.told()
			}
		},
	})
	for range stormWorkers {
		supervisor.Add(sutureService(storm.fail))
	}
	ctx, stop := context.WithCancel(ctx)
	ended := supervisor.ServeBackground(ctx)
	err := storm.wait(ctx)
	told := events.Load()
	stop()
	if end := <-ended; !errors.Is(end, context.Canceled) {
		err = errors.Join(err, end)
	}
	return told, err
}
