package runsimtest

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

// run is one training run: its trainer processes, and how they are.
type run struct {
	town *town
	name string

	grows         bool // its trainer speaks the protocol
	interval      time.Duration
	stepsPerEpoch int
	accepts       []string
	slots         map[string][]int
	clockError    time.Duration // of the trainer's own clock, by which nobody goes
	spikes        float64       // probability that an epoch's loss jumps
	steady        bool          // its seeds mostly improve
	toldFor       int           // reports that tell of a failed attach
	failedStage   stage         // and in which stage they do

	trainer    *trainee // the process that leads, nil while there is none
	checkpoint *trainee
	processes  int
	second     *trainee  // another live process of the same run
	silentTill time.Time // it does not report before
	captured   []captive
	captives   int // captured reports that were sent again
	kept       *captive
}

// captive is a report that was overheard.
type captive struct {
	packet     *leyline.SystemStatePacket
	attributes map[string]string
	issued     time.Time
}

func newRun(t *town, n int) *run {
	r := &run{
		town: t, name: fmt.Sprintf("run-%d", n), grows: !t.chance(0.15),
		interval:      t.interval(),
		stepsPerEpoch: pick(t.world, 3, 7, 20, 40),
		slots:         map[string][]int{"layer1": {16}, "layer2": {8, 4, 4}},
		clockError:    pick(t.world, 0, 0, -10*time.Minute, 3*time.Hour),
		steady:        t.chance(0.6),
		toldFor:       pick(t.world, 1, 8, math.MaxInt),
		failedStage:   pick(t.world, stageUnknown, stageDormant, stageGerminated),
	}
	if t.chance(0.1) {
		r.name = "läuft / run " + r.name
	}
	if t.chance(0.5) {
		r.accepts = []string{"optimizer"}
	}
	if t.chance(0.4) {
		r.spikes = 0.03
	}
	if t.folder != "" {
		r.grows, r.accepts, r.slots = true, nil, map[string][]int{bodySlot: {bodyWidth}}
	}
	r.trainer = r.fresh()
	return r
}

// interval draws how often a run is reported. Runs of one town are alike: one that is reported
// each second would have thousands of reports to one of another.
func (t *town) interval() time.Duration {
	if t.seldom {
		return pick(t.world, 45*time.Second, 90*time.Second, 4*time.Minute, 10*time.Minute)
	}
	return pick(t.world, time.Second, 2*time.Second, 5*time.Second, 15*time.Second)
}

// fresh is a new process that goes on from nothing.
func (r *run) fresh() *trainee {
	tr := newTrainee(r.town, r, r.processID())
	if r.town.folder != "" {
		return tr.real("")
	}
	return tr
}

// resumed is a new process that goes on from a checkpoint of another, or from
// where that one is.
func (r *run) resumed(from *trainee, tells bool) *trainee {
	tr := from.resumed(r.processID(), tells)
	if r.town.folder != "" {
		return tr.real(from.folder)
	}
	return tr
}

// processID names another process of the run.
func (r *run) processID() string {
	r.processes++
	return fmt.Sprintf("trainer-%s-%d", digest(r.name)[:6], r.processes)
}

// quality is what becomes of the next seed.
func (r *run) quality() quality {
	if r.steady && !r.town.chance(0.25) {
		return improves
	}
	return quality(r.town.rand.IntN(int(qualities)))
}

// loop is the training loop of the leading process.
func (r *run) loop() {
	t := r.town
	if t.hushed {
		return
	}
	if r.trainer != nil {
		r.round(r.trainer)
		if !t.calm && t.chance(0.1) {
			r.save()
		}
	}
	if r.second != nil {
		r.round(r.second)
	}
	if t.seldom {
		t.after(t.between(0, r.interval), r.obey)
	}
	jitter := time.Duration(float64(r.interval) * 0.1 * t.rand.Float64())
	t.after(r.interval+jitter, r.loop)
}

// obey lets orders take effect in the middle of an epoch.
func (r *run) obey() {
	if tr := r.trainer; tr != nil && r.grows && tr.body == nil {
		tr.read()
		tr.apply()
	}
}

// save makes a checkpoint.
func (r *run) save() {
	r.checkpoint = r.trainer.resumed("", false)
	r.checkpoint.id = r.trainer.id
	if r.trainer.body != nil {
		r.checkpoint.folder = r.trainer.body.save()
	}
}

// round is one round of a process: it trains and reports.
func (r *run) round(tr *trainee) {
	t := r.town
	if !r.grows {
		tr.train()
		tr.epoch++
		packet, _ := tr.packet()
		t.send(packet, nil, t.now, "reporter")
		return
	}
	tr.turn()
	if t.now.Before(r.silentTill) {
		return
	}
	packet, attributes := tr.packet()
	r.report(captive{packet, attributes, t.now.Add(t.between(-20*time.Millisecond, 20*time.Millisecond))})
}

// report publishes a report, or loses it while the bus is away: the loop goes on
// all the same. Some keep the last one until it is back.
func (r *run) report(c captive) {
	t := r.town
	if t.busDown {
		if r.kept == nil && t.chance(0.5) {
			r.kept = &c
		}
		t.counts.Lost++
		return
	}
	if r.kept != nil {
		t.send(r.kept.packet, r.kept.attributes, t.now, "trainer")
		r.kept = nil
	}
	t.audit.sent()
	t.send(c.packet, c.attributes, c.issued, "trainer")
	if !t.calm && len(r.captured) < 8 && t.chance(0.1) {
		r.captured = append(r.captured, c)
	}
}

// replay sends an old report again, as it is or without its attributes.
func (r *run) replay() {
	t := r.town
	if len(r.captured) == 0 {
		return
	}
	c := r.captured[t.rand.IntN(len(r.captured))]
	r.captives++
	if t.chance(0.5) {
		t.send(proto.Clone(c.packet), nil, t.now, "republisher")
		return
	}
	t.send(c.packet, c.attributes, c.issued, "captor")
}

// crash ends the leading process and brings another, from a checkpoint or not.
func (r *run) crash() {
	t := r.town
	if r.trainer == nil || !r.grows {
		return
	}
	t.counts.Restarts++
	old := r.trainer
	old.end()
	r.trainer = nil
	t.audit.left(r, old)
	wait := t.between(100*time.Millisecond, 2*r.interval)
	if t.chance(0.15) {
		wait += t.least(2 * time.Minute)
	}
	t.after(wait, func() {
		if r.trainer != nil {
			return
		}
		switch {
		case r.checkpoint != nil && t.chance(0.7):
			r.trainer = r.resumed(r.checkpoint, t.chance(0.8))
		default:
			r.trainer = r.fresh()
		}
		r.checkpoint = nil
		t.audit.came(r, r.trainer)
	})
}

// restart ends the leading process and goes on from where it is.
func (r *run) restart() {
	r.save()
	old := r.trainer
	old.end()
	r.town.audit.left(r, old)
	r.trainer = r.resumed(r.checkpoint, true)
	r.town.audit.came(r, r.trainer)
}

// intrude lets a second process of the same run train beside the first for a
// while.
func (r *run) intrude() {
	t := r.town
	if r.second != nil || !r.grows {
		return
	}
	t.counts.Intruders++
	r.second = newTrainee(t, r, r.processID())
	t.audit.came(r, r.second)
	t.after(t.between(r.interval, 20*r.interval), r.endSecond)
}

func (r *run) endSecond() {
	if r.second != nil {
		r.second.lost = true
		r.town.audit.left(r, r.second)
		r.second = nil
	}
}

// fallSilent keeps the process from reporting for a while.
func (r *run) fallSilent() {
	r.silentTill = r.town.now.Add(r.town.between(r.interval, r.town.least(5*time.Minute)))
}

// settle ends what is unusual about a run.
func (r *run) settle() {
	r.endSecond()
	r.silentTill = time.Time{}
	if r.trainer == nil {
		r.trainer = r.fresh()
		r.town.audit.came(r, r.trainer)
	}
}
