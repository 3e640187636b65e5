package weatherlight

import (
	"context"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/weatherlight/internal/storewatch"
)

const (
	// huntAfter is how long a hunt waits after somebody opened a segment, who may map
	// it a moment later: a hunt before that would find the others alone. It is also
	// how long a process may take to be forked, see [storewatch.Find].
	huntAfter = time.Second
	// huntEvery is the longest pause between two hunts.
	huntEvery = time.Minute
	// huntShare is how much longer than a hunt the pause before the next one is: each
	// reads the mappings of every process.
	huntShare = 50
)

// hunt looks for those who write to a segment, beside the poller: a machine may
// have thousands of processes. The zero value has not begun.
type hunt struct {
	next    time.Time // when it may begin; zero is not known yet
	pause   time.Duration
	took    time.Duration // the last one
	running chan caught   // nil while none runs
	stop    context.CancelFunc
}

// caught is what a hunt ended with: the one or the other.
type caught struct {
	stores  *storewatch.Watch
	failure error
	took    time.Duration
}

// hunts are the hunts for the writers of one segment.
type hunts struct {
	file    storewatch.File
	forking time.Duration // how long a process may take to be forked
	running sync.WaitGroup
}

// step begins a hunt when it is time, and returns what one has caught, or why it
// caught nobody, once. The caller closes it.
func (h *hunt) step(now time.Time, all *hunts) (*storewatch.Watch, error) {
	switch {
	case h.next.IsZero():
		h.wait(now, huntAfter)
	case h.running != nil:
		return h.look(now)
	case !now.Before(h.next):
		h.begin(all)
	}
	return nil, nil
}

func (h *hunt) wait(now time.Time, pause time.Duration) {
	h.pause = min(max(pause, huntShare*h.took), huntEvery)
	h.next = now.Add(h.pause)
}

// rest puts the next hunt off for as long as that may be.
func (h *hunt) rest(now time.Time) { h.wait(now, huntEvery) }

func (h *hunt) begin(all *hunts) {
	// The segment ends it, when it is detached or somebody else comes.
	ctx, stop := context.WithCancel(context.Background())
	running := make(chan caught)
	h.running, h.stop = running, stop
	file, forking := all.file, all.forking
	all.running.Go(func() {
		begun := time.Now()
		stores, err := storewatch.Find(ctx, file, forking)
		select {
		case running <- caught{stores, err, time.Since(begun) - forking}:
		case <-ctx.Done():
			if stores != nil {
				_ = stores.Close() // nobody is left to tell
			}
		}
	})
}

// look takes what was caught, when the hunt is over.
func (h *hunt) look(now time.Time) (*storewatch.Watch, error) {
	select {
	case end := <-h.running:
		h.stop()
		h.running, h.took = nil, end.took
		h.wait(now, 2*h.pause)
		return end.stores, end.failure
	default:
		return nil, nil
	}
}

// end ends a hunt that runs, without waiting for it. The next begins from the
// beginning.
func (h *hunt) end() {
	if h.running != nil {
		h.stop()
	}
	*h = hunt{took: h.took}
}
