package supervise

import (
	"context"
	"sync"
	"testing"
)

// What a process does all the time while nothing fails must not feed the garbage collector.
func TestSteadyPathAllocatesNothing(t *testing.T) {
	inRun := make(chan context.Context, 1)
	s := New(Config{})
	err := s.Start(t.Context(), Spec{Name: "w", AwaitReady: true, Worker: WorkerFunc(func(ctx context.Context) error {
		Ready(ctx)
		inRun <- ctx
		<-ctx.Done()
		return nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, table := <-inRun, make([]Status, 0, 1)
	for name, call := range map[string]func(){
		"Ready":        func() { Ready(ctx) },
		"Work":         func() { Work(ctx) },
		"AppendStatus": func() { table = s.AppendStatus(table[:0]) },
		"Alive":        func() { s.Alive(t.Context()) },
	} {
		if allocations := testing.AllocsPerRun(100, call); allocations > 0 {
			t.Errorf("%s allocates %v times", name, allocations)
		}
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEventAllocatesNothing(t *testing.T) {
	var told sync.WaitGroup
	var events stream
	events.init(func(Event) { told.Done() })
	_, unsubscribe := events.subscribe(1) // full after the first
	defer unsubscribe()
	allocations := testing.AllocsPerRun(1000, func() {
		told.Add(1)
		events.publish(Event{Worker: "w", From: Running, To: Running})
		told.Wait()
	})
	if allocations > 0 {
		t.Errorf("an event allocates %v times", allocations)
	}
	<-events.told()
}
