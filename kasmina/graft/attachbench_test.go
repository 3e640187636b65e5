package graft

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

type silence struct{}

func (silence) PublishReport(context.Context, *leyline.SystemStatePacket, map[string]string) error {
	return nil
}
func (silence) FollowOrders(context.Context, string, func(*leyline.AdaptationCommand)) error {
	return nil
}

// wide is a kernel of 100 kB.
func wide(b *testing.B, hidden int) []byte {
	b.Helper()
	rng := rand.New(rand.NewPCG(3, 3))
	builder := kernel.NewBuilder("wide", 64)
	for name, shape := range map[string][]int{"up": {64, hidden}, "down": {hidden, 64}} {
		weight := kernel.NewTensor(shape...)
		for i := range weight.Data {
			weight.Data[i] = float32(rng.NormFloat64()) * 0.05
		}
		builder.Init(name, weight)
	}
	builder.Node("MatMul", []string{"host", "up"}, "wide")
	builder.Node("Relu", []string{"wide"}, "bent")
	builder.Node("MatMul", []string{"bent", "down"}, "seed")
	content, err := builder.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	return content
}

// BenchmarkAttach is all the work from a command to a seed that is attached, of a
// kernel of 100 kB in a file that the system holds in memory, and of one that was
// loaded before.
func BenchmarkAttach(b *testing.B) {
	for name, kernels := range map[string]int{"loaded before": 1, "from its file": 2 * hotKernels} {
		b.Run(name, func(b *testing.B) {
			keyring, err := signing.NewKeyring("secret")
			if err != nil {
				b.Fatal(err)
			}
			g, err := New(Config{Run: "run-1", Keyring: keyring, Bus: silence{}})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := g.Slot("trunk", 64); err != nil {
				b.Fatal(err)
			}
			commands, hot := attachCommands(b, g, keyring, kernels), hotList{}
			for i := 0; b.Loop(); i++ {
				g.inbox.read, g.latest["s"], g.slots[0].seeds = 0, 0, nil
				g.take(commands[i%kernels], time.Now())
				wanted, _ := g.inbox.nextWanted(b.Context())
				var failed *AttachError
				if wanted.kernel, failed = g.prepareInTime(b.Context(), wanted, &hot); failed != nil {
					b.Fatal(failed)
				}
				g.inbox.queue(wanted)
				if changes := g.Apply(); len(changes) != 1 || changes[0].Err != nil {
					b.Fatal(changes)
				}
			}
		})
	}
}

func attachCommands(b *testing.B, g *Graft, keyring *signing.Keyring, kernels int) []*leyline.AdaptationCommand {
	b.Helper()
	folder := b.TempDir()
	var commands []*leyline.AdaptationCommand
	for i := range kernels {
		content := wide(b, 200+i)
		sum := kernel.Checksum(content)
		path := filepath.Join(folder, sum)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			b.Fatal(err)
		}
		order := trainer.Order{
			Kind: trainer.Attach, Run: "run-1", TrainerID: g.TrainerID(), Number: 1, Seed: "s",
			Kernel: trainer.Kernel{Ref: path, Checksum: sum}, Schedule: trainer.DefaultSchedule(),
		}
		command := order.Command()
		if err := keyring.SignCommand(command); err != nil {
			b.Fatal(err)
		}
		commands = append(commands, command)
	}
	return commands
}
