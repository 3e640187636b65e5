//go:build oracle

package oracle

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

// orderBus hands out a list of orders.
type orderBus struct {
	orders chan *leyline.AdaptationCommand
}

func (orderBus) PublishReport(context.Context, *leyline.SystemStatePacket, map[string]string) error {
	return nil
}

func (b orderBus) FollowOrders(ctx context.Context, _ string, take func(*leyline.AdaptationCommand)) error {
	for {
		select {
		case order := <-b.orders:
			take(order)
		case <-ctx.Done():
			return nil
		}
	}
}

// garden is a graft in which seeds grow as they are told to.
type garden struct {
	t       *testing.T
	keyring *signing.Keyring
	bus     orderBus
	graft   *graft.Graft
	noise   *rand.Rand
	number  uint64
}

func newGarden(t *testing.T) *garden {
	t.Helper()
	keyring, err := signing.NewKeyring("secret")
	if err != nil {
		t.Fatal(err)
	}
	bus := orderBus{make(chan *leyline.AdaptationCommand)}
	grafts, err := graft.New(graft.Config{Run: "run", TrainerID: "trainer", Keyring: keyring, Bus: bus})
	if err != nil {
		t.Fatal(err)
	}
	return &garden{t: t, keyring: keyring, bus: bus, graft: grafts, noise: rand.New(rand.NewPCG(1, 12))}
}

func (g *garden) slot(name string, shape []int) *graft.Slot {
	g.t.Helper()
	slot, err := g.graft.Slot(name, shape...)
	if err != nil {
		g.t.Fatal(err)
	}
	return slot
}

// open has the graft follow orders until the test ends.
func (g *garden) open() {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = g.graft.Run(ctx) })
	g.t.Cleanup(func() {
		stop()
		running.Wait()
	})
}

// attach grafts a kernel that lies in a file.
func (g *garden) attach(seed, slot string, file []byte, blend trainer.Blend) {
	g.t.Helper()
	path := filepath.Join(g.t.TempDir(), "seed.onnx")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.order(trainer.Order{
		Kind: trainer.Attach, Seed: seed, Slot: slot, Blend: blend, Schedule: trainer.DefaultSchedule(),
		Kernel: trainer.Kernel{Ref: path, Checksum: kernel.Checksum(file)},
	})
}

// order has an order carried out.
func (g *garden) order(order trainer.Order) {
	g.t.Helper()
	g.number++
	order.Run, order.TrainerID, order.Number = "run", "trainer", g.number
	command := order.Command()
	if err := g.keyring.SignCommand(command); err != nil {
		g.t.Fatal(err)
	}
	g.bus.orders <- command
	for begin := time.Now(); g.graft.Stats().Applied < g.number; {
		for _, change := range g.graft.Apply() {
			if change.Err != nil {
				g.t.Fatalf("order %d: %v", g.number, change.Err)
			}
		}
		if time.Since(begin) > 10*time.Second {
			g.t.Fatalf("order %d was not applied: %+v", g.number, g.graft.Stats())
		}
	}
}

// forward is a way through a network, or a part of one.
type forward func(tape *kernel.Tape, input kernel.Value) (kernel.Value, error)

const (
	trainingSteps = 4
	trainingRate  = 0.01
)

// train takes steps of gradient descent towards outputs drawn at random, on inputs
// whose mean and spread are far from those with which the statistics of a fresh
// kernel begin.
func (g *garden) train(way forward, input []int, parameters func() []*kernel.Parameter) {
	g.t.Helper()
	tape := kernel.NewTape()
	for step := range uint64(trainingSteps) {
		tape.Reset()
		tape.Train(g.noise)
		batch := scaled(sample(step, slices.Insert(slices.Clone(input), 0, examples)...), 2)
		for i := range batch.Data {
			batch.Data[i] += 0.5
		}
		out, err := way(tape, tape.Constant(batch))
		if err == nil {
			err = backward(tape, out, sample(step+100, out.Shape()...))
		}
		if err != nil {
			g.t.Fatal(err)
		}
		g.graft.Step()
		descend(parameters())
	}
}

// backward is that of the mean squared distance to a target.
func backward(tape *kernel.Tape, out kernel.Value, target *kernel.Tensor) error {
	difference, err := tape.Sub(out, tape.Constant(target))
	if err != nil {
		return err
	}
	squares, err := tape.Mul(difference, difference)
	if err != nil {
		return err
	}
	loss, err := tape.ReduceMean(squares, false)
	if err != nil {
		return err
	}
	return tape.Backward(loss)
}

func descend(parameters []*kernel.Parameter) {
	for _, parameter := range parameters {
		if parameter.Grad == nil {
			continue
		}
		for i, gradient := range parameter.Grad.Data {
			parameter.Value.Data[i] -= trainingRate * gradient
		}
		parameter.ZeroGrad()
	}
}
