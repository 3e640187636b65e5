//go:build oracle

package oracle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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

// networkKernels are whole networks that grew: a host of two layers with a kept
// seed of each blend between them, in every form of slot.
func networkKernels(t *testing.T) []*comparison {
	t.Helper()
	var list []*comparison
	for _, shape := range [][]int{{4}, {3, 4}, {2, 3, 4}} {
		size := 1
		for _, d := range shape {
			size *= d
		}
		layer := func(name string, in, out int) graft.Layer {
			return func(b *kernel.Builder, input string) string {
				b.Init(name+".w", scaled(sample(uint64(out), in, out), 0.5))
				b.Node("MatMul", []string{input, name + ".w"}, name)
				return name
			}
		}
		file, err := graft.Export("network", []int{6}, []int{3}, layer("first", 6, size), grownSlot(t, shape).FlatLayer, layer("last", size, 3))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, &comparison{
			name: fmt.Sprintf("network-%d", len(shape)), title: "a grown network", slot: fmt.Sprint(shape), file: file, examples: examples,
		})
	}
	return list
}

// grownSlot is a slot in which four seeds were kept.
func grownSlot(t *testing.T, shape []int) *graft.Slot {
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
	slot, err := grafts.Slot("slot", shape...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = grafts.Run(ctx) })
	defer running.Wait()
	defer stop()
	for number, order := range growthOrders(t, shape) {
		order.Run, order.TrainerID, order.Slot, order.Number = "run", "trainer", "slot", uint64(number+1)
		command := order.Command()
		if err := keyring.SignCommand(command); err != nil {
			t.Fatal(err)
		}
		bus.orders <- command
		for begin := time.Now(); grafts.Stats().Applied <= uint64(number); grafts.Apply() {
			if time.Since(begin) > 10*time.Second {
				t.Fatalf("order %d was not applied: %+v", number+1, grafts.Stats())
			}
		}
	}
	if len(slot.Seeds()) != 4 {
		t.Fatalf("seeds %v", slot.Seeds())
	}
	return slot
}

// growthOrders attach and keep a seed of each blend.
func growthOrders(t *testing.T, shape []int) []trainer.Order {
	t.Helper()
	channels := make([]float32, shape[0])
	for i := range channels {
		channels[i] = float32(i+1) / float32(len(channels)+1)
	}
	blends := []trainer.Blend{
		{Mode: trainer.Convex}, {Mode: trainer.Residual}, {Mode: trainer.Channel, Channels: channels},
		{Mode: trainer.Confidence, GateK: 4, GateTau: 0.2, AlphaLow: 0.1, AlphaTop: 0.9},
	}
	var orders []trainer.Order
	for i, blend := range blends {
		width := shape[len(shape)-1]
		b := kernel.NewBuilderFor("seed", shape...)
		b.Init("w", sample(uint64(i), width, width))
		b.Node("MatMul", []string{"host", "w"}, "product")
		b.Node("Tanh", []string{"product"}, "seed")
		file := bytesOf(t, b)
		path := filepath.Join(t.TempDir(), "seed.onnx")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []trainer.Kind{trainer.Attach, trainer.BlendIn, trainer.Hold, trainer.Judge, trainer.Keep} {
			orders = append(orders, trainer.Order{
				Kind: kind, Seed: fmt.Sprint("seed-", i), Blend: blend, Schedule: trainer.DefaultSchedule(),
				Kernel: trainer.Kernel{Ref: path, Checksum: kernel.Checksum(file)},
			})
		}
	}
	return orders
}
