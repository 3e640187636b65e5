package simtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/weatherlight"
)

// Scenario is what one run is made from. The same scenario gives the same run.
type Scenario struct {
	Seed    uint64
	Hours   int // simulated, at least 2: the last is calm
	Steps   []weatherlight.Step
	Bus     *Bus // empty
	Defects Defects
}

// Report is what came of a run.
type Report struct {
	Violations []string
	Counts     Counts
	Digest     uint64 // of every event of every worker, with its time
}

// How rough the world is. A day of it brings each worker some tens of restarts, and the bus some thousand messages.
const (
	calmEnd       = 45 * time.Minute // at the end, in which all must be settled
	riskOfCall    = 0.005
	riskOfHandler = 0.05
	idlePeriod    = 15 * time.Minute
	lifeOfProcess = 90 * time.Minute
	pauseToBoot   = 20 * time.Second
	outageEvery   = 2 * time.Hour
	outageLength  = 2 * time.Minute
	clockEvery    = 3 * time.Hour
	clockJump     = 20 * time.Minute
	inspectEvery  = 20 * time.Minute
)

// publishEvery is how often peers publish on the streams that they publish on.
func publishEvery(stream string) time.Duration {
	switch stream {
	case "kernel_requests", "normal":
		return 3 * time.Minute
	case "kernel_ready", "kernel_errors", "":
		return 0
	}
	return 12 * time.Minute
}

type world struct {
	*book
	scenario Scenario
	steps    []weatherlight.Step
	bus      *Bus
	rng      *rand.Rand
	rough    time.Time // until when things go wrong
	peers    sync.WaitGroup
}

// Simulate runs a scenario. It must be called in a bubble of its own, its bus be made outside of it.
func Simulate(s Scenario) Report {
	w := &world{book: newBook(), scenario: s, steps: s.Steps, bus: s.Bus, rng: newRand(s.Seed, "world")}
	w.bus.defects = s.Defects
	script, err := s.Defects.commit(s.Bus.script)
	if err != nil {
		w.violate("the defect cannot be built in: %v", err)
	}
	w.bus.script = script
	w.rough = w.begun.Add(time.Duration(s.Hours)*time.Hour - calmEnd)
	w.peers.Go(w.outages)
	w.peers.Go(w.clock)
	for _, step := range s.Steps {
		for _, def := range step.Workers {
			if every := publishEvery(def.Stream); every > 0 {
				w.peers.Go(func() { w.publisher(def.Stream, every) })
			}
		}
	}
	w.live()
	return w.report()
}

// live boots the process again and again until the rough time is over, and then once more for the calm.
func (w *world) live() {
	number := 0
	for ; time.Now().Before(w.rough); number++ {
		w.life(newProcess(w, number, false))
		waitUntil(time.Now().Add(draw(w.rng, pauseToBoot)), nil, nil, nil)
	}
	w.peers.Wait()
	last := newProcess(w, number, true)
	booted := last.boot()
	w.counts.Boots++
	if booted == nil {
		w.violate("the calm boot failed")
		return
	}
	waitUntil(w.rough.Add(calmEnd), nil, nil, nil)
	last.inspect()
	w.settledAll()
	last.end(booted, stopped)
}

// life is one process.
func (w *world) life(p *process) {
	booted := p.boot()
	if w.counts.Boots++; booted == nil {
		w.counts.FailedBoots++
		return
	}
	end := earlier(time.Now().Add(draw(w.rng, lifeOfProcess)), w.rough)
	for alive := true; alive && time.Now().Before(end); {
		at := earlier(time.Now().Add(draw(w.rng, inspectEvery)), end)
		alive = w.awaitFatal(p, at) == nil
		p.inspect()
	}
	how := ending(max(0, w.rng.IntN(6)-3))
	switch how {
	case killed:
		w.counts.Kills++
	case interrupted:
		w.counts.Interrupts++
	}
	p.end(booted, how)
}

// awaitFatal waits until a time, or until a worker wants the process to end: then it returns why.
func (w *world) awaitFatal(p *process, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case err := <-p.supervisor.Fatal():
		return err
	case <-timer.C:
		return nil
	}
}

// pause waits for a drawn time, and reports whether the rough time goes on.
func (w *world) pause(rng *rand.Rand, mean time.Duration) bool {
	waitUntil(earlier(time.Now().Add(draw(rng, mean)), w.rough), nil, nil, nil)
	return time.Now().Before(w.rough)
}

func (w *world) outages() {
	rng := newRand(w.scenario.Seed, "outages")
	for w.pause(rng, outageEvery) {
		w.bus.SetDown(true)
		w.pause(rng, outageLength)
		w.bus.SetDown(false)
		w.mu.Lock()
		w.counts.Outages++
		w.mu.Unlock()
	}
}

func (w *world) clock() {
	rng := newRand(w.scenario.Seed, "clock")
	for w.pause(rng, clockEvery) {
		jump := draw(rng, clockJump)
		if rng.IntN(2) == 0 {
			jump = -jump
		}
		w.bus.MoveClock(jump)
	}
}

// publisher is a peer on another host. It publishes until it was told that the bus has it, and sometimes once more.
func (w *world) publisher(stream string, every time.Duration) {
	rng := newRand(w.scenario.Seed, "publisher", stream)
	c := &conn{bus: w.bus, session: newSession(), rng: rng, risk: riskOfCall}
	for n := 1; w.pause(rng, every); n++ {
		m := Message{Stream: stream, Name: stream + "-" + strconv.Itoa(n)}
		for c.publish(m) != nil {
			waitUntil(time.Now().Add(draw(rng, 5*time.Second)), nil, nil, nil)
		}
		w.acknowledged(stream, m.Name)
		if rng.IntN(20) == 0 {
			_ = c.publish(m) // whether it is there once or twice must make no difference
		}
	}
}

func (w *world) report() Report {
	if mean := w.ratios.sum / float64(w.ratios.n); w.ratios.n >= 400 && math.Abs(mean-0.75) > 0.05 {
		w.violate("delays lie at %.2f of their longest, expected half jitter: 0.75", mean)
	}
	return Report{Violations: slices.Clone(w.violations), Counts: w.counts, Digest: w.digest}
}

func (r Report) String() string {
	return strings.Join(append([]string{fmt.Sprintf("%+v", r.Counts)}, r.Violations...), "\n  ")
}
