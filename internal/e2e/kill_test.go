package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

const (
	burst      = 1000
	killPoints = 5
)

// TestKillInABurstLosesAndDoublesNothing kills the service when it has answered
// part of a burst, somewhere else each time.
func TestKillInABurstLosesAndDoublesNothing(t *testing.T) {
	begin(t)
	w := newWorld(t, redistest.AOF()...)
	w.bootForged()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	partial := 0
	for point := range killPoints {
		// The first kill comes as soon as anything was answered.
		after := point * (1 + random.IntN(burst/killPoints))
		ids, commands := burstOf(fmt.Sprintf("kill-%d", point), burst)
		answered := w.killAfter(after, commands)
		if answered > 0 && answered < burst {
			partial++
		}
		killed := time.Now()
		w.boot()
		w.settled(streamRequests, patience)
		took(t, "SIGKILL", fmt.Sprintf("launch to all of %d answered", burst), time.Since(killed), 0)
		lost, duplicated := w.mustBeAnsweredOnce(ids)
		t.Logf("kill %d: wanted at %d, answered by then %d of %d, lost %d, duplicated %d",
			point, after, answered, burst, lost, duplicated)
	}
	if partial == 0 {
		t.Error("no kill fell into a burst")
	}
	if n := w.bus.length(streamDeadLetter); n != 0 {
		t.Errorf("%d dead letters: %v", n, w.bus.entries(streamDeadLetter)[0].fields["reason"])
	}
}

// burstOf makes requests, each tenth for a blueprint that is missing.
func burstOf(name string, size int) (ids []string, commands [][]string) {
	for i := range size {
		id, blueprint := fmt.Sprintf("%s-%04d", name, i), compiled
		if i%10 == 9 {
			blueprint = missing
		}
		ids = append(ids, id)
		commands = append(commands, requestCommand(id, blueprint))
	}
	return ids, commands
}

// killAfter sends the requests and kills the service once more than that many
// answers have come. It returns how many had come when it was dead.
func (w *world) killAfter(after int, commands [][]string) (answered int) {
	w.t.Helper()
	count := func() int { return w.bus.length(streamReady) + w.bus.length(streamErrors) }
	before := count()
	sent := make(chan error, 1)
	sender := newRedisClient(w.t, w.redis.Addr)
	go func() {
		_, err := sender.pipeline(commands)
		sent <- err
	}()
	for count() <= before+after && w.process.running() { //nolint:revive // as fast as it can, to hit the moment
	}
	w.process.kill()
	if err := <-sent; err != nil {
		w.t.Fatalf("send burst: %v", err)
	}
	return count() - before
}
