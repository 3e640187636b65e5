package runsimtest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Stages by short names.
const (
	stageUnknown      = leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN
	stageDormant      = leyline.SeedLifecycleStage_SEED_STAGE_DORMANT
	stageGerminated   = leyline.SeedLifecycleStage_SEED_STAGE_GERMINATED
	stageTraining     = leyline.SeedLifecycleStage_SEED_STAGE_TRAINING
	stageBlending     = leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
	stageShadowing    = leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING
	stageProbationary = leyline.SeedLifecycleStage_SEED_STAGE_PROBATIONARY
	stageFossilized   = leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED
	stageCulled       = leyline.SeedLifecycleStage_SEED_STAGE_CULLED
	stageEmbargoed    = leyline.SeedLifecycleStage_SEED_STAGE_EMBARGOED
	stageResetting    = leyline.SeedLifecycleStage_SEED_STAGE_RESETTING
	stageTerminated   = leyline.SeedLifecycleStage_SEED_STAGE_TERMINATED
)

// quality is what becomes of a seed in training.
type quality int

const (
	improves quality = iota
	noise
	regresses
	breaks // its losses become NaN
	leaks  // a gradient reaches the host
	faults // its forward pass fails
	qualities
)

// sprout is one grafted seed as its trainer holds it.
type sprout struct {
	graft   trainer.Graft
	stage   leyline.SeedLifecycleStage
	order   uint64 // the last one applied
	sched   trainer.Schedule
	steps   int // of the ramp
	age     uint32
	paused  bool
	tuned   bool
	quality quality
	reports int // since it was attached
	leaked  bool
}

// failure is an attach that did not work, which is reported until another order
// for its seed comes.
type failure struct {
	order   uint64
	reason  trainer.AttachFailure
	stage   stage // that it is told in: there is none for it
	reports int
}

// fetch is an attach that waits for its kernel.
type fetch struct {
	order trainer.Order
	left  int // turns of the training loop
}

// held is an order that was read and takes effect later.
type held struct {
	order trainer.Order
	read  time.Time
}

// trainee is a trainer made from docs/trainers.md: one process that trains, or
// what its checkpoint kept of it.
type trainee struct {
	town *town
	run  *run

	id, resumes string
	number      uint64 // of the last report
	orderRead   uint64
	position    int64 // in the stream
	lost        bool  // it ended

	epoch   uint32
	loss    float64
	seeds   map[string]*sprout
	failed  map[string]*failure
	fetches map[string]*fetch
	inbox   []held
	halted  bool
	lag     int // turns between reading an order and its effect
	started time.Time

	body   *body  // the real graft, nil for a model
	folder string // of a checkpoint: what the real graft kept
}

// real gives a trainee a network with the real graft in it.
func (tr *trainee) real(checkpoint string) *trainee {
	b, err := newBody(tr.town, tr.run.name, tr.id, tr.resumes, checkpoint)
	if err != nil {
		tr.town.audit.violate("run %q: %v", tr.run.name, err)
		return tr
	}
	tr.body = b
	b.mirror(tr)
	return tr
}

// end ends the process.
func (tr *trainee) end() {
	tr.lost = true
	if tr.body != nil {
		tr.body.stop()
		tr.body = nil
	}
}

func newTrainee(t *town, r *run, id string) *trainee {
	return &trainee{
		town: t, run: r, id: id, loss: 2, started: t.now, lag: pick(t.world, 0, 0, 0, 1, 3),
		seeds: make(map[string]*sprout), failed: make(map[string]*failure), fetches: make(map[string]*fetch),
	}
}

// resumed is a new process that goes on from a checkpoint of this one.
func (tr *trainee) resumed(id string, tells bool) *trainee {
	next := newTrainee(tr.town, tr.run, id)
	if tells {
		next.resumes = tr.id
	}
	next.epoch, next.loss, next.orderRead = tr.epoch, tr.loss, tr.orderRead
	for seed, s := range tr.seeds {
		copied := *s
		next.seeds[seed] = &copied
	}
	return next
}

// turn is one round of the training loop: orders take effect, an epoch passes.
func (tr *trainee) turn() {
	tr.read()
	if tr.body != nil {
		tr.body.apply(tr)
	} else {
		tr.apply()
		tr.attachFetched()
	}
	if tr.halted {
		return
	}
	tr.epoch++
	tr.train()
	if tr.body != nil {
		tr.body.train(tr)
	}
}

// train lets an epoch pass. The host comes to rest after a while; each kept seed
// helps it.
func (tr *trainee) train() {
	floor := 1.0
	for _, seed := range slices.Sorted(maps.Keys(tr.seeds)) {
		s := tr.seeds[seed]
		s.age++
		if s.stage == stageFossilized && !s.paused {
			floor *= 0.93
		}
		if s.stage == stageBlending && !s.paused {
			s.steps += tr.run.stepsPerEpoch
		}
	}
	tr.loss += (floor - tr.loss) * 0.4
	if !tr.town.calm && tr.town.chance(tr.run.spikes) {
		tr.loss += 0.5
	}
}

// packet is the trainer's report, with the attributes of its envelope.
func (tr *trainee) packet() (*leyline.SystemStatePacket, map[string]string) {
	t := tr.town
	tr.number++
	loss := tr.loss
	if !t.calm && t.chance(tr.run.spikes/2) {
		loss = math.NaN()
	}
	packet := &leyline.SystemStatePacket{
		Version: 1, CurrentEpoch: tr.epoch, ValidationLoss: float32(loss), ValidationAccuracy: float32(max(0.1, 1-loss/2)),
		TimestampNs: uint64(t.now.Add(tr.run.clockError).UnixNano()), PacketId: fmt.Sprintf("%s-%s-%d", tr.run.name, tr.id, tr.number),
		GlobalStep: uint64(tr.epoch) * uint64(tr.run.stepsPerEpoch), TrainingLoss: float32(tr.loss), SourceSubsystem: "tolaria",
		TrainingRunId: tr.run.name, TrainingMetrics: map[string]float32{"epoch_time_ms": 12},
	}
	if tr.body != nil {
		return tr.body.report(tr, packet)
	}
	if tr.halted {
		packet.TrainingMetrics[trainer.MetricHalted] = 1
	}
	report := trainer.Report{
		TrainerID: tr.id, Resumes: tr.resumes, Number: tr.number, OrderRead: tr.orderRead,
		Grafts: make(map[string]trainer.Graft), Accepts: tr.run.accepts,
		HostLayers: []string{"layer1", "layer2", "head"}, Slots: tr.run.slots, KernelAccess: []string{"path"},
	}
	for _, seed := range slices.Sorted(maps.Keys(tr.seeds)) {
		s := tr.seeds[seed]
		if t.defects.HidesKept && s.stage == stageFossilized {
			continue
		}
		report.Grafts[seed] = s.graft
		packet.SeedStates = append(packet.SeedStates, tr.state(seed, s))
		s.reports++
	}
	for _, seed := range slices.Sorted(maps.Keys(tr.failed)) {
		f := tr.failed[seed]
		packet.SeedStates = append(packet.SeedStates, f.state(seed))
		if f.reports++; f.reports >= tr.run.toldFor {
			delete(tr.failed, seed)
		}
	}
	return packet, report.Attributes()
}

func (f *failure) state(seed string) *leyline.SeedState {
	return &leyline.SeedState{SeedId: seed, Stage: f.stage, Metrics: map[string]float32{
		trainer.MetricOrder: float32(f.order), trainer.MetricAttachFailed: 1, trainer.MetricAttachReason: float32(f.reason),
	}}
}

// state is what the trainer tells of one seed.
func (tr *trainee) state(seed string, s *sprout) *leyline.SeedState {
	metrics := map[string]float32{
		trainer.MetricOrder: float32(s.order), trainer.MetricAlpha: float32(s.alpha()), trainer.MetricAlphaSteps: float32(s.steps),
		trainer.MetricForwardMS: 0.5, trainer.MetricForwardFaults: 0, trainer.MetricHostGradientMax: 0,
		trainer.MetricHeldOut: 512, trainer.MetricForwardSpread: 0.1, trainer.MetricSharedParameter: 0,
	}
	if s.paused {
		metrics[trainer.MetricPaused] = 1
	}
	state := &leyline.SeedState{
		SeedId: seed, Stage: s.stage, GradientNorm: 0.5, LearningRate: 0.01, AgeEpochs: s.age, Metrics: metrics,
	}
	tr.measure(s, state)
	return state
}

// alpha is the seed's share.
func (s *sprout) alpha() float64 {
	switch s.stage {
	case stageBlending:
		return s.sched.At(s.steps)
	case stageShadowing, stageProbationary, stageFossilized:
		return 1
	default:
		return 0
	}
}

// measure adds the evidence of an epoch.
func (tr *trainee) measure(s *sprout, state *leyline.SeedState) {
	grown := 1 - math.Exp(-float64(s.reports)/3)
	var gain float64
	bad := s.reports > 2+int(s.graft.Order%5)
	switch {
	case s.quality == improves:
		gain = 0.08 * grown
	case s.quality == noise:
		gain = 0.02 * (tr.town.rand.Float64() - 0.5)
	case s.quality == regresses && bad:
		gain = -0.1
	default:
		gain = 0.05 * grown
	}
	m := state.Metrics
	before := tr.loss
	after := before * (1 - gain)
	m[trainer.MetricLossBefore], m[trainer.MetricLossAfter] = float32(before), float32(after)
	m[trainer.MetricAccuracyBefore] = float32(max(0.1, 1-before/2))
	m[trainer.MetricAccuracyAfter] = float32(max(0.1, 1-after/2))
	m[trainer.MetricLossError], m[trainer.MetricAccuracyError] = 0.001, 0.001
	m[trainer.MetricTrainLoss] = float32(before * (1.2 - 0.2*grown))
	switch {
	case s.quality == breaks && bad:
		m[trainer.MetricLossAfter], state.GradientNorm = float32(math.NaN()), float32(math.Inf(1))
	case s.quality == leaks && bad && s.stage >= stageBlending && s.stage <= stageProbationary && !s.paused:
		m[trainer.MetricHostGradientMax] = 0.1
		s.leaked = true
	case s.quality == faults && bad:
		m[trainer.MetricForwardFaults] = 2
	}
}
