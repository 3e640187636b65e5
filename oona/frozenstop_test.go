package oona_test

import (
	"context"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona"
)

// A commit to a server that is silent took its whole time after the work was to end: whoever
// waited for less called the consumer one that does not stop.
func TestStopDoesNotWaitForASilentServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	t.Cleanup(server.Thaw)
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.DialTimeout = 5 * soon })
	publishStates(t, c, 1)
	begun, frozen := make(chan struct{}), make(chan struct{})
	work, end := context.WithCancel(t.Context())
	defer end()
	ended := make(chan error, 1)
	go func() {
		ended <- c.Consume(work, work, oona.Subscription{Stream: "oona.normal", Handlers: stateHandlers(
			func(string) error {
				close(begun)
				<-frozen
				return nil
			})})
	}()
	<-begun
	server.Freeze()
	close(frozen)
	// Nothing tells that the commit has been sent; one that has not is given up all the same.
	<-time.After(200 * time.Millisecond)
	end()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(soon):
		t.Error("it waits for the server")
		server.Thaw()
		<-ended
	}
}
