package graft_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

// exampleBus stands in for the bus: an oona.Client in a real program.
type exampleBus struct {
	orders  chan *leyline.AdaptationCommand
	reports chan *leyline.SystemStatePacket
}

func (b exampleBus) PublishReport(_ context.Context, packet *leyline.SystemStatePacket, _ map[string]string) error {
	b.reports <- packet
	return nil
}

func (b exampleBus) FollowOrders(ctx context.Context, _ string, take func(*leyline.AdaptationCommand)) error {
	for {
		select {
		case order := <-b.orders:
			take(order)
		case <-ctx.Done():
			return nil
		}
	}
}

// exampleKernel writes a kernel that doubles what it reads, and says where it is.
func exampleKernel(folder string) (trainer.Kernel, error) {
	b := kernel.NewBuilder("double", 2)
	b.Init("factor", kernel.FromSlice([]float32{2}, 1))
	b.Node("Mul", []string{"host", "factor"}, "seed")
	content, err := b.Bytes()
	if err != nil {
		return trainer.Kernel{}, err
	}
	path := filepath.Join(folder, "double.onnx")
	return trainer.Kernel{Ref: path, Checksum: kernel.Checksum(content)}, os.WriteFile(path, content, 0o600)
}

// A host with one layer, and a service that orders a seed beside it, have it blend
// over four steps, and keep it.
func Example() {
	if err := growOneSeed(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// epoch 1: []
	// epoch 2: [s SEED_STAGE_TRAINING 0.00]
	// epoch 3: [s SEED_STAGE_BLENDING 0.75]
	// epoch 4: [s SEED_STAGE_SHADOWING 1.00]
}

func growOneSeed() error {
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	keyring, err := signing.NewKeyring("the shared secret")
	if err != nil {
		return err
	}
	bus := exampleBus{make(chan *leyline.AdaptationCommand), make(chan *leyline.SystemStatePacket)}
	grafts, err := graft.New(graft.Config{Run: "run-1", Keyring: keyring, Bus: bus, HostLayers: []string{"in", "out"}})
	if err != nil {
		return err
	}
	slot, err := grafts.Slot("in", 2)
	if err != nil {
		return err
	}

	ctx, stop := context.WithCancel(context.Background()) // a program's own, in a real one
	var running sync.WaitGroup
	running.Go(func() { _ = grafts.Run(ctx) })
	defer running.Wait()
	defer stop()

	orders, err := exampleOrders(grafts.TrainerID(), folder)
	if err != nil {
		return err
	}
	weight, tape := kernel.NewParameter("in", kernel.FromSlice([]float32{1, 0, 0, 1}, 2, 2)), kernel.NewTape()
	for epoch := range uint32(len(orders) + 1) {
		for range 2 {
			if err := exampleStep(grafts, slot, tape, weight); err != nil {
				return err
			}
		}
		grafts.Report(&leyline.SystemStatePacket{CurrentEpoch: epoch + 1}, nil)
		tell(<-bus.reports)
		if int(epoch) == len(orders) {
			return nil
		}
		command := orders[epoch].Command()
		if err := keyring.SignCommand(command); err != nil {
			return err
		}
		bus.orders <- command
		for applied := grafts.Stats().Applied; grafts.Stats().Applied == applied; { // a real trainer does not wait
			grafts.Apply()
		}
	}
	return nil
}

// exampleStep is one step of training.
func exampleStep(grafts *graft.Graft, slot *graft.Slot, tape *kernel.Tape, weight *kernel.Parameter) error {
	grafts.Apply()
	tape.Reset()
	hidden, err := tape.MatMul(tape.Constant(kernel.FromSlice([]float32{1, 2}, 1, 2)), tape.Parameter(weight))
	if err != nil {
		return err
	}
	out, err := slot.Output(tape, hidden)
	if err != nil {
		return err
	}
	loss, err := tape.SoftmaxCrossEntropy(out, []int{1})
	if err != nil {
		return err
	}
	if err := tape.Backward(loss); err != nil {
		return err
	}
	grafts.Step()
	return nil // here the optimizer moves the host's weights, and those of slot.Parameters
}

func exampleOrders(trainerID, folder string) ([]trainer.Order, error) {
	file, err := exampleKernel(folder)
	if err != nil {
		return nil, err
	}
	order := trainer.Order{Run: "run-1", TrainerID: trainerID, Seed: "s", Slot: "in"}
	var orders []trainer.Order
	for i, kind := range []trainer.Kind{trainer.Attach, trainer.BlendIn, trainer.Hold} {
		order.Kind, order.Number = kind, uint64(i+1)
		orders = append(orders, order)
	}
	orders[0].Kernel = file
	orders[0].Schedule = trainer.Schedule{Shape: trainer.ShapeLinear, Steps: 4, Temperature: 1}
	return orders, nil
}

func tell(report *leyline.SystemStatePacket) {
	var seeds []string
	for _, seed := range report.GetSeedStates() {
		seeds = append(seeds, fmt.Sprintf("%s %s %.2f", seed.GetSeedId(), seed.GetStage(), seed.GetMetrics()[trainer.MetricAlpha]))
	}
	fmt.Printf("epoch %d: %v\n", report.GetCurrentEpoch(), seeds)
}
