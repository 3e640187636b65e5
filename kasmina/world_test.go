package kasmina

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

const testFeatures = 3

// world is a running manager with a graft and a bus that remembers.
type world struct {
	t       testing.TB
	ctx     context.Context
	manager *Manager
	graft   *Graft
	keyring *signing.Keyring

	mu       sync.Mutex
	requests []*leyline.KernelPrefetchRequest
	refuse   error // of the next publications
	packets  []*leyline.TelemetryPacket
	files    map[string][]byte

	commands int
	stop     func()
}

// inWorld runs a test in virtual time.
func inWorld(t *testing.T, tweak func(*Config), test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newWorld(t, tweak)) })
}

func newWorld(t testing.TB, tweak func(*Config)) *world {
	keyring, err := signing.NewKeyring("secret")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, keyring: keyring, files: map[string][]byte{"BP001": residualKernel(t, testFeatures)}}
	config := Config{Keyring: keyring, Requests: w, Emit: w.emit, Open: w.open, TelemetryInterval: -1}
	if tweak != nil {
		tweak(&config)
	}
	if w.manager, err = NewManager(config); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.graft = NewGraft([]string{"weight", "bias"}, testFeatures)
	if err := w.manager.RegisterHost(w.ctx, w.graft); err != nil {
		t.Fatal(err)
	}
	return w
}

// start runs the manager until the test ends and fails when it does not stop.
func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.manager.Run(ctx) }()
	w.ctx = context.Background()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	w.t.Cleanup(w.stop)
}

func (w *world) PublishKernelPrefetchRequest(_ context.Context, request *leyline.KernelPrefetchRequest) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return w.refuse
	}
	w.requests = append(w.requests, request)
	return nil
}

// busFails makes publications fail from now on; nil heals the bus.
func (w *world) busFails(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = err
}

func (w *world) emit(packet *leyline.TelemetryPacket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.packets = append(w.packets, packet)
}

func (w *world) open(_ context.Context, ref string) (io.ReadCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	content, ok := w.files[ref]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// residualKernel is seed = host + host·W with a trainable W of zeros.
func residualKernel(t testing.TB, features int) []byte {
	b := kernel.NewBuilder("residual", features)
	b.Init("w", kernel.NewTensor(features, features))
	b.Node("MatMul", []string{"host", "w"}, "change")
	b.Node("Add", []string{"host", "change"}, "seed")
	content, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// command is a signed, fresh seed command with valid annotations; changes are
// made before it is signed.
func (w *world) command(
	op leyline.SeedOperation, seedID string, changes ...func(*leyline.AdaptationCommand),
) *leyline.AdaptationCommand {
	w.commands++
	command := seedCommandOf(op, map[string]string{"training_run_id": "run-1", "mesh_host_layers": `["weight"]`})
	command.Version = 1
	command.CommandId = "cmd-" + strconv.Itoa(w.commands)
	command.TargetSeedId = seedID
	command.IssuedAt = timestamppb.Now()
	for _, change := range changes {
		change(command)
	}
	if err := w.keyring.SignCommand(command); err != nil {
		w.t.Fatal(err)
	}
	return command
}

func annotate(name, text string) func(*leyline.AdaptationCommand) {
	return func(c *leyline.AdaptationCommand) { c.Annotations[name] = text }
}

const (
	opGerminate = leyline.SeedOperation_SEED_OP_GERMINATE
	opFossilize = leyline.SeedOperation_SEED_OP_FOSSILIZE
	opCull      = leyline.SeedOperation_SEED_OP_CULL
	opCancel    = leyline.SeedOperation_SEED_OP_CANCEL
)

// do carries out a seed command that must be accepted.
func (w *world) do(op leyline.SeedOperation, seedID string, changes ...func(*leyline.AdaptationCommand)) {
	w.t.Helper()
	if err := w.manager.HandleCommand(w.ctx, w.command(op, seedID, changes...)); err != nil {
		w.t.Fatalf("%s %s: %v", op, seedID, err)
	}
	settle()
}

// rejects carries out a command that must be refused for a reason.
func (w *world) rejects(command *leyline.AdaptationCommand, reason string) {
	w.t.Helper()
	err := w.manager.HandleCommand(w.ctx, command)
	var rejected *RejectedError
	if !errors.As(err, &rejected) || rejected.Reason != reason {
		w.t.Errorf("got %v, want %s", err, reason)
	}
}

// settle lets every task of the manager come to rest.
func settle() { synctest.Wait() }

func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) lastRequest() *leyline.KernelPrefetchRequest {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.requests) == 0 {
		w.t.Fatal("no kernel was requested")
	}
	return w.requests[len(w.requests)-1]
}

func (w *world) requestCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.requests)
}

// ready is the library's answer to a request.
func (w *world) ready(request *leyline.KernelPrefetchRequest) *leyline.KernelArtifactReady {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := request.GetBlueprintId()
	return &leyline.KernelArtifactReady{
		RequestId: request.GetRequestId(), BlueprintId: id, ArtifactRef: id, Checksum: kernel.Checksum(w.files[id]),
	}
}

func (w *world) answer(ready *leyline.KernelArtifactReady) {
	w.t.Helper()
	if err := w.manager.HandleReady(w.ctx, ready); err != nil {
		w.t.Fatalf("HandleReady: %v", err)
	}
	settle()
}

// plant germinates a seed and gives it its kernel.
func (w *world) plant(seedID string, changes ...func(*leyline.AdaptationCommand)) {
	w.t.Helper()
	w.do(opGerminate, seedID, changes...)
	w.answer(w.ready(w.lastRequest()))
}

// observe reports one epoch through the graft.
func (w *world) observe(seedID string, epoch uint32, evidence map[string]float32) {
	w.t.Helper()
	if err := w.graft.Observe(w.ctx, epoch, seedID, evidence); err != nil {
		w.t.Fatalf("observe epoch %d: %v", epoch, err)
	}
	settle()
}

// finalize ends a training step.
func (w *world) finalize(step int64) {
	w.t.Helper()
	if err := w.manager.Finalize(w.ctx, step); err != nil {
		w.t.Fatal(err)
	}
}

// grow takes a planted seed to a stage with good evidence, and returns the
// next epoch.
func (w *world) grow(seedID string, to leyline.SeedLifecycleStage) uint32 {
	w.t.Helper()
	for epoch := uint32(1); epoch < 60; epoch++ {
		if w.stage(seedID) == to {
			return epoch
		}
		for range 10 {
			w.graft.AdvanceAlpha(seedID)
		}
		evidence := goodEvidence()
		evidence["train_loss"] = 1 / float32(epoch)
		w.observe(seedID, epoch, evidence)
	}
	w.t.Fatalf("%s never came to %s, is in %s", seedID, to, w.stage(seedID))
	return 0
}
