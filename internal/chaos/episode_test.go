package chaos_test

import (
	"context"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// TestReadOnlyRedisDoesNotFloodTheLog: a replica lists what is pending and
// refuses to be read, over and over; an operator is told once.
func TestReadOnlyRedisDoesNotFloodTheLog(t *testing.T) {
	t.Parallel()
	s := newStage(t, fault{})
	flow := startTraffic(t, s.server.URL, s.redis)
	flow.awaitEffect(time.Now())
	flow.stop()
	flow.publishing.Wait()
	awaitQuiet(s.redis) // nothing is pending, so listing it works
	s.must("REPLICAOF", "127.0.0.1", "1")
	pause(context.Background(), 2*time.Second)
	state := flow.consumer.Health().ConsumeState
	s.must("REPLICAOF", "NO", "ONE")
	healed := time.Now()
	s.probe()
	flow.awaitEffect(healed)
	if lines := flow.consumerLines.Load(); lines > maxLines {
		t.Errorf("%d log lines in one episode", lines)
	}
	if state != leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN {
		t.Errorf("while nothing could be read the reading side was %s", state)
	}
}
