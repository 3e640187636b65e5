package graft_test

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	stageTraining     = leyline.SeedLifecycleStage_SEED_STAGE_TRAINING
	stageBlending     = leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
	stageShadowing    = leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING
	stageProbationary = leyline.SeedLifecycleStage_SEED_STAGE_PROBATIONARY
	stageFossilized   = leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED

	patience = 10 * time.Second
)

// told is a report as the bus got it.
type told struct {
	packet *leyline.SystemStatePacket
	report trainer.Report
}

func (r told) seed(id string) *leyline.SeedState {
	for _, state := range r.packet.GetSeedStates() {
		if state.GetSeedId() == id {
			return state
		}
	}
	return nil
}

// memoryBus is a bus in memory: a list of commands that is read from its
// beginning, and the reports that came.
type memoryBus struct {
	mu       sync.Mutex
	commands []*leyline.AdaptationCommand
	more     chan struct{}
	reports  chan told
	refuse   error
	stuck    chan struct{} // publishing waits for it
}

func newBus() *memoryBus {
	return &memoryBus{more: make(chan struct{}), reports: make(chan told, 1024)}
}

func (b *memoryBus) PublishReport(ctx context.Context, packet *leyline.SystemStatePacket, attributes map[string]string) error {
	b.mu.Lock()
	refuse, stuck := b.refuse, b.stuck
	b.mu.Unlock()
	if stuck != nil {
		select {
		case <-stuck:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if refuse != nil {
		return refuse
	}
	report, err := trainer.ReadReport(attributes)
	if err != nil {
		return err
	}
	b.reports <- told{proto.CloneOf(packet), report}
	return nil
}

func (b *memoryBus) FollowOrders(ctx context.Context, _ string, take func(*leyline.AdaptationCommand)) error {
	for next := 0; ; {
		b.mu.Lock()
		fresh, more := slices.Clone(b.commands[min(next, len(b.commands)):]), b.more
		b.mu.Unlock()
		for _, command := range fresh {
			take(command)
			next++
		}
		if len(fresh) > 0 {
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *memoryBus) send(commands ...*leyline.AdaptationCommand) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.commands = append(b.commands, commands...)
	close(b.more)
	b.more = make(chan struct{})
}

func (b *memoryBus) set(refuse error, stuck chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse, b.stuck = refuse, stuck
}

// world is a graft with one slot of features on a bus in memory, and the
// service's side of it.
type world struct {
	testing.TB
	bus     *memoryBus
	keyring *signing.Keyring
	graft   *graft.Graft
	slot    *graft.Slot
	folder  string
	number  uint64
}

const features = 4

// newWorld starts a graft with the slot "trunk".
func newWorld(t testing.TB, change func(*graft.Config), shape ...int) *world {
	t.Helper()
	w := idleWorld(t, change, shape...)
	w.run()
	return w
}

// idleWorld is a world whose graft does not run yet.
func idleWorld(t testing.TB, change func(*graft.Config), shape ...int) *world {
	t.Helper()
	keyring, err := signing.NewKeyring("secret")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, bus: newBus(), keyring: keyring, folder: t.TempDir()}
	config := graft.Config{Run: "run-1", Experiment: "test", Keyring: keyring, Bus: w.bus, HostLayers: []string{"trunk"}}
	if change != nil {
		change(&config)
	}
	if w.graft, err = graft.New(config); err != nil {
		t.Fatal(err)
	}
	if len(shape) == 0 {
		shape = []int{features}
	}
	if w.slot, err = w.graft.Slot("trunk", shape...); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(w.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.graft.Run(ctx) }()
	w.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.Errorf("Run: %v", err)
		}
	})
}

// kernelFile writes a kernel and returns where it lies and its checksum.
func (w *world) kernelFile(content []byte) trainer.Kernel {
	w.Helper()
	sum := kernel.Checksum(content)
	path := filepath.Join(w.folder, sum+".onnx")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.Fatal(err)
	}
	return trainer.Kernel{Ref: path, Checksum: sum}
}

// order is the next order to this graft.
func (w *world) order(kind trainer.Kind, seed string) trainer.Order {
	w.number++
	return trainer.Order{Kind: kind, Run: "run-1", TrainerID: w.graft.TrainerID(), Number: w.number, Seed: seed, Slot: "trunk"}
}

func (w *world) signed(order trainer.Order) *leyline.AdaptationCommand {
	w.Helper()
	command := order.Command()
	command.CommandId = "command-" + strconv.FormatUint(order.Number, 10)
	if err := w.keyring.SignCommand(command); err != nil {
		w.Fatal(err)
	}
	return command
}

// send orders something and waits until it has been taken, or dropped.
func (w *world) send(orders ...trainer.Order) []graft.Change {
	w.Helper()
	var changes []graft.Change
	for _, order := range orders {
		changes = append(changes, w.deliver(w.signed(order))...)
	}
	return changes
}

// deliver is send of a command as it is.
func (w *world) deliver(command *leyline.AdaptationCommand) []graft.Change {
	w.Helper()
	var changes []graft.Change
	before := settled(w.graft)
	w.bus.send(command)
	w.eventually(func() bool {
		changes = append(changes, w.graft.Apply()...)
		return settled(w.graft) > before
	})
	return changes
}

// settled counts the orders that came to an end.
func settled(g *graft.Graft) uint64 {
	stats := g.Stats()
	total := stats.Applied
	for _, count := range stats.Dropped {
		total += count
	}
	return total
}

func (w *world) eventually(holds func() bool) {
	w.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			w.Fatal("it never came")
		}
	}
}

// attachOrder orders a kernel to be attached.
func (w *world) attachOrder(seed string, content []byte, blend trainer.Blend) trainer.Order {
	order := w.order(trainer.Attach, seed)
	order.Blueprint, order.Kernel, order.Blend, order.Schedule = "BP001", w.kernelFile(content), blend, linear(10)
	return order
}

func linear(steps int) trainer.Schedule {
	return trainer.Schedule{Shape: trainer.ShapeLinear, Steps: steps, Temperature: 1}
}

// plant attaches a seed and moves it to a stage.
func (w *world) plant(seed string, content []byte, blend trainer.Blend, stage leyline.SeedLifecycleStage) {
	w.Helper()
	w.send(w.attachOrder(seed, content, blend))
	w.grow(seed, stage)
}

var ladder = []struct {
	kind  trainer.Kind
	stage leyline.SeedLifecycleStage
}{
	{trainer.BlendIn, stageBlending}, {trainer.Hold, stageShadowing},
	{trainer.Judge, stageProbationary}, {trainer.Keep, stageFossilized},
}

// grow orders a seed from stage to stage.
func (w *world) grow(seed string, stage leyline.SeedLifecycleStage) {
	w.Helper()
	for _, rung := range ladder {
		if w.seed(seed).Stage == stage {
			return
		}
		w.send(w.order(rung.kind, seed))
	}
	w.wantStage(seed, stage)
}

func (w *world) seed(id string) graft.Seed {
	w.Helper()
	for _, seed := range w.graft.Seeds() {
		if seed.ID == id {
			return seed
		}
	}
	w.Fatalf("no seed %q is attached: %v", id, w.graft.Stats())
	return graft.Seed{}
}

func (w *world) wantStage(id string, stage leyline.SeedLifecycleStage) {
	w.Helper()
	if got := w.seed(id).Stage; got != stage {
		w.Fatalf("seed %s is in %s, want %s (%+v)", id, got, stage, w.graft.Stats())
	}
}

// report reports and returns what the bus got.
func (w *world) report(evidence map[string]graft.Evidence) told {
	w.Helper()
	w.graft.Report(&leyline.SystemStatePacket{CurrentEpoch: 1}, evidence)
	select {
	case report := <-w.bus.reports:
		return report
	case <-time.After(patience):
		w.Fatal("no report came")
		return told{}
	}
}

func fileOf(t testing.TB, b *kernel.Builder) []byte {
	t.Helper()
	content, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// scaling is seed = factor·host with a trainable factor, for a slot of any form.
func scaling(t testing.TB, factor float32, shape ...int) []byte {
	t.Helper()
	b := kernel.NewBuilderFor("scaling", shape...)
	b.Init("factor", kernel.FromSlice([]float32{factor}, 1))
	b.Node("Mul", []string{"host", "factor"}, "seed")
	return fileOf(t, b)
}

// mixing is seed = tanh(host·w + b) along the last dimension, with more to learn.
func mixing(t testing.TB, seed uint64, shape ...int) []byte {
	t.Helper()
	width := shape[len(shape)-1]
	rng := rand.New(rand.NewPCG(seed, 7))
	b := kernel.NewBuilderFor("mixing", shape...)
	b.Init("w", normal(rng, width, width))
	b.Init("b", normal(rng, width))
	b.Node("MatMul", []string{"host", "w"}, "product")
	b.Node("Add", []string{"product", "b"}, "sum")
	b.Node("Tanh", []string{"sum"}, "seed")
	return fileOf(t, b)
}

func normal(rng *rand.Rand, shape ...int) *kernel.Tensor {
	x := kernel.NewTensor(shape...)
	for i := range x.Data {
		x.Data[i] = float32(rng.NormFloat64())
	}
	return x
}

func near(t testing.TB, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
	for i := range got {
		if !(math.Abs(float64(got[i]-want[i])) <= 1e-4) {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}
}

// output runs the slot on a batch and returns a copy of what comes out.
func (w *world) output(batch *kernel.Tensor) []float32 {
	w.Helper()
	tape := kernel.NewTape()
	out, err := w.slot.Output(tape, tape.Constant(batch))
	if err != nil {
		w.Fatal(err)
	}
	return slices.Clone(out.Tensor().Data)
}

// row is a batch of one example.
func row(x ...float32) *kernel.Tensor { return kernel.FromSlice(x, 1, len(x)) }
