package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

func graftRows() []row {
	return []row{
		{"graft_overhead_percent", "%", lower, nil},
		{"graft_blending_percent", "%", lower, nil},
		{"graft_overhead_784_128_10_percent", "%", lower, nil},
		{"graft_blending_784_128_10_percent", "%", lower, nil},
		{"graft_attach_ms", "ms", lower, nil},
		{"command_verify_us", "us", lower, nil},
	}
}

// measureGraft takes what a graft costs a training loop that has one.
func measureGraft(ctx context.Context, b *bench) error {
	for _, part := range []struct {
		name    string
		host    hostSizes
		measure func(*seedbed, *bench) error
	}{
		{"small", hostSizes{64, 16, 10}, func(s *seedbed, b *bench) error {
			return s.overheads(b, "graft_overhead_percent", "graft_blending_percent")
		}},
		{"large", hostSizes{784, 128, 10}, func(s *seedbed, b *bench) error {
			return s.overheads(b, "graft_overhead_784_128_10_percent", "graft_blending_784_128_10_percent")
		}},
		{"attach", hostSizes{784, 128, 10}, (*seedbed).calls},
	} {
		bed, err := newSeedbed(filepath.Join(b.folder, "graft-"+part.name), part.host)
		if err != nil {
			return err
		}
		if err := bed.with(ctx, func() error { return part.measure(bed, b) }); err != nil {
			return err
		}
	}
	return nil
}

// with does work while the graft runs.
func (s *seedbed) with(ctx context.Context, work func() error) error {
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.graft.Run(run) }()
	err := work()
	stop()
	return errors.Join(err, <-done)
}

// orders is a bus that carries orders to one graft and takes its reports.
type orders struct {
	commands chan *leyline.AdaptationCommand
}

func (o orders) PublishReport(context.Context, *leyline.SystemStatePacket, map[string]string) error {
	return nil
}

func (o orders) FollowOrders(ctx context.Context, _ string, take func(*leyline.AdaptationCommand)) error {
	for {
		select {
		case command := <-o.commands:
			take(command)
		case <-ctx.Done():
			return nil
		}
	}
}

// seedbed is a host with a graft behind its hidden layer.
type seedbed struct {
	*host

	keyring  *signing.Keyring
	bus      orders
	graft    *graft.Graft
	slot     *graft.Slot
	kernel   trainer.Kernel
	instance *kernel.Instance // of the seed that is run without a graft
	number   uint64
}

func newSeedbed(folder string, sizes hostSizes) (*seedbed, error) {
	keyring, err := signing.NewKeyring(secret)
	if err != nil {
		return nil, err
	}
	bed := &seedbed{
		host: newHost(sizes), keyring: keyring, bus: orders{make(chan *leyline.AdaptationCommand, 16)},
	}
	bed.graft, err = graft.New(graft.Config{Run: "bench", TrainerID: "bench", Keyring: keyring, Bus: bed.bus})
	if err != nil {
		return nil, err
	}
	if bed.slot, err = bed.graft.Slot("hidden", sizes.width); err != nil {
		return nil, err
	}
	return bed, bed.makeKernel(folder)
}

// makeKernel writes x + W2·relu(W1·x) with 90 hidden units, which is 92 kB of
// weights at a width of 128.
func (s *seedbed) makeKernel(folder string) error {
	rng, width := rand.New(rand.NewPCG(2, 2)), s.sizes.width
	b := kernel.NewBuilder("seed", width)
	b.Init("w1", randomTensor(rng, width, 90))
	b.Init("w2", randomTensor(rng, 90, width))
	b.Node("MatMul", []string{"host", "w1"}, "h1")
	b.Node("Relu", []string{"h1"}, "h2")
	b.Node("MatMul", []string{"h2", "w2"}, "h3")
	b.Node("Add", []string{"host", "h3"}, "seed")
	file, err := b.Bytes()
	if err != nil {
		return fmt.Errorf("build kernel: %w", err)
	}
	loaded, err := kernel.Load(file)
	if err != nil {
		return fmt.Errorf("load kernel: %w", err)
	}
	s.instance = loaded.Instantiate()
	path := filepath.Join(folder, "kernel.onnx")
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(path, file, 0o644)); err != nil {
		return fmt.Errorf("write kernel: %w", err)
	}
	s.kernel = trainer.Kernel{Ref: path, Checksum: kernel.Checksum(file)}
	return nil
}

// overheads measures a step with a graft that has no seed, and with one that
// blends one.
func (s *seedbed) overheads(b *bench, empty, blending string) error {
	if b.table.wants(empty) {
		if err := s.overhead(b, empty, s.plainStep, s.graftedStep); err != nil {
			return err
		}
	}
	if !b.table.wants(blending) {
		return nil
	}
	if err := s.blend(); err != nil {
		return err
	}
	return s.overhead(b, blending, s.ownStep, s.blendingStep)
}

// calls measures what is done now and then.
func (s *seedbed) calls(b *bench) error {
	if b.table.wants("graft_attach_ms") {
		if err := s.attaches(b); err != nil {
			return err
		}
	}
	if b.table.wants("command_verify_us") {
		return s.verify(b)
	}
	return nil
}

// overhead compares two steps in turns of one each, so that what else the machine
// does hits both.
func (s *seedbed) overhead(b *bench, name string, without, with func() error) error {
	return b.interleave([]turn{{ours, func(column string) error {
		var plain, grafted []float64
		for i := range b.pick(s.sizes.steps(), 10) {
			sides := []side{{without, &plain}, {with, &grafted}}
			if i%2 == 1 {
				slices.Reverse(sides)
			}
			for _, side := range sides {
				if err := side.take(); err != nil {
					return err
				}
			}
		}
		base := quantile(plain, 0.5)
		b.table.sample(name, column, 100*(quantile(grafted, 0.5)-base)/base)
		return nil
	}}}, func() error { return errors.Join(without(), with()) })
}

// side is one of two steps that are compared, and what each took.
type side struct {
	step func() error
	took *[]float64
}

func (s side) take() error {
	begun := time.Now()
	err := s.step()
	*s.took = append(*s.took, time.Since(begun).Seconds())
	return err
}

// plainStep trains the host.
func (s *seedbed) plainStep() error {
	return s.train(s.parameters, false, func(v kernel.Value) (kernel.Value, error) { return v, nil }, func() {})
}

// graftedStep trains the host behind which a graft has no seed.
func (s *seedbed) graftedStep() error {
	return s.train(s.parameters, false, s.output, s.graft.Step)
}

// blendingStep trains the seed that blends; the host rests.
func (s *seedbed) blendingStep() error {
	return s.train(s.slot.Parameters("blending"), true, s.output, s.graft.Step)
}

func (s *seedbed) output(v kernel.Value) (kernel.Value, error) { return s.slot.Output(s.tape, v) }

// ownStep trains the same seed without a graft: its own work, with nothing blended.
func (s *seedbed) ownStep() error {
	return s.train(s.instance.Parameters(), true, func(v kernel.Value) (kernel.Value, error) {
		return s.instance.Forward(s.tape, s.tape.Detach(v))
	}, func() {})
}

// order sends an order and waits until it has taken effect.
func (s *seedbed) order(order trainer.Order) error {
	s.number++
	order.Run, order.TrainerID, order.Number = "bench", "bench", s.number
	command := order.Command()
	command.CommandId, command.IssuedAt = uuid.NewString(), timestamppb.Now()
	if err := s.keyring.SignCommand(command); err != nil {
		return err
	}
	s.bus.commands <- command
	for deadline := time.Now().Add(answerTimeout); time.Now().Before(deadline); {
		changes := s.graft.Apply()
		if len(changes) == 0 {
			continue
		}
		if err := changes[0].Err; err != nil {
			return fmt.Errorf("order %s: %w", order.Kind, err)
		}
		return nil
	}
	return fmt.Errorf("order %s had no effect", order.Kind)
}

func (s *seedbed) attach(seed string) error {
	return s.order(trainer.Order{
		Kind: trainer.Attach, Seed: seed, Blueprint: "BP009", Slot: "hidden", Kernel: s.kernel,
		Stage: leyline.SeedLifecycleStage_SEED_STAGE_TRAINING, Schedule: trainer.Schedule{Shape: trainer.ShapeLinear, Steps: 1 << 20},
	})
}

func (s *seedbed) blend() error {
	if err := s.attach("blending"); err != nil {
		return err
	}
	return s.order(trainer.Order{
		Kind: trainer.BlendIn, Seed: "blending", Slot: "hidden", Stage: leyline.SeedLifecycleStage_SEED_STAGE_BLENDING,
	})
}

// attaches times orders to attach, from their arrival to their effect.
func (s *seedbed) attaches(b *bench) error {
	return b.interleave([]turn{{ours, func(column string) error {
		var took []float64
		for i := range b.pick(100, 5) {
			seed := fmt.Sprintf("attached-%d", i)
			begun := time.Now()
			if err := s.attach(seed); err != nil {
				return err
			}
			took = append(took, time.Since(begun).Seconds()*1e3)
			if err := s.order(trainer.Order{Kind: trainer.Drop, Seed: seed, Slot: "hidden"}); err != nil {
				return err
			}
		}
		b.table.sample("graft_attach_ms", column, quantile(took, 0.5))
		return nil
	}}}, func() error { return nil })
}

// verify times the checks of a command before a record is looked at.
func (s *seedbed) verify(b *bench) error {
	core := kasmina.NewCore(kasmina.Config{Keyring: s.keyring})
	now := time.Now()
	command := &leyline.AdaptationCommand{
		Version: 1, CommandId: uuid.NewString(), CommandType: leyline.CommandType_COMMAND_SEED, TargetSeedId: "seed",
		IssuedAt: timestamppb.New(now), IssuedBy: "tamiyo",
		Annotations: map[string]string{"training_run_id": "run", "mesh_host_layers": `["hidden"]`, "policy_version": "tamiyo_plain_v1"},
		Payload: &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
			Operation: leyline.SeedOperation_SEED_OP_GERMINATE, BlueprintId: "BP009",
		}},
	}
	if err := s.keyring.SignCommand(command); err != nil {
		return err
	}
	n := b.pick(20_000, 500)
	return b.interleave([]turn{{ours, func(column string) error {
		begun := time.Now()
		for range n {
			if rejected := core.Verify(nil, command, now); rejected != nil {
				return rejected
			}
		}
		b.table.sample("command_verify_us", column, time.Since(begun).Seconds()*1e6/float64(n))
		return nil
	}}}, func() error { return nil })
}
