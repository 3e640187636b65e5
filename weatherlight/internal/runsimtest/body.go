package runsimtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// body is a network in training with the real graft in it. Where a trainee has
// one, the graft reads the orders, attaches kernels and reports, and the trainee
// only mirrors it.
//
// The graft's own goroutine is let run only while the simulation waits for it: to
// take an order, to fetch a kernel, to publish a report.
type body struct {
	town  *town
	graft *graft.Graft
	slot  *graft.Slot
	front *kernel.Parameter // before the slot
	back  *kernel.Parameter // behind it
	tape  *kernel.Tape

	orders  chan *leyline.AdaptationCommand
	taken   chan struct{}
	reports chan captive
	cancel  context.CancelFunc
	ended   chan error

	read uint64                   // highest order that was for this process
	told map[string]trainer.Graft // of the last report

	wanted map[string]string // blueprints of attach orders, by seed
}

const (
	bodySlot     = "layer1"
	bodyWidth    = 4
	bodyBatch    = 3
	bodyPatience = 10 * time.Second // real time that a background step of the graft may take
)

// newBody starts a network, from a checkpoint when there is one.
func newBody(t *town, run, id, resumes, checkpoint string) (*body, error) {
	b := &body{
		town: t, tape: kernel.NewTape(), wanted: make(map[string]string),
		orders: make(chan *leyline.AdaptationCommand), taken: make(chan struct{}), reports: make(chan captive, 4), ended: make(chan error, 1),
		front: kernel.NewParameter("front", t.normal(2, bodyWidth)), back: kernel.NewParameter("back", t.normal(bodyWidth, 3)),
	}
	config := graft.Config{
		Run: run, TrainerID: id, Resumes: resumes, Keyring: t.keyring, Bus: b,
		HostLayers: []string{"layer1", "layer2", "head"}, KernelAccess: []string{"path"},
	}
	var err error
	if b.graft, err = graft.New(config); err != nil {
		return nil, err
	}
	if b.slot, err = b.graft.Slot(bodySlot, bodyWidth); err != nil {
		return nil, err
	}
	b.slot.Watch(b.front, b.back)
	if checkpoint != "" {
		if err := b.graft.Load(checkpoint); err != nil {
			return nil, fmt.Errorf("load checkpoint: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background()) // until the process ends, see stop
	b.cancel = cancel
	go func() { b.ended <- b.graft.Run(ctx) }()
	return b, nil
}

func (w *world) normal(rows, columns int) *kernel.Tensor {
	x := kernel.NewTensor(rows, columns)
	for i := range x.Data {
		x.Data[i] = float32(w.rand.NormFloat64())
	}
	return x
}

// PublishReport implements graft.Bus.
func (b *body) PublishReport(_ context.Context, packet *leyline.SystemStatePacket, attributes map[string]string) error {
	b.reports <- captive{packet: packet, attributes: attributes}
	return nil
}

// FollowOrders implements graft.Bus.
func (b *body) FollowOrders(ctx context.Context, _ string, take func(*leyline.AdaptationCommand)) error {
	for {
		select {
		case command := <-b.orders:
			take(command)
			b.taken <- struct{}{}
		case <-ctx.Done():
			return nil
		}
	}
}

// stop ends the process.
func (b *body) stop() {
	b.cancel()
	if err := <-b.ended; err != nil {
		b.town.audit.violate("a graft ended with %v", err)
	}
}

// save writes a checkpoint and returns its folder, empty when there is none.
func (b *body) save() string {
	folder := filepath.Join(b.town.folder, fmt.Sprintf("checkpoint-%d", b.town.rand.Uint64()))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		b.town.audit.violate("checkpoint: %v", err)
		return ""
	}
	if err := b.graft.Save(folder); err != nil {
		b.town.audit.violate("checkpoint: %v", err)
		return ""
	}
	return folder
}

// receive hands an order to the graft.
func (b *body) receive(tr *trainee, command *leyline.AdaptationCommand) {
	b.orders <- command
	<-b.taken
	order, err := trainer.ReadOrder(command)
	if err == nil && order.TrainerID == tr.id && order.Run == tr.run.name {
		b.read = max(b.read, order.Number)
		if order.Kind == trainer.Attach {
			b.wanted[order.Seed] = order.Blueprint
		}
	}
}

// apply lets the graft carry out what has arrived, kernels included.
func (b *body) apply(tr *trainee) {
	ctx, cancel := context.WithTimeout(context.Background(), bodyPatience)
	defer cancel()
	if !b.town.calm && b.town.chance(0.2) {
		return // a kernel is still on its way
	}
	if err := b.graft.Await(ctx, b.read); err != nil {
		b.town.audit.violate("run %q: %v", tr.run.name, err)
	}
	obeyed := make(map[uint64]bool)
	for _, change := range b.graft.Apply() {
		order := trainer.Order{Kind: change.Kind, Number: change.Order, Seed: change.Seed, Blueprint: b.wanted[change.Seed]}
		failed, ok := errors.AsType[*graft.AttachError](change.Err)
		switch {
		case ok:
			b.town.audit.attachFailed(tr, order, failed.Failure)
		case !obeyed[change.Order]: // one order may change several seeds
			obeyed[change.Order] = true
			b.town.audit.applied(tr, order, true)
		}
	}
	b.mirror(tr)
}

// mirror copies what the graft holds to where the rest of the simulation looks.
func (b *body) mirror(tr *trainee) {
	before := tr.seeds
	tr.seeds, tr.halted = make(map[string]*sprout), b.graft.Halted()
	for _, s := range b.graft.Seeds() {
		mirrored, known := before[s.ID]
		if !known {
			mirrored = &sprout{quality: tr.run.quality()}
		}
		mirrored.stage, mirrored.paused, mirrored.graft = s.Stage, s.Paused, b.told[s.ID]
		tr.seeds[s.ID] = mirrored
	}
}

// train makes a few steps, and holds the graft to its promise: what blends gives
// exactly nothing to what lies in front of it.
func (b *body) train(tr *trainee) {
	for range min(tr.run.stepsPerEpoch, 20) {
		if err := b.step(tr); err != nil {
			b.town.audit.violate("run %q: training step: %v", tr.run.name, err)
			return
		}
	}
}

func (b *body) step(tr *trainee) error {
	b.front.ZeroGrad()
	b.back.ZeroGrad()
	if err := b.pass(b.slot.Output); err != nil {
		return err
	}
	blends := false
	for _, s := range b.graft.Seeds() {
		blends = blends || s.Stage >= stageBlending && s.Stage <= stageProbationary && !s.Paused
	}
	if blends && slices.ContainsFunc(b.front.Grad.Data, func(g float32) bool { return g != 0 || math.IsNaN(float64(g)) }) {
		b.town.audit.violate("run %q: a gradient came through a blend: %v", tr.run.name, b.front.Grad.Data)
	}
	before := slices.Clone(b.front.Grad.Data)
	for _, s := range b.graft.Seeds() {
		if s.Stage != stageTraining {
			continue
		}
		isolated := func(t *kernel.Tape, host kernel.Value) (kernel.Value, error) { return b.slot.Isolated(t, s.ID, host) }
		if err := b.pass(isolated); err != nil {
			return err
		}
	}
	if !slices.Equal(before, b.front.Grad.Data) {
		b.town.audit.violate("run %q: a seed in isolation changed the gradient of its host", tr.run.name)
	}
	b.graft.Step()
	for _, s := range b.graft.Seeds() {
		for _, parameter := range b.slot.Parameters(s.ID) {
			descend(parameter)
			parameter.ZeroGrad()
		}
	}
	if !blends {
		descend(b.front)
	}
	return nil
}

func descend(p *kernel.Parameter) {
	for i, g := range p.Grad.Data {
		if !math.IsNaN(float64(g)) {
			p.Value.Data[i] -= 1e-3 * g
		}
	}
}

// pass runs the network forward and back, with something at the slot.
func (b *body) pass(through func(*kernel.Tape, kernel.Value) (kernel.Value, error)) error {
	b.tape.Reset()
	batch := kernel.FromSlice([]float32{1, 0.5, -0.3, 0.8, 0.2, -1}, bodyBatch, 2)
	hidden, err := b.tape.MatMul(b.tape.Constant(batch), b.tape.Parameter(b.front))
	if err != nil {
		return err
	}
	if hidden, err = through(b.tape, hidden); err != nil {
		return err
	}
	out, err := b.tape.MatMul(hidden, b.tape.Parameter(b.back))
	if err != nil {
		return err
	}
	loss, err := b.tape.SoftmaxCrossEntropy(out, []int{0, 1, 2})
	if err != nil {
		return err
	}
	return b.tape.Backward(loss)
}

// report has the graft report, and returns what it told.
func (b *body) report(tr *trainee, packet *leyline.SystemStatePacket) (*leyline.SystemStatePacket, map[string]string) {
	evidence := make(map[string]graft.Evidence)
	for _, seed := range slices.Sorted(maps.Keys(tr.seeds)) {
		s := tr.seeds[seed]
		probe := &leyline.SeedState{Metrics: make(map[string]float32)}
		if s.quality == leaks || s.quality == faults {
			s.quality = improves // the graft measures these itself
		}
		tr.measure(s, probe)
		s.reports++
		m := probe.Metrics
		compare := func(before, after, deviation string) graft.Comparison {
			return graft.Comparison{Before: float64(m[before]), After: float64(m[after]), Error: float64(m[deviation]), Examples: 512}
		}
		evidence[seed] = graft.Evidence{
			Loss:      compare(trainer.MetricLossBefore, trainer.MetricLossAfter, trainer.MetricLossError),
			Accuracy:  compare(trainer.MetricAccuracyBefore, trainer.MetricAccuracyAfter, trainer.MetricAccuracyError),
			TrainLoss: new(float64(m[trainer.MetricTrainLoss])),
		}
	}
	b.graft.Report(packet, evidence)
	told := <-b.reports
	if report, err := trainer.ReadReport(told.attributes); err == nil {
		b.told = report.Grafts
		b.town.audit.verified(tr, report.Grafts)
	} else {
		b.town.audit.violate("run %q: a graft's report cannot be read: %v", tr.run.name, err)
	}
	b.mirror(tr)
	return told.packet, told.attributes
}
