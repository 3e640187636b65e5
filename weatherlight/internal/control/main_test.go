package control_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait.
const patience = 20 * time.Second

// onBothBuses runs a test on a real Redis and on the embedded broker.
func onBothBuses(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) { test(t, redistest.Start(t).URL) })
	t.Run("broker", func(t *testing.T) {
		b, err := embedded.Start(embedded.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		test(t, b.URL())
	})
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-poll.C {
		if holds() {
			return
		}
	}
	t.Fatalf("waited %v in vain: %s", patience, what)
}

// office is a room on a bus, and what it has sent and offered.
type office struct {
	*control.Room

	t       *testing.T
	bus     *oona.Client
	keyring *signing.Keyring
	config  control.Config

	mu      sync.Mutex
	sent    []proto.Message
	offered []*leyline.TelemetryPacket
	number  uint64 // of the last report
}

type change func(*control.Config)

func newKeyring(t *testing.T) *signing.Keyring {
	t.Helper()
	keyring, err := signing.NewKeyring("secret")
	if err != nil {
		t.Fatal(err)
	}
	return keyring
}

// client is one of the group of all instances.
func client(t *testing.T, config oona.Config) *oona.Client {
	t.Helper()
	config.Group, config.Keyring = "weatherlight", newKeyring(t)
	bus, err := oona.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
	return bus
}

// open opens a room of an instance of that name.
func open(t *testing.T, url, name string, changes ...change) *office {
	t.Helper()
	keyring, bus := newKeyring(t), client(t, oona.Config{URL: url, Consumer: name})
	if err := bus.EnsureGroups(t.Context(), "weatherlight", oona.DefaultStreams().Names()...); err != nil {
		t.Fatal(err)
	}
	o := &office{t: t, bus: bus, keyring: keyring}
	records := bus.Records(trainer.Stream)
	o.config = control.Config{
		Core: kasmina.NewCore(kasmina.Config{Keyring: keyring, PrefetchTimeout: 50 * time.Millisecond}),
		// It starts nothing by itself: these tests do.
		Controller: tamiyo.NewController(tamiyo.Config{Patience: 1000}),
		Records:    records, Awaits: records, Keyring: keyring, Now: bus.Now, Rhythm: cadence.PhaseOf(name),
		Publish: o.publish, Offer: o.offer,
		Route: func(packet *leyline.TelemetryPacket) oona.Message {
			return bus.Route(packet, telemetry.Priority(packet))
		},
		KeepReport: func(_ context.Context, report *leyline.FieldReport) error { o.note(report); return nil },
		Blueprints: tamiyo.Blueprints{
			Candidates: func(context.Context, string, []int) ([]tamiyo.Candidate, error) { return nil, nil },
			Permit:     func(context.Context, string) error { return nil },
		},
		Grace: 20 * time.Millisecond,
	}
	for _, change := range changes {
		change(&o.config)
	}
	o.Room = control.New(o.config)
	return o
}

func (o *office) publish(ctx context.Context, messages ...oona.Message) error {
	for _, message := range messages {
		o.note(message.Payload)
	}
	return o.bus.Publish(ctx, messages...)
}

func (o *office) note(message proto.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent = append(o.sent, message)
}

func (o *office) offer(packet *leyline.TelemetryPacket) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.offered = append(o.offered, packet)
}

// sentOf are the messages of one kind that a room has sent.
func sentOf[M proto.Message](o *office) []M {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []M
	for _, message := range o.sent {
		if m, ok := message.(M); ok {
			found = append(found, m)
		}
	}
	return found
}

// events counts an event in what was sent and offered.
func (o *office) events(description string) int {
	packets := sentOf[*leyline.TelemetryPacket](o)
	o.mu.Lock()
	packets = append(packets, o.offered...)
	o.mu.Unlock()
	count := 0
	for _, packet := range packets {
		for _, event := range packet.GetEvents() {
			if event.GetDescription() == description {
				count++
			}
		}
	}
	return count
}

// report is the next report of a run's trainer, as the bus delivers it.
func (o *office) report(run string) *oona.Delivery {
	o.number++
	told := trainer.Report{
		TrainerID: "trainer-of-" + run, Number: o.number, HostLayers: []string{"hidden"},
		Slots: map[string][]int{"hidden": {4}}, KernelAccess: []string{"path"},
	}
	return &oona.Delivery{
		Payload: &leyline.SystemStatePacket{
			Version: 1, TrainingRunId: run, CurrentEpoch: uint32(o.number), ValidationLoss: 1,
			PacketId: fmt.Sprint(run, "-", o.number),
		},
		Attributes: told.Attributes(), Issued: o.bus.Now(), Published: o.bus.Now(),
	}
}

// hear takes reports of runs.
func (o *office) hear(runs ...string) {
	o.t.Helper()
	for _, run := range runs {
		if _, err := o.State(o.t.Context(), o.report(run)); err != nil {
			o.t.Fatal(err)
		}
	}
}

// command is a signed command about a run; changes are made before it is signed.
func (o *office) command(id, run string, changes ...func(*leyline.AdaptationCommand)) *leyline.AdaptationCommand {
	o.t.Helper()
	command := &leyline.AdaptationCommand{
		Version: 1, CommandId: id, CommandType: leyline.CommandType_COMMAND_SEED, IssuedBy: "tamiyo",
		IssuedAt: timestamppb.New(o.config.Now()), Annotations: map[string]string{"mesh_host_layers": `["hidden"]`},
	}
	if run != "" {
		command.Annotations["training_run_id"] = run
	}
	for _, change := range changes {
		change(command)
	}
	if err := o.keyring.SignCommand(command); err != nil {
		o.t.Fatal(err)
	}
	return command
}

// germinating makes a command germinate a seed.
func germinating(seed string) func(*leyline.AdaptationCommand) {
	return func(c *leyline.AdaptationCommand) {
		c.TargetSeedId = seed
		c.Payload = &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
			Operation: leyline.SeedOperation_SEED_OP_GERMINATE, BlueprintId: "BP001",
		}}
	}
}

func delivered(payload proto.Message) *oona.Delivery { return &oona.Delivery{Payload: payload} }

func (o *office) do(command *leyline.AdaptationCommand) {
	o.t.Helper()
	if _, err := o.Command(o.t.Context(), delivered(command)); err != nil {
		o.t.Fatal(err)
	}
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// answer is the library's answer to a request for the slot of these trainers.
func answer(request *leyline.KernelPrefetchRequest) (*leyline.KernelArtifactReady, map[string]string) {
	const guard = `[{"dtype": "float32", "index": 0, "requires_grad": false, "shape": [8, 4], "stride": [4, 1]}]`
	return &leyline.KernelArtifactReady{
		RequestId: request.GetRequestId(), BlueprintId: request.GetBlueprintId(),
		Checksum: digestOf("kernel"), ArtifactRef: "/kernels/kernel.onnx", GuardDigest: digestOf(guard),
	}, map[string]string{trainer.AttributeFormat: trainer.FormatONNX}
}

// orders are the orders on the stream of a run, until there is some number of them.
func (o *office) orders(run string, want int) []trainer.Order {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	var orders []trainer.Order
	err := o.bus.FollowOrders(ctx, trainer.Stream(run), func(command *leyline.AdaptationCommand) {
		order, err := trainer.ReadOrder(command)
		if err = errors.Join(err, o.keyring.VerifyCommand(command)); err != nil {
			o.t.Errorf("order %v: %v", command, err)
		}
		if orders = append(orders, order); len(orders) == want {
			cancel()
		}
	})
	if err != nil {
		o.t.Error(err)
	}
	return orders
}

// consume reads a stream with one handler until the test ends.
func (o *office) consume(subscription oona.Subscription) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.bus.Consume(ctx, ctx, subscription) }()
	o.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			o.t.Error(err)
		}
	})
}

func (o *office) view(run string) *control.View {
	o.t.Helper()
	view, err := o.View(o.t.Context(), run)
	if err != nil {
		o.t.Fatal(err)
	}
	return view
}
