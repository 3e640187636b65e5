package supervise_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/supervise"
)

// A consumer takes messages while its context lives, and finishes the one in hand on the work context.
func ExampleWork() {
	messages := make(chan string, 1)
	messages <- "request 1"
	handled := make(chan string)
	consumer := func(ctx context.Context) error {
		supervise.Ready(ctx)
		for {
			select {
			case m := <-messages:
				work := supervise.Work(ctx) // not ctx: a stop lets this message finish
				handled <- fmt.Sprintf("%s handled, work context: %v", m, work.Err())
			case <-ctx.Done():
				return nil
			}
		}
	}
	s := supervise.New(supervise.Config{})
	err := s.Start(context.Background(), supervise.Spec{
		Name: "consumer", Worker: supervise.WorkerFunc(consumer), AwaitReady: true,
	})
	fmt.Println("start:", err)
	fmt.Println(<-handled)
	fmt.Println("stop:", s.Stop(context.Background()))
	fmt.Println(s.Status()[0].State)
	// Output:
	// start: <nil>
	// request 1 handled, work context: <nil>
	// stop: <nil>
	// stopped
}

// The boot list is read from top to bottom; a stop, and a boot that fails, go from the bottom up.
func ExampleBoot() {
	say := func(what string) func(context.Context) error {
		return func(context.Context) error {
			fmt.Println(what)
			return nil
		}
	}
	steps := []supervise.Step{
		{Name: "bus", Start: say("connect"), Stop: say("close")},
		{Name: "library", Start: say("open"), Stop: say("shut")},
		{Name: "consumer", Start: func(context.Context) error { return errors.New("no such group") }},
	}
	_, err := supervise.Boot(context.Background(), steps, nil)
	fmt.Println(err)

	booted, err := supervise.Boot(context.Background(), steps[:2], nil)
	fmt.Println("up:", err)
	fmt.Println("down:", booted.Stop(context.Background()))
	// Output:
	// connect
	// open
	// shut
	// close
	// boot step "consumer": no such group
	// connect
	// open
	// up: <nil>
	// shut
	// close
	// down: <nil>
}
