package oona_test

import (
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona"
)

func TestConsumerThatMayNotReadIsNotReady(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	tell(t, server, "ACL", "SETUSER", "blind", "on", ">pw", "~*", "&*", "+@all", "-xreadgroup")
	c := connect(t, "redis://blind:pw@"+server.Addr+"/0", nil)
	ready := launch(t, c, oona.Subscription{Stream: "oona.normal"})
	waitFor(t, "a read is refused", func() bool {
		metrics, err := c.Metrics(t.Context())
		return err == nil && metrics["breaker_consume_open"] > 0
	})
	select {
	case <-ready:
		t.Fatal("a consumer that may not read says that it is ready")
	default:
	}
	tell(t, server, "ACL", "SETUSER", "blind", "+xreadgroup")
	<-ready
}
