package kasmina

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

const testRun = "run-1"

// noon is when tests begin.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is one run: its record as it is stored, a core that decides, and a
// trainer that obeys.
type world struct {
	t       testing.TB
	core    *Core
	keyring *signing.Keyring
	record  *Record
	now     time.Time
	trainer *fakeTrainer

	packets  []*leyline.TelemetryPacket
	orders   []trainer.Order
	requests []KernelRequest
	counters *Counters
	last     Decision

	numbers   map[uint64]string // what was ordered under a number
	announced map[string]bool   // checksums
	commands  int
	hurried   bool // leaves out a check that takes long
}

func newWorld(t testing.TB, tweaks ...func(*Config)) *world {
	t.Helper()
	keyring, err := signing.NewKeyring("secret")
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Keyring: keyring, ArtifactURL: "http://kernels:8080/", TelemetryInterval: -1}
	for _, tweak := range tweaks {
		tweak(&config)
	}
	w := &world{
		t: t, core: NewCore(config), keyring: keyring, now: noon, counters: NewCounters(),
		numbers: make(map[uint64]string), announced: make(map[string]bool),
	}
	w.trainer = newFakeTrainer("trainer-1")
	return w
}

// decide hands a message to the core and keeps what follows. It checks what
// must hold for every decision.
func (w *world) decide(message Message) Decision {
	w.t.Helper()
	before := stored(w.t, w.record)
	d := w.core.Decide(w.record, message, w.now)
	if diff := cmp.Diff(before, stored(w.t, w.record)); diff != "" {
		w.t.Fatalf("the record that was handed in is changed by %T:\n%s", message, diff)
	}
	again := w.core.Decide(w.record, message, w.now)
	if diff := cmp.Diff(stored(w.t, d.Record), stored(w.t, again.Record)); diff != "" {
		w.t.Fatalf("%T is decided in two ways:\n%s", message, diff)
	}
	told := []cmp.Option{protocmp.Transform(), cmpopts.IgnoreFields(Decision{}, "Record"), cmp.AllowUnexported(RejectedError{})}
	if !w.hurried {
		if diff := cmp.Diff(d, again, told...); diff != "" {
			w.t.Fatalf("%T is decided in two ways:\n%s", message, diff)
		}
	}
	if d.Record == nil && (len(d.Orders) > 0 || len(d.Requests) > 0) {
		w.t.Fatalf("orders without a record: %v", d.Orders)
	}
	if d.Record != nil {
		read, err := DecodeRecord([]byte(stored(w.t, d.Record)))
		if err != nil {
			w.t.Fatalf("after %T: %v", message, err)
		}
		if diff := cmp.Diff(stored(w.t, d.Record), stored(w.t, read)); diff != "" {
			w.t.Fatalf("the record is not what was stored:\n%s", diff)
		}
		w.record = read
	}
	w.checkOrders(d.Orders)
	w.counters.Observe(d)
	w.packets = append(w.packets, d.Packets...)
	w.orders = append(w.orders, d.Orders...)
	w.requests = append(w.requests, d.Requests...)
	w.last = d
	return d
}

func stored(t testing.TB, r *Record) string {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkOrders holds that a number never means two things, and that nothing is
// attached that was not announced.
func (w *world) checkOrders(orders []trainer.Order) {
	w.t.Helper()
	for _, order := range orders {
		command := order.Command()
		text, err := proto.MarshalOptions{Deterministic: true}.Marshal(command)
		if err != nil {
			w.t.Fatal(err)
		}
		if known, ok := w.numbers[order.Number]; ok && known != string(text) {
			w.t.Fatalf("order %d means two things, now %+v", order.Number, order)
		}
		w.numbers[order.Number] = string(text)
		if order.Kind == trainer.Attach && !w.announced[order.Kernel.Checksum] {
			w.t.Fatalf("attach of a kernel that nobody announced: %+v", order)
		}
		read, err := trainer.ReadOrder(command)
		if err != nil || read.Kind != order.Kind || read.Seed != order.Seed || read.Number != order.Number {
			w.t.Fatalf("order %+v reads as %+v, %v", order, read, err)
		}
		if order.Run != testRun || w.record.Trainer.ID != order.TrainerID {
			w.t.Fatalf("order for %s of %s", order.Run, order.TrainerID)
		}
	}
}

// command is a signed, fresh command for a seed; changes are made before it is
// signed.
func (w *world) command(
	op leyline.SeedOperation, seedID string, changes ...func(*leyline.AdaptationCommand),
) *leyline.AdaptationCommand {
	w.commands++
	command := &leyline.AdaptationCommand{
		Version: 1, CommandId: "cmd-" + strconv.Itoa(w.commands), CommandType: leyline.CommandType_COMMAND_SEED,
		TargetSeedId: seedID, IssuedBy: "tamiyo", IssuedAt: timestamppb.New(w.now),
		Payload: &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
			Operation: op, BlueprintId: "BP001",
		}},
		Annotations: map[string]string{"training_run_id": testRun, "mesh_host_layers": `["weight"]`},
	}
	for _, change := range changes {
		change(command)
	}
	if err := w.keyring.SignCommand(command); err != nil {
		w.t.Fatal(err)
	}
	return command
}

type change = func(*leyline.AdaptationCommand)

func annotate(name, text string) change {
	return func(c *leyline.AdaptationCommand) { c.Annotations[name] = text }
}

func issued(at time.Time) change {
	return func(c *leyline.AdaptationCommand) { c.IssuedAt = timestamppb.New(at) }
}

func ofType(kind leyline.CommandType) change {
	return func(c *leyline.AdaptationCommand) { c.CommandType, c.Payload = kind, nil }
}

func within(ms uint32) change {
	return func(c *leyline.AdaptationCommand) { c.ExecutionDeadlineMs = ms }
}

const (
	opGerminate = leyline.SeedOperation_SEED_OP_GERMINATE
	opTrain     = leyline.SeedOperation_SEED_OP_START_TRAINING
	opGraft     = leyline.SeedOperation_SEED_OP_START_GRAFTING
	opStabilize = leyline.SeedOperation_SEED_OP_STABILIZE
	opEvaluate  = leyline.SeedOperation_SEED_OP_EVALUATE
	opTune      = leyline.SeedOperation_SEED_OP_FINE_TUNE
	opFossilize = leyline.SeedOperation_SEED_OP_FOSSILIZE
	opCull      = leyline.SeedOperation_SEED_OP_CULL
	opCancel    = leyline.SeedOperation_SEED_OP_CANCEL
)

// send verifies a command and hands it to the core, as the service does.
func (w *world) send(command *leyline.AdaptationCommand) *RejectedError {
	w.t.Helper()
	if rejected := w.core.Verify(w.record, command, w.now); rejected != nil {
		d := w.core.Reject(rejected, w.now)
		w.counters.Observe(d)
		w.packets = append(w.packets, d.Packets...)
		return rejected
	}
	d := w.decide(Command{command})
	if d.Rejected != nil && d.Record != nil {
		w.t.Fatalf("a refused command changed the record: %v", d.Rejected)
	}
	return d.Rejected
}

// do carries out a seed command that must be accepted.
func (w *world) do(op leyline.SeedOperation, seedID string, changes ...change) {
	w.t.Helper()
	w.accepts(w.command(op, seedID, changes...))
}

func (w *world) accepts(command *leyline.AdaptationCommand) {
	w.t.Helper()
	if rejected := w.send(command); rejected != nil {
		w.t.Fatal(rejected)
	}
}

// rejects carries out a command that must be refused for a reason.
func (w *world) rejects(command *leyline.AdaptationCommand, reason string) *RejectedError {
	w.t.Helper()
	rejected := w.send(command)
	if rejected == nil || rejected.Reason != reason {
		w.t.Fatalf("got %v, want %s", rejected, reason)
	}
	var asError *RejectedError
	if !errors.As(error(rejected), &asError) || !strings.Contains(rejected.Error(), reason) {
		w.t.Errorf("error %v", rejected)
	}
	return rejected
}

// wait lets time pass, with a tick at everything that comes due.
func (w *world) wait(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for range 1000 {
		due := w.core.Decide(w.record, Tick{}, w.now).Due
		if due.IsZero() || due.After(end) {
			break
		}
		if due.After(w.now) {
			w.now = due
		}
		if w.decide(Tick{}).Record == nil {
			w.now = w.now.Add(time.Millisecond)
		}
	}
	w.now = end
	w.decide(Tick{})
}

func (w *world) lastRequest() *leyline.KernelPrefetchRequest {
	w.t.Helper()
	if len(w.requests) == 0 {
		w.t.Fatal("no kernel was requested")
	}
	return w.requests[len(w.requests)-1].Request
}

// ready is the library's answer to a request, for a slot of three features.
func (w *world) ready(request *leyline.KernelPrefetchRequest) Ready {
	checksum := digestOf(request.GetBlueprintId())
	w.announced[checksum] = true
	return Ready{
		Ready: &leyline.KernelArtifactReady{
			RequestId: request.GetRequestId(), BlueprintId: request.GetBlueprintId(), Checksum: checksum,
			ArtifactRef: "/kernels/" + checksum, GuardDigest: guardDigest([]int{3}), PrewarmP50Ms: 24,
		},
		Attributes: map[string]string{trainer.AttributeFormat: trainer.FormatONNX},
	}
}

// meet makes the trainer known.
func (w *world) meet() { w.t.Helper(); w.report() }

// announced is a run in which a seed is begun and its kernel announced, spoilt or not.
func announced(t *testing.T, spoil ...func(*Ready)) *world {
	t.Helper()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s")
	ready := w.ready(w.lastRequest())
	for _, change := range spoil {
		change(&ready)
	}
	w.decide(ready)
	return w
}

// plant germinates a seed, answers its request and lets the trainer attach it.
func (w *world) plant(seedID string, changes ...change) {
	w.t.Helper()
	w.do(opGerminate, seedID, changes...)
	w.decide(w.ready(w.lastRequest()))
	w.report()
	w.wantStage(seedID, lifecycle.Training)
}

// report lets a second pass, the trainer take its orders and report.
func (w *world) report() Decision {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	w.trainer.obey(w.orders)
	return w.decide(w.trainer.report(w.now))
}

// grow lets the trainer report until a seed comes to a stage.
func (w *world) grow(seedID string, to leyline.SeedLifecycleStage) {
	w.t.Helper()
	for range 60 {
		if w.stage(seedID) == to {
			return
		}
		w.report()
	}
	w.t.Fatalf("%s never came to %s, is in %s", seedID, to, w.stage(seedID))
}

// inRapid fails through rapid, so that it can shrink what led there.
type inRapid struct {
	testing.TB
	rt *rapid.T
}

func (r inRapid) Helper()                   { r.rt.Helper() }
func (r inRapid) Fatal(args ...any)         { r.rt.Fatal(args...) }
func (r inRapid) Fatalf(f string, a ...any) { r.rt.Fatalf(f, a...) }
func (r inRapid) Errorf(f string, a ...any) { r.rt.Errorf(f, a...) }
func (r inRapid) Error(args ...any)         { r.rt.Error(args...) }
