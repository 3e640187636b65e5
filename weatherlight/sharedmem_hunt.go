package weatherlight

import (
	"context"
	"time"

	"github.com/esper-lite/weatherlight/weatherlight/internal/storewatch"
)

const (
	// huntAfter is how long a hunt waits after somebody opened a segment, who may map
	// it a moment later: a hunt before that would find the others alone.
	huntAfter = time.Second
	// huntEvery is the longest pause between two hunts of which the first found
	// nobody, was refused or of no use: each reads the mappings of every process.
	huntEvery = time.Minute
)

// hunt looks for those who write to a segment, beside the poller: a machine may
// have thousands of processes. The zero value has not begun.
type hunt struct {
	next    time.Time // when it may begin; zero is not known yet
	pause   time.Duration
	running chan caught // nil while none runs; closed at its end
	stop    context.CancelFunc
	failure error // why the last one caught nobody
}

// caught is what a hunt ended with: the one or the other.
type caught struct {
	stores  *storewatch.Watch
	failure error
}

// step begins a hunt when it is time, and returns what one has caught, once. The
// caller closes it.
func (h *hunt) step(now time.Time, file storewatch.File) *storewatch.Watch {
	switch {
	case h.next.IsZero():
		h.pause = huntAfter
		h.next = now.Add(h.pause)
	case h.running != nil:
		return h.look(now)
	case !now.Before(h.next):
		h.begin(file)
	}
	return nil
}

func (h *hunt) begin(file storewatch.File) {
	// The segment ends it, when it is detached or somebody else comes.
	ctx, stop := context.WithCancel(context.Background())
	running := make(chan caught, 1)
	h.running, h.stop = running, stop
	go func() {
		defer close(running)
		stores, err := storewatch.Find(ctx, file)
		running <- caught{stores, err}
	}()
}

// look takes what was caught, when the hunt is over.
func (h *hunt) look(now time.Time) *storewatch.Watch {
	select {
	case end := <-h.running:
		h.stop()
		h.running, h.failure = nil, end.failure
		h.pause = min(2*h.pause, huntEvery)
		h.next = now.Add(h.pause)
		return end.stores
	default:
		return nil
	}
}

// rest puts the next hunt off for as long as that may be.
func (h *hunt) rest(now time.Time, why error) {
	h.failure = why
	h.pause = huntEvery
	h.next = now.Add(h.pause)
}

// end waits for a hunt that runs and lets go of what it caught. The next begins
// from the beginning.
func (h *hunt) end() error {
	last := *h
	*h = hunt{}
	if last.running == nil {
		return nil
	}
	last.stop()
	if end := <-last.running; end.stores != nil {
		return end.stores.Close()
	}
	return nil
}
