package embedded_test

import (
	"context"
	"fmt"

	"github.com/esper-lite/weatherlight/oona/embedded"
)

// Example runs a bus in the process; whatever takes the address of a Redis takes this one.
func Example() {
	bus, err := embedded.Start(embedded.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bus.Close()
	ctx, stop := context.WithCancel(context.Background())
	clock := make(chan error)
	go func() { clock <- bus.Run(ctx) }() // without it no key expires
	fmt.Println(bus.URL() == "redis://"+bus.Addr()+"/0")
	stop()
	fmt.Println(<-clock)
	// Output:
	// true
	// <nil>
}
