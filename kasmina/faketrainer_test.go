package kasmina

import (
	"maps"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// fakeTrainer carries orders out by the book and reports good evidence.
type fakeTrainer struct {
	id, resumes string
	number      uint64
	epoch       uint32
	read        uint64
	seeds       []*fakeSeed
	accepts     []string
	layers      []string
	slots       map[string][]int
	halted      bool
	failing     trainer.AttachFailure // of every attach; 0: none
	failures    map[string]float32    // order of a failed attach, by seed

	stepsPerReport int
	spoil          func(seed *fakeSeed, metrics map[string]float32) // the last word on what is told
}

type fakeSeed struct {
	id, blueprint, slot, checksum string
	attached, order               uint64
	stage                         leyline.SeedLifecycleStage
	steps                         int
	paused                        bool
}

func newFakeTrainer(id string) *fakeTrainer {
	return &fakeTrainer{
		id: id, layers: []string{"weight", "bias"}, slots: map[string][]int{"hidden": {3}},
		stepsPerReport: 10, failures: make(map[string]float32),
	}
}

func (f *fakeTrainer) find(id string) *fakeSeed {
	for _, s := range f.seeds {
		if s.id == id {
			return s
		}
	}
	return nil
}

// obey reads orders in their order on the stream; numbers that were read are
// passed over.
func (f *fakeTrainer) obey(orders []trainer.Order) {
	for _, order := range orders {
		if order.TrainerID != f.id || order.Number <= f.read {
			continue
		}
		f.read = order.Number
		f.apply(order)
	}
}

func (f *fakeTrainer) apply(order trainer.Order) {
	s := f.find(order.Seed)
	switch order.Kind {
	case trainer.Attach:
		f.attach(order, s)
	case trainer.Drop, trainer.Rollback:
		delete(f.failures, order.Seed)
		f.seeds = slices.DeleteFunc(f.seeds, func(other *fakeSeed) bool { return other.id == order.Seed })
	case trainer.Emergency:
		f.halted = order.Level >= leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT
		for _, s := range f.seeds {
			if order.Level >= leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE && s.stage != lifecycle.Fossilized {
				s.paused = true
			}
		}
	case trainer.Optimizer:
	default:
		if s != nil {
			s.take(order)
		}
	}
}

func (f *fakeTrainer) attach(order trainer.Order, present *fakeSeed) {
	if f.failing != trainer.AttachUnspecified {
		f.failures[order.Seed] = float32(order.Number)
		return
	}
	if present != nil && present.checksum == order.Kernel.Checksum {
		present.order, present.attached = order.Number, order.Number
		return
	}
	f.seeds = append(f.seeds, &fakeSeed{
		id: order.Seed, blueprint: order.Blueprint, slot: order.Slot, checksum: order.Kernel.Checksum,
		attached: order.Number, order: order.Number, stage: lifecycle.Training,
	})
}

func (s *fakeSeed) take(order trainer.Order) {
	switch order.Kind {
	case trainer.Pause, trainer.Resume:
		s.paused = order.Kind == trainer.Pause
	default:
		if order.Stage != s.stage && lifecycle.Transition(s.stage, order.Stage) != nil {
			return
		}
		if order.Stage == lifecycle.Blending && s.stage != lifecycle.Blending {
			s.steps = 1
		}
		s.stage = order.Stage
	}
	s.order = order.Number
}

// report tells of everything, an epoch later.
func (f *fakeTrainer) report(now time.Time) Report {
	f.number++
	f.epoch++
	packet := &leyline.SystemStatePacket{
		Version: 1, TrainingRunId: testRun, CurrentEpoch: f.epoch, TrainingMetrics: map[string]float32{},
	}
	if f.halted {
		packet.TrainingMetrics[trainer.MetricHalted] = 1
	}
	grafts := make(map[string]trainer.Graft)
	for _, s := range f.seeds {
		if s.stage == lifecycle.Blending && !s.paused {
			s.steps += f.stepsPerReport
		}
		grafts[s.id] = trainer.Graft{Slot: s.slot, Blueprint: s.blueprint, Checksum: s.checksum, Order: s.attached}
		packet.SeedStates = append(packet.SeedStates, f.state(s))
	}
	for _, id := range slices.Sorted(maps.Keys(f.failures)) {
		packet.SeedStates = append(packet.SeedStates, &leyline.SeedState{SeedId: id, Metrics: map[string]float32{
			trainer.MetricOrder: f.failures[id], trainer.MetricAttachFailed: 1,
			trainer.MetricAttachReason: float32(f.failing),
		}})
	}
	return Report{
		Packet: packet, Protocol: true, Issued: now, Stored: now,
		Report: trainer.Report{
			TrainerID: f.id, Resumes: f.resumes, Number: f.number, OrderRead: f.read, Grafts: grafts,
			Accepts: f.accepts, HostLayers: f.layers, Slots: f.slots, KernelAccess: []string{"path", "http"},
		},
	}
}

func (f *fakeTrainer) state(s *fakeSeed) *leyline.SeedState {
	metrics := goodEvidence()
	metrics[trainer.MetricTrainLoss] = 1 / float32(f.epoch)
	metrics[trainer.MetricOrder] = float32(s.order)
	metrics[trainer.MetricAlphaSteps] = float32(s.steps)
	metrics[trainer.MetricPaused] = flag(s.paused)
	metrics[trainer.MetricAlpha] = float32(trainer.DefaultSchedule().At(s.steps))
	if f.spoil != nil {
		f.spoil(s, metrics)
	}
	return &leyline.SeedState{SeedId: s.id, Stage: s.stage, Metrics: metrics}
}

func goodEvidence() map[string]float32 {
	return map[string]float32{
		"loss_before": 1, "loss_after": 0.5, "accuracy_before": 0.8, "accuracy_after": 0.9,
		"loss_error": 0.01, "accuracy_error": 0.005,
		"gradient_norm": 0.1, "host_gradient_max": 0, "shared_parameters": 0, "train_loss": 1,
	}
}

// spoiled sets one metric of every seed in its reports.
func spoiled(name string, value float32) func(*fakeSeed, map[string]float32) {
	return func(_ *fakeSeed, metrics map[string]float32) { metrics[name] = value }
}
