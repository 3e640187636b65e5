package simtest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight"
)

// maxAlike bounds how often a report says the same of one kind of thing.
const maxAlike = 5

// book collects what the auditors of all processes of a scenario found.
type book struct {
	mu         sync.Mutex
	violations []string
	alike      map[string]int // violations by form
	begun      time.Time
	ratios     spread
	acked      map[string]map[string]bool // what the bus acknowledged, by stream
	counts     Counts
	digest     uint64
}

// Counts say how much a scenario put to the test.
type Counts struct {
	Boots, FailedBoots, Kills, Interrupts         int
	Starts, Failures, Panics, Degraded, Recovered int
	Abandoned, Overruns, Events, Outages          int
	Messages, Answers, Buried                     int
}

// spread watches how delays lie within their range: 0.5 to 1 of the longest.
type spread struct {
	n   int
	sum float64
}

func newBook() *book {
	return &book{begun: time.Now(), alike: make(map[string]int), acked: make(map[string]map[string]bool)}
}

func (b *book) violate(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.violateLocked(format, args...)
}

func (b *book) violateLocked(format string, args ...any) {
	if b.alike[format]++; b.alike[format] <= maxAlike {
		at := time.Since(b.begun).Round(time.Millisecond)
		b.violations = append(b.violations, fmt.Sprintf("%v: ", at)+fmt.Sprintf(format, args...))
	}
}

func (b *book) acknowledged(stream, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.acked[stream] == nil {
		b.acked[stream] = make(map[string]bool)
	}
	b.acked[stream][name] = true
}

// auditor follows one process.
type auditor struct {
	*book
	records     map[string]*record
	started     []string // workers, in the order of their first start
	orderly     bool     // a stop is under way, and nobody is hurried
	interrupted bool     // the order of a stop is off
	slow        int      // workers that made the stop wait
	abandoned   []string
	overran     []string // boot steps
}

// record is what the auditor knows of one worker.
type record struct {
	model
	name       string
	finite     bool
	state      supervise.State
	last       supervise.Event
	begun      int // starts that were told
	readyAt    time.Time
	dueAt      time.Time // of the next start
	stoppingAt time.Time

	// What its body says.
	runs, ends int
	deafUntil  time.Time
	lingering  bool // heeds only its work context
	digest     uint64
}

func newAuditor(b *book, steps []weatherlight.Step) *auditor {
	a := &auditor{book: b, records: make(map[string]*record)}
	for _, step := range steps {
		for _, w := range step.Workers {
			a.records[w.Name] = &record{name: w.Name, finite: w.Finite}
		}
	}
	return a
}

// began and ended are what a worker's body tells.
func (a *auditor) began(worker string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.records[worker]
	if r.runs != r.ends {
		a.violateLocked("%s: started while it runs", worker)
	}
	r.runs++
	r.lingering = false
}

func (a *auditor) ended(worker string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.records[worker]
	r.ends++
	r.deafUntil = time.Time{}
}

func (a *auditor) lingers(worker string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.records[worker].lingering = true
}

func (a *auditor) deaf(worker string, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.records[worker].deafUntil = until
}

// event is the supervisor's hook.
func (a *auditor) event(e supervise.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.records[e.Worker]
	if r == nil {
		a.violateLocked("event of an unknown worker %q", e.Worker)
		return
	}
	a.counts.Events++
	a.chain(r, e)
	a.consequences(r, e)
	r.state, r.last = e.To, e
	r.digest = mix(r.digest, uint64(e.Time.UnixNano()), uint64(e.To), uint64(e.Delay), uint64(e.Restarts))
}

// chain checks that an event follows the one before: nothing is lost, nothing is illegal.
func (a *auditor) chain(r *record, e supervise.Event) {
	if e.From != r.state {
		a.violateLocked("%s: an event is lost: %s before a move from %s", r.name, r.state, e.From)
	}
	if !slices.Contains(transitions[e.From], e.To) {
		a.violateLocked("%s: illegal move from %s to %s (%v)", r.name, e.From, e.To, e.Err)
	}
	if e.Time.Before(r.last.Time) {
		a.violateLocked("%s: event %s is told after a later one", r.name, e.To)
	}
}

func (a *auditor) consequences(r *record, e supervise.Event) {
	switch e.To {
	case supervise.Starting:
		a.starting(r, e)
	case supervise.Running:
		a.running(r, e)
	case supervise.BackingOff, supervise.Degraded:
		a.failed(r, e)
	case supervise.Stopping:
		a.stopping(r, e)
	case supervise.Stopped, supervise.Abandoned:
		a.settled(r, e)
	case supervise.Finished:
		if !r.finite || e.Err != nil {
			a.violateLocked("%s: finished with %v", r.name, e.Err)
		}
	case supervise.Failed:
		if !supervise.IsPermanent(e.Err) && !supervise.IsFatal(e.Err) {
			a.violateLocked("%s: left down by %v", r.name, e.Err)
		}
		r.fail(e.Time)
	}
}

func (a *auditor) starting(r *record, e supervise.Event) {
	a.counts.Starts++
	if r.begun++; r.begun == 1 {
		a.started = append(a.started, r.name)
	} else if !e.Time.Equal(r.dueAt) {
		a.violateLocked("%s: started %v after its delay was over", r.name, e.Time.Sub(r.dueAt))
	}
	if e.Restarts != r.begun-1 {
		a.violateLocked("%s: %d restarts are told after %d starts", r.name, e.Restarts, r.begun)
	}
	if err := r.begin(e.Time); err != nil {
		a.violateLocked("%s: %v", r.name, err)
	}
	a.circuit(r, e)
}

func (a *auditor) circuit(r *record, e supervise.Event) {
	if e.Circuit != r.circuit {
		a.violateLocked("%s: circuit is %s, expected %s", r.name, e.Circuit, r.circuit)
	}
}

func (a *auditor) running(r *record, e supervise.Event) {
	if e.From != supervise.Running {
		r.readyAt = e.Time
		return
	}
	a.counts.Recovered++
	if healthy := e.Time.Sub(r.readyAt); healthy != healthyAfter || r.streak == 0 {
		a.violateLocked("%s: recovered after %v, streak %d", r.name, healthy, r.streak)
	}
	r.recover()
	a.circuit(r, e)
}

// failed checks what the policy made of a failure.
func (a *auditor) failed(r *record, e supervise.Event) {
	a.counts.Failures++
	if e.From == supervise.Running && e.Time.Sub(r.readyAt) >= healthyAfter {
		if r.streak > 0 {
			a.violateLocked("%s: was healthy for %v and is not recovered", r.name, e.Time.Sub(r.readyAt))
		}
		r.recover()
	}
	longest := r.fail(e.Time)
	if e.Delay < longest/2 || e.Delay > longest {
		a.violateLocked("%s: delay %v after failure %d in a row, expected %v to %v",
			r.name, e.Delay, r.streak, longest/2, longest)
	}
	a.ratios.n++
	a.ratios.sum += float64(e.Delay) / float64(longest)
	if degraded := r.circuit == supervise.Open; degraded != (e.To == supervise.Degraded) {
		a.violateLocked("%s: %s with %d failures in %v", r.name, e.To, len(r.failures), budgetWindow)
	}
	if e.To == supervise.Degraded {
		a.counts.Degraded++
	}
	a.circuit(r, e)
	a.reason(r, e)
	r.dueAt = e.Time.Add(e.Delay)
}

func (a *auditor) reason(r *record, e supervise.Event) {
	_, thrown := errors.AsType[*supervise.PanicError](e.Err)
	if thrown {
		a.counts.Panics++
	}
	if supervise.IsPermanent(e.Err) || supervise.IsFatal(e.Err) {
		a.violateLocked("%s: is to start again after %v, which no start can help", r.name, e.Err)
	}
	if e.Err == nil || thrown != (len(e.Stack) > 0) {
		a.violateLocked("%s: failed with %v and a stack of %d bytes", r.name, e.Err, len(e.Stack))
	}
}

func mix(h uint64, words ...uint64) uint64 {
	for _, word := range words {
		h = (h ^ word) * 1099511628211
		h ^= h >> 29
	}
	return h
}
