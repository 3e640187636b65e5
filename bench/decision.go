package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/transcript"
	"github.com/esper-lite/weatherlight/trainer"
)

func decisionRows() []row {
	return []row{
		{"decision_p99_us", "us", lower, nil},
		{rowByPolicy, "us", lower, nil},
		{rowRecorded, "us", lower, nil},
		{"decisions_rate", "decisions/s", higher, nil},
	}
}

// Rows of a decision by a policy, and of writing a decision down.
const (
	rowByPolicy = "decision_policy_p99_us"
	rowRecorded = "decision_recorded_us"
)

// recordAlone is a record that is loaded from Redis and compare-and-set there, and nothing decided.
const recordAlone = "record_alone"

// seedsReported is how many seeds a report tells of. A record remembers 64, and no seed is
// begun beyond those, so that 60 is where blueprints are weighed as well.
func seedsReported(column string) int {
	if column == weighing {
		return 60
	}
	return 100
}

// weighing is a report of 60 seeds in a stalled run, with 30 blueprints to weigh, of which one
// is begun: each time anew, as nothing is kept of the decision.
const weighing = "weighing"

// measureDecision times the controller's decision on one core, and how many it makes on all.
func measureDecision(ctx context.Context, b *bench) error {
	n := b.pick(20_000, 500)
	return b.interleave([]turn{
		{ours, func(column string) error {
			return errors.Join(b.decide(column, n), b.decideByPolicy(column, n/4), b.rateOnAllCores(column, n))
		}},
		{weighing, func(column string) error {
			return errors.Join(b.decide(column, n), b.rateOnAllCores(column, n))
		}},
		{recordAlone, func(column string) error { return b.loadAndStore(ctx, column, n) }},
	}, func() error { return nil })
}

// decided is a run that has been decided on, and what comes next.
type decided struct {
	controller *tamiyo.Controller
	record     []byte
	state      tamiyo.State
	now        time.Time
	offered    []tamiyo.Candidate
	recording  *transcript.Recording // of the last decision
	commands   int                   // that it gave
	again      bool                  // the next decision is made of the same record
}

func newDecided(seeds int) (*decided, error) {
	d := &decided{
		controller: tamiyo.NewController(tamiyo.Config{Patience: 1, MaxGrowing: 64, MaxAgeEpochs: 1 << 30}),
		now:        time.Unix(1_800_000_000, 0),
		state: tamiyo.State{
			Packet: &leyline.SystemStatePacket{
				TrainingRunId: "run", ValidationLoss: 1, TrainingMetrics: map[string]float32{"step_latency_ms": 20, "hook_latency_ms": 1},
			},
			Grows: true, TrainerID: "trainer", HostLayers: []string{"fc1", "fc2"}, Grafts: map[string]trainer.Graft{},
			Slots: map[string][]int{"free": {32}},
		},
	}
	for i := range 30 {
		d.offered = append(d.offered, tamiyo.Candidate{ // at this risk none is begun
			BlueprintID: fmt.Sprintf("BP%03d", i), Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: 0.6,
			ParameterCount: 100 * (i + 1), MultiplyAdds: int64(1000 * i), Earned: tamiyo.Earned{Tried: i, Kept: i / 2, Gain: 0.1},
		})
	}
	d.state.Blueprint = func(id string) (tamiyo.Candidate, bool, error) {
		return tamiyo.Candidate{BlueprintID: id, Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: 0.3}, true, nil
	}
	for i := range seeds {
		id := fmt.Sprintf("seed-run-%d-BP%03d", i, i%30)
		d.state.Packet.SeedStates = append(d.state.Packet.SeedStates, &leyline.SeedState{
			SeedId: id, Stage: leyline.SeedLifecycleStage_SEED_STAGE_TRAINING,
			Metrics: map[string]float32{trainer.MetricLossBefore: 1, trainer.MetricLossAfter: 0.9, trainer.MetricLossError: 0.01},
		})
		d.state.Grafts[id] = trainer.Graft{Slot: fmt.Sprint("slot-", i), Blueprint: fmt.Sprintf("BP%03d", i%30)}
	}
	for range 3 {
		if err := d.next(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// next decides on one more report, from the record as it travels to the record as it does.
func (d *decided) next() error {
	_, err := d.timed()
	return err
}

// timed is how long the decision itself took, in microseconds, as it is made and listened to
// by the service.
func (d *decided) timed() (us float64, err error) {
	var record *tamiyo.Record
	if d.record != nil {
		if record, err = tamiyo.DecodeRecord(d.record); err != nil {
			return 0, err
		}
	}
	d.state.Number++
	d.state.Packet.CurrentEpoch++
	d.now = d.now.Add(time.Second)
	begun := time.Now()
	decision, recording := transcript.Decide(d.controller, record, d.state, d.now,
		func([]int) ([]tamiyo.Candidate, error) { return d.offered, nil })
	us = time.Since(begun).Seconds() * 1e6
	d.recording, d.commands = recording, len(decision.Commands)
	text, err := json.Marshal(decision.Record)
	if !d.again {
		d.record = text
	}
	return us, err
}

// settled is a run whose next decision is that of a column.
func settled(column string) (*decided, error) {
	d, err := newDecided(seedsReported(column))
	if err != nil || column != weighing {
		return d, err
	}
	d.again = true
	for i := range d.offered {
		d.offered[i].Risk = 0.3
	}
	if err := d.next(); err != nil {
		return nil, err
	}
	if d.commands == 0 {
		return nil, errors.New("no seed is begun: nothing is weighed")
	}
	return d, nil
}

func (b *bench) decide(column string, n int) error {
	d, err := settled(column)
	if err != nil {
		return err
	}
	took := make([]float64, n)
	for i := range took {
		if took[i], err = d.timed(); err != nil {
			return err
		}
	}
	b.table.sample("decision_p99_us", column, quantile(took, 0.99))
	return nil
}

// rateOnAllCores has each core go on with a run of its own.
func (b *bench) rateOnAllCores(column string, n int) error {
	runs := make([]*decided, runtime.GOMAXPROCS(0))
	for i := range runs {
		var err error
		if runs[i], err = settled(column); err != nil {
			return err
		}
	}
	failed := make([]error, len(runs))
	var all sync.WaitGroup
	begun := time.Now()
	for i, d := range runs {
		all.Go(func() {
			for range n {
				if failed[i] = d.next(); failed[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	b.table.sample("decisions_rate", column, float64(n*len(runs))/time.Since(begun).Seconds())
	return errors.Join(failed...)
}

// decideByPolicy is a decision in which one policy weighs 30 blueprints and another one does
// in the shadow, neither of which begins any; and what it takes to write it down.
func (b *bench) decideByPolicy(column string, n int) error {
	policy, err := randomPolicy()
	if err != nil {
		return err
	}
	d, err := newDecided(seedsReported(weighing))
	if err != nil {
		return err
	}
	config := d.controller.Config()
	config.Policies = func() (active, shadow tamiyo.Policy) {
		return network.Named(policy, "active"), network.Named(policy, "shadow")
	}
	d.controller = tamiyo.NewController(config)
	for i := range d.offered {
		d.offered[i].Risk = 0.3
	}
	took, written := make([]float64, n), make([]float64, n)
	writer := new(transcript.Writer)
	for i := range took {
		if took[i], err = d.timed(); err != nil {
			return err
		}
		begun := time.Now()
		if _, err = writer.Packet(d.recording, nil); err != nil {
			return err
		}
		written[i] = time.Since(begun).Seconds() * 1e6
	}
	b.table.sample(rowByPolicy, column, quantile(took, 0.99))
	b.table.sample(rowRecorded, column, quantile(written, 0.5))
	return nil
}

// randomPolicy is a network with a hidden layer of 64 that begins nothing.
func randomPolicy() (*network.Network, error) {
	const hidden = 64
	rng := rand.New(rand.NewPCG(1, 1))
	random := func(shape ...int) *kernel.Tensor {
		tensor := kernel.NewTensor(shape...)
		for i := range tensor.Data {
			tensor.Data[i] = float32(rng.NormFloat64()) / 8
		}
		return tensor
	}
	never := kernel.NewTensor(network.Features)
	never.Data[0] = -1000
	builder := kernel.NewBuilder("policy", network.Features)
	builder.Init("w1", random(network.Features, hidden))
	builder.Init("w2", random(hidden, network.Features))
	builder.Init("never", never)
	builder.Node("MatMul", []string{"host", "w1"}, "a")
	builder.Node("Relu", []string{"a"}, "h")
	builder.Node("MatMul", []string{"h", "w2"}, "b")
	builder.Node("Add", []string{"b", "never"}, "seed")
	file, err := builder.Bytes()
	if err != nil {
		return nil, err
	}
	return network.Read(file)
}
