package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

// second is another instance on the same Redis, with a folder of its own.
func (w *world) second() *world {
	w.t.Helper()
	return &world{
		t: w.t, redis: w.redis, bus: w.bus, folder: w.t.TempDir(),
		environ: append(slices.Clip(w.environ), "WEATHERLIGHT_INSTANCE=second"),
	}
}

// TestRollingStopLosesNothing stops one of two instances in the middle of a
// burst. The other has to answer the rest by itself, and soon: what the stopped
// one still held nobody would look at for a minute.
func TestRollingStopLosesNothing(t *testing.T) {
	begin(t)
	first := newWorld(t, redistest.AOF()...)
	first.bootForged()
	other := first.second()
	other.bootForged()
	for round, leaving := range []*world{first, other, first} {
		before := first.bus.length(streamReady)
		load := startLoad(first, "rolling", round)
		eventually(t, "the load is being answered", patience, func() bool { return first.bus.length(streamReady) > before+300 })
		took(t, "rolling restart", fmt.Sprintf("round %d: signal under load to exit 0", round+1), leaving.stop(), stopBound)
		sent := load.end(t)
		ids := make([]string, len(sent))
		for i, one := range sent {
			ids[i] = one.request
		}
		first.settled(streamRequests, patience)
		lost, duplicated := first.mustBeAnsweredOnce(ids)
		t.Logf("round %d: %d requests, lost %d, duplicated %d", round, len(ids), lost, duplicated)
		began := time.Now()
		leaving.boot()
		took(t, "rolling restart", fmt.Sprintf("round %d: launch to ready", round+1), time.Since(began), 0)
	}
	if n := first.bus.length(streamDeadLetter); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	first.stop()
	other.stop()
}
