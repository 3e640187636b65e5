package simtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight"
)

const (
	groupName   = "weatherlight"
	drainNotice = 50 * time.Millisecond
)

var errBoot = errors.New("injected boot failure")

// process is one life of the service, from boot to stop or kill.
type process struct {
	world      *world
	number     int
	calm       bool // nothing goes wrong any more
	rng        *rand.Rand
	audit      *auditor
	supervisor *supervise.Supervisor
	session    *session
	consumer   string
	strays     sync.WaitGroup
	tempers    map[string]*temper
	runs       map[string]int // by worker; each is touched by its own runs only, which follow one another
	failAt     int            // the boot step that fails, -1 for none

	up, down []string // steps that were started, and taken down
	trace    []string
}

func newProcess(w *world, number int, calm bool) *process {
	p := &process{
		world: w, number: number, calm: calm,
		rng:     newRand(w.scenario.Seed, "process", strconv.Itoa(number)),
		audit:   newAuditor(w.book, w.steps),
		session: newSession(), consumer: "weatherlight-1", failAt: -1,
		tempers: make(map[string]*temper), runs: make(map[string]int),
	}
	p.supervisor = supervise.New(supervise.Config{
		SoftStop: softStop, HardStop: hardStop, Rand: p.rng, OnEvent: w.scenario.Defects.hook(p.audit.event),
	})
	if p.rng.IntN(2) == 0 { // another host: its predecessor's pending entries are not its own
		p.consumer += "-" + strconv.Itoa(number)
	}
	if !calm && p.rng.IntN(8) == 0 {
		p.failAt = p.rng.IntN(len(w.steps))
	}
	for _, step := range w.steps {
		for _, def := range step.Workers {
			p.tempers[def.Name] = &temper{}
		}
	}
	return p
}

// boot brings the process up. It returns nil when the boot failed, rolled back by then.
func (p *process) boot() *supervise.Booted {
	ctx, cancel := context.WithTimeout(context.Background(), bootBound)
	defer cancel()
	begun := time.Now()
	booted, err := supervise.Boot(ctx, p.world.scenario.Defects.boot(p.steps()), func(t supervise.Trace) {
		p.trace = append(p.trace, t.Step)
	})
	synctest.Wait()
	p.audit.booted(p.world.steps, p.trace, err != nil)
	if err != nil {
		p.audit.stopped(p.up, p.down, err, time.Since(begun), bootBound+stopBound+stopGrace)
		p.exit()
		return nil
	}
	return booted
}

// steps are the service's boot steps, with made-up work.
func (p *process) steps() []supervise.Step {
	steps := make([]supervise.Step, len(p.world.steps))
	for i, step := range p.world.steps {
		steps[i] = supervise.Step{
			Name:  step.Name,
			Start: func(ctx context.Context) error { return p.start(ctx, i, step) },
			Stop:  func(ctx context.Context) error { return p.stop(ctx, i, step) },
		}
	}
	return steps
}

func (p *process) start(ctx context.Context, i int, step weatherlight.Step) error {
	if i == p.failAt {
		return p.failStep(ctx)
	}
	if i == 1 { // the connection
		if err := p.conn(p.rng).createGroup(deadLetters, groupName); err != nil {
			return err
		}
	}
	for n, def := range step.Workers {
		if err := p.supervisor.Start(ctx, p.spec(def)); err != nil {
			return errors.Join(err, p.stopWorkers(ctx, step.Workers[:n+1]))
		}
	}
	p.up = append(p.up, step.Name)
	return nil
}

// failStep fails a boot in one of the ways that there are.
func (p *process) failStep(ctx context.Context) error {
	switch p.rng.IntN(3) {
	case 0:
		panic("injected boot panic")
	case 1:
		<-ctx.Done()
	}
	return errBoot
}

func (p *process) stop(ctx context.Context, i int, step weatherlight.Step) error {
	p.world.mu.Lock()
	p.down = append(p.down, step.Name)
	p.world.mu.Unlock()
	defer p.watch(ctx, step)()
	if i == len(p.world.steps)-1 {
		waitUntil(time.Now().Add(drainNotice), ctx.Done(), nil, nil)
	}
	err := p.stopWorkers(ctx, step.Workers)
	if i == 0 {
		err = errors.Join(err, p.supervisor.Stop(ctx))
	}
	return err
}

// watch notes when a teardown outlasts its bound by almost as much as the engine bears.
func (p *process) watch(ctx context.Context, step weatherlight.Step) (end func()) {
	deadline, _ := ctx.Deadline()
	at := max(time.Until(deadline), 0) + stepGrace - time.Microsecond
	timer := time.AfterFunc(at, func() { p.audit.overrun(step.Name) })
	return func() { timer.Stop() }
}

func (p *process) stopWorkers(ctx context.Context, defs []weatherlight.Worker) error {
	var failures []error
	for _, def := range p.world.scenario.Defects.stopOrder(defs) {
		failures = append(failures, p.supervisor.StopWorker(ctx, def.Name))
	}
	return errors.Join(failures...)
}

func (p *process) conn(rng *rand.Rand) *conn {
	c := &conn{bus: p.world.bus, session: p.session, rng: rng, risk: riskOfCall}
	if p.calm {
		c.risk = 0
	}
	return c
}

func (p *process) spec(def weatherlight.Worker) supervise.Spec {
	return supervise.Spec{
		Name: def.Name, Finite: def.Finite, AwaitReady: def.Stream != "",
		Policy: p.world.scenario.Defects.Policy,
		Worker: supervise.WorkerFunc(func(ctx context.Context) error { return p.body(def).run(ctx) }),
	}
}

// body makes one run of a worker. All its luck comes from the scenario's seed, the process, the worker and the run.
func (p *process) body(def weatherlight.Worker) *body {
	p.world.mu.Lock()
	p.runs[def.Name]++
	run := p.runs[def.Name]
	p.world.mu.Unlock()
	rng := newRand(p.world.scenario.Seed, def.Name, strconv.Itoa(p.number), strconv.Itoa(run))
	b := &body{
		conn: p.conn(rng), name: def.Name, stream: def.Stream, group: groupName, consumer: p.consumer,
		answerTo: answerTo(def.Stream), witness: p.audit, strays: &p.strays,
		retries: make(map[ID]time.Time), period: idlePeriod,
	}
	b.handler = b.roll
	if p.calm {
		b.mishap.at = time.Now().Add(1000 * time.Hour)
		return b
	}
	b.mishap, b.clumsiness = p.tempers[def.Name].next(rng, time.Now()), riskOfHandler
	return b
}

// answerTo is where the answers to what a stream brings go.
func answerTo(stream string) []string {
	if stream == "kernel_requests" {
		return []string{"kernel_ready", "kernel_ready", "kernel_ready", "kernel_errors"}
	}
	return []string{"telemetry"}
}

// inspect looks at the process while nothing moves.
func (p *process) inspect() {
	synctest.Wait()
	p.audit.inspect(p.supervisor.Status(), p.supervisor.DroppedEvents())
}

// end takes the process down.
func (p *process) end(booted *supervise.Booted, how ending) {
	ctx, cancel := context.WithTimeout(context.Background(), stopBound)
	defer cancel()
	begun, bound := time.Now(), stopBound+stopGrace
	p.audit.stops(how == stopped)
	switch how {
	case killed:
		bound = 0
		p.audit.interrupt(p.supervisor)
		p.session.end()
	case interrupted:
		patience := between(p.rng, 0, 8*time.Second)
		bound = patience + interruptBound
		timer := time.AfterFunc(patience, func() { p.audit.interrupt(p.supervisor) })
		defer timer.Stop()
	}
	err := booted.Stop(ctx)
	took := time.Since(begun)
	p.inspect()
	if how == killed { // steps take their moments, which a killed process does not
		bound = took
	}
	p.audit.stopped(p.up, p.down, err, took, bound)
	p.exit()
}

// exit ends what an exit of the process ends: all of its goroutines.
func (p *process) exit() {
	p.session.end()
	p.strays.Wait()
	p.inspect()
	p.audit.close(p.world.steps)
}

func (a *auditor) stops(orderly bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.orderly = orderly
}

// interrupt is the second signal.
func (a *auditor) interrupt(s *supervise.Supervisor) {
	a.mu.Lock()
	a.interrupted = true
	a.mu.Unlock()
	s.Interrupt()
}

// ending is how a process ends.
type ending int

const (
	stopped ending = iota
	interrupted
	killed
)
