package kasmina

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// memoryBus is a bus between one graft and the test.
type memoryBus struct {
	orders  chan *leyline.AdaptationCommand
	reports chan Report
}

func (b memoryBus) PublishReport(ctx context.Context, packet *leyline.SystemStatePacket, attributes map[string]string) error {
	report, err := trainer.ReadReport(attributes)
	if err != nil {
		return err
	}
	select {
	case b.reports <- Report{Packet: packet, Report: report, Protocol: true}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b memoryBus) FollowOrders(ctx context.Context, _ string, take func(*leyline.AdaptationCommand)) error {
	for {
		select {
		case order := <-b.orders:
			take(order)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// together is a core and a real graft with nothing but messages between them.
type together struct {
	*world
	graft  *graft.Graft
	slot   *graft.Slot
	bus    memoryBus
	kernel string // path
	sum    string
	tape   *kernel.Tape
}

func newTogether(t *testing.T) *together {
	t.Helper()
	w := &together{world: newWorld(t), tape: kernel.NewTape()}
	w.bus = memoryBus{make(chan *leyline.AdaptationCommand, 64), make(chan Report, 64)}
	g, err := graft.New(graft.Config{
		Run: testRun, TrainerID: "trainer-1", Keyring: w.keyring, Bus: w.bus, HostLayers: []string{"weight", "bias"},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.graft = g
	if w.slot, err = g.Slot("hidden", 3); err != nil {
		t.Fatal(err)
	}
	b := kernel.NewBuilder("residual", 3)
	b.Init("w", kernel.NewTensor(3, 3))
	b.Node("MatMul", []string{"host", "w"}, "change")
	b.Node("Add", []string{"host", "change"}, "seed")
	content, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	w.kernel, w.sum = filepath.Join(t.TempDir(), "residual.onnx"), kernel.Checksum(content)
	if err := os.WriteFile(w.kernel, content, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = g.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	return w
}

// carry sends what was ordered and waits until it was read.
func (w *together) carry(orders []trainer.Order) {
	w.t.Helper()
	for _, order := range orders {
		command := order.Command()
		command.CommandId, command.IssuedAt = "order-"+number(int(order.Number)), timestamppb.New(w.now)
		if err := w.keyring.SignCommand(command); err != nil {
			w.t.Fatal(err)
		}
		w.bus.orders <- command
		if err := w.graft.Await(w.t.(*testing.T).Context(), order.Number); err != nil {
			w.t.Fatal(err)
		}
	}
}

// epoch trains a few steps, reports, and carries out what is ordered for it.
func (w *together) epoch(epoch int) {
	w.t.Helper()
	for range 8 {
		w.graft.Apply()
		w.step()
	}
	evidence := make(map[string]graft.Evidence)
	for _, seed := range w.graft.Seeds() {
		evidence[seed.ID] = graft.Evidence{
			Loss:      graft.Comparison{Before: 1, After: 0.5, Error: 0.01, Examples: 100},
			TrainLoss: new(1 / float64(epoch+1)),
		}
	}
	w.graft.Report(&leyline.SystemStatePacket{CurrentEpoch: uint32(epoch + 1)}, evidence)
	w.now = w.now.Add(time.Second)
	w.carry(w.decide(<-w.bus.reports).Orders)
}

// step is one step of training, of the host and of the seeds in isolation.
func (w *together) step() {
	w.t.Helper()
	w.tape.Reset()
	batch := kernel.NewTensor(4, 3)
	for i := range batch.Data {
		batch.Data[i] = rand.Float32()
	}
	host := w.tape.Input(batch)
	out, err := w.slot.Output(w.tape, host)
	if err != nil {
		w.t.Fatal(err)
	}
	loss, err := w.tape.ReduceSum(out, false)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, seed := range w.graft.Seeds() {
		if seed.Stage != lifecycle.Training {
			continue
		}
		alone, err := w.slot.Isolated(w.tape, seed.ID, host)
		if err != nil {
			w.t.Fatal(err)
		}
		sum, err := w.tape.ReduceSum(alone, false)
		if err != nil {
			w.t.Fatal(err)
		}
		if loss, err = w.tape.Add(loss, sum); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.tape.Backward(loss); err != nil {
		w.t.Fatal(err)
	}
	w.graft.Step()
}

// A core and a graft that share nothing but the wire take a seed to its end.
func TestCoreAndGraftGrowASeedTogether(t *testing.T) {
	t.Parallel()
	w := newTogether(t)
	w.epoch(0)
	w.do(opGerminate, "s")
	ready := w.ready(w.lastRequest())
	ready.Ready.Checksum, ready.Ready.ArtifactRef = w.sum, w.kernel
	w.announced[w.sum] = true
	w.carry(w.decide(ready).Orders)
	for epoch := 1; epoch < 60 && w.stage("s") != lifecycle.Fossilized; epoch++ {
		w.epoch(epoch)
		if w.stage("s") == lifecycle.Probationary && NewView(w.record).Seeds[0].Earned {
			w.do(opFossilize, "s")
			w.carry(w.last.Orders)
		}
	}
	w.wantStage("s", lifecycle.Fossilized)
	w.epoch(60)
	w.epoch(61)
	want := []string{"attach:s", "blend:s", "hold:s", "judge:s", "keep:s", "tune:s"}
	if got := w.kinds(); !slices.Equal(got, want) || len(w.record.Pending) != 0 {
		t.Errorf("orders %v, pending %+v", got, w.record.Pending)
	}
	w.do(opCull, "s")
	w.carry(w.last.Orders)
	w.epoch(62)
	if len(w.graft.Seeds()) != 0 || len(w.record.Pending) != 0 {
		t.Errorf("grafted %v, pending %+v", w.graft.Seeds(), w.record.Pending)
	}
	if told := events(w.packets, "violation_recorded"); len(told) != 0 {
		t.Errorf("violations %v", told)
	}
}
