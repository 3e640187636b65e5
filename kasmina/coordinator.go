package kasmina

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
)

const (
	prefetchAttempts   = 2 // the request and one more with a new id
	publishRetry       = time.Second
	maxPrefetchTimeout = time.Minute
	latencyMargin      = 4 // timeout in units of the smoothed latency
)

// Ends of a prefetch request, as the requests_total metric names them.
const (
	prefetchScheduled = "scheduled"
	prefetchReady     = "ready"
	prefetchError     = "error"
	prefetchTimeout   = "timeout"
	prefetchCanceled  = "canceled"
)

// prefetch is one seed's wait for its kernel, over all of its requests: an
// answer to any of them is an answer as long as the seed waits.
type prefetch struct {
	seedID, blueprintID, runID string

	ids      []string
	attempts int
	deadline time.Time
	resend   time.Time // when to publish again after a failure to; zero: no need
	loading  bool      // an answer has come and its artifact is being read
}

// issuedRequest is one request that may still be answered.
type issuedRequest struct {
	prefetch *prefetch
	issued   time.Time
}

// coordinator is the table of kernel prefetches. It does no I/O of its own and
// belongs to the owner goroutine, but for what requestTable says.
type coordinator struct {
	base     time.Duration
	requests requestTable
	waiting  []*prefetch

	counts   map[string]int64
	unknown  atomic.Int64 // answers to nobody's request
	total    time.Duration
	answers  int64
	last     time.Duration
	smoothed time.Duration
}

func newCoordinator(base time.Duration) *coordinator {
	return &coordinator{base: base, requests: newRequestTable(), counts: make(map[string]int64)}
}

// begin enters a wait into the table; its first request is still to be issued.
func (c *coordinator) begin(seedID, blueprintID, runID string) *prefetch {
	p := &prefetch{seedID: seedID, blueprintID: blueprintID, runID: runID}
	c.waiting = append(c.waiting, p)
	return p
}

// attempt issues a request and gives it a deadline of its own.
func (c *coordinator) attempt(p *prefetch, now time.Time) *leyline.KernelPrefetchRequest {
	p.attempts++
	p.deadline = now.Add(c.timeout())
	return c.issue(p, now)
}

// issue registers a new request, which may be published from then on: an
// answer cannot come before it is known.
func (c *coordinator) issue(p *prefetch, now time.Time) *leyline.KernelPrefetchRequest {
	id := "prefetch-" + uuid.NewString()
	p.ids = append(p.ids, id)
	p.resend = time.Time{}
	c.requests.put(id, issuedRequest{prefetch: p, issued: now})
	c.counts[prefetchScheduled]++
	return &leyline.KernelPrefetchRequest{
		RequestId:     id,
		BlueprintId:   p.blueprintID,
		TrainingRunId: p.runID,
		IssuedAt:      timestamppb.New(now),
	}
}

// withdraw rolls back a request that could not be published and plans another.
func (c *coordinator) withdraw(id string, now time.Time) {
	request, ok := c.requests.get(id)
	if !ok {
		return
	}
	c.requests.remove(id)
	p := request.prefetch
	p.ids = slices.DeleteFunc(p.ids, func(known string) bool { return known == id })
	p.resend = now.Add(publishRetry)
	c.counts[prefetchCanceled]++
}

// lookup finds the request an answer belongs to.
func (c *coordinator) lookup(id string) (issuedRequest, bool) {
	request, ok := c.requests.get(id)
	if !ok {
		c.unknown.Add(1)
	}
	return request, ok
}

// answered counts an answer and lets the timeout follow the latency.
func (c *coordinator) answered(request issuedRequest, status string, now time.Time) {
	c.counts[status]++
	c.last = now.Sub(request.issued)
	c.total += c.last
	c.answers++
	if c.smoothed == 0 {
		c.smoothed = c.last
	}
	c.smoothed += (c.last - c.smoothed) / 8
}

// end takes a wait out of the table with all of its requests.
func (c *coordinator) end(p *prefetch) {
	for _, id := range p.ids {
		c.requests.remove(id)
	}
	c.waiting = slices.DeleteFunc(c.waiting, func(other *prefetch) bool { return other == p })
}

// expired are the waits whose deadline has passed. One whose artifact is being
// read has had its answer.
func (c *coordinator) expired(now time.Time) []*prefetch {
	return c.where(func(p *prefetch) bool { return !p.loading && !now.Before(p.deadline) })
}

// unsent are the waits whose request is to be published again.
func (c *coordinator) unsent(now time.Time) []*prefetch {
	return c.where(func(p *prefetch) bool { return !p.resend.IsZero() && !now.Before(p.resend) })
}

func (c *coordinator) where(wanted func(*prefetch) bool) []*prefetch {
	var selected []*prefetch
	for _, p := range c.waiting {
		if wanted(p) {
			selected = append(selected, p)
		}
	}
	return selected
}

// timeout is the base, or more when answers are known to take long.
func (c *coordinator) timeout() time.Duration {
	return min(max(c.base, latencyMargin*c.smoothed), max(c.base, maxPrefetchTimeout))
}

func (c *coordinator) meanLatency() time.Duration {
	if c.answers == 0 {
		return 0
	}
	return c.total / time.Duration(c.answers)
}
