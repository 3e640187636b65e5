package trainer_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	stageTraining   = leyline.SeedLifecycleStage_SEED_STAGE_TRAINING
	stageBlending   = leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
	stageFossilized = leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED
)

// attach is an order with everything in it.
func attach() trainer.Order {
	return trainer.Order{
		Kind: trainer.Attach, Run: "run-1", TrainerID: "t-1", Number: 3,
		Seed: "seed-1", Blueprint: "BP001", Slot: "layer2", Stage: stageTraining,
		Reason: "validation_stalled", PolicyVersion: "plain", Deadline: time.Minute,
		Kernel: trainer.Kernel{
			Ref: "/k/1.onnx", URL: "http://127.0.0.1:9180/kernels/ab", Checksum: strings.Repeat("ab", 32), GuardDigest: "g",
		},
		Blend:      trainer.Blend{Mode: trainer.Channel, Channels: []float32{0.5, 1}},
		Schedule:   trainer.Schedule{Shape: trainer.ShapeCosine, Steps: 40, Temperature: 2, WarmUp: 3, Hold: 5},
		Parameters: map[string]float32{"rank": 4},
	}
}

// kinds are all orders, and seedKinds those that travel as seed operations.
var (
	seedKinds = []trainer.Kind{
		trainer.Attach, trainer.Train, trainer.BlendIn, trainer.Hold,
		trainer.Judge, trainer.Keep, trainer.Tune, trainer.Drop,
	}
	kinds = append([]trainer.Kind{
		trainer.Pause, trainer.Resume, trainer.Optimizer, trainer.Rollback, trainer.Emergency,
	}, seedKinds...)
)

// orders draws orders as Kasmina may issue them.
func orders() *rapid.Generator[trainer.Order] {
	return rapid.Custom(func(t *rapid.T) trainer.Order {
		order := trainer.Order{
			Kind: rapid.SampledFrom(kinds).Draw(t, "kind"),
			Run:  words(0).Draw(t, "run"), TrainerID: words(0).Draw(t, "trainer"),
			Number: rapid.Uint64Range(1, 1<<53).Draw(t, "number"),
			Seed:   words(1).Draw(t, "seed"), Slot: words(0).Draw(t, "slot"),
			Stage:  leyline.SeedLifecycleStage(rapid.Int32Range(0, 11).Draw(t, "stage")),
			Reason: words(0).Draw(t, "reason"), PolicyVersion: words(0).Draw(t, "policy"),
			Deadline: time.Duration(rapid.Int64Range(0, math.MaxUint32).Draw(t, "deadline")) * time.Millisecond,
		}
		parameters := rapid.MapOfN(words(0), rapid.Float32Range(-1e6, 1e6), 0, 4)
		switch order.Kind {
		case trainer.Attach:
			order.Blueprint = words(0).Draw(t, "blueprint")
			order.Kernel = trainer.Kernel{
				Ref: words(1).Draw(t, "ref"), URL: words(0).Draw(t, "url"),
				Checksum: words(1).Draw(t, "checksum"), GuardDigest: words(0).Draw(t, "guard"),
			}
			order.Blend, order.Schedule = blends().Draw(t, "blend"), schedules().Draw(t, "schedule")
			order.Parameters = parameters.Draw(t, "parameters")
		case trainer.Optimizer:
			order.Optimizer = words(0).Draw(t, "optimizer")
			order.Parameters = parameters.Draw(t, "parameters")
		case trainer.Emergency:
			order.Level = leyline.EmergencyLevel(rapid.Int32Range(0, 4).Draw(t, "level"))
		}
		return order
	})
}

// sent is a command as it comes out of the wire.
func sent(t rapid.TB, command *leyline.AdaptationCommand) *leyline.AdaptationCommand {
	t.Helper()
	wire, err := proto.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	received := new(leyline.AdaptationCommand)
	if err := proto.Unmarshal(wire, received); err != nil {
		t.Fatal(err)
	}
	return received
}

func TestEveryOrderIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := orders().Draw(t, "order")
		command := want.Command()
		got, err := trainer.ReadOrder(sent(t, command))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if again := want.Command(); !proto.Equal(command, again) {
			t.Fatalf("written twice: %v and %v", command, again)
		}
	})
}

func TestWholeAttachIsReadAsItWasWritten(t *testing.T) {
	got, err := trainer.ReadOrder(sent(t, attach().Command()))
	if err != nil || !cmp.Equal(attach(), got) {
		t.Errorf("%v\n%s", err, cmp.Diff(attach(), got))
	}
}

func TestOrdersTravelAsTheContractSays(t *testing.T) {
	for kind, want := range map[trainer.Kind]string{
		trainer.Attach: "SEED_OP_GERMINATE", trainer.Train: "SEED_OP_START_TRAINING", trainer.BlendIn: "SEED_OP_START_GRAFTING",
		trainer.Hold: "SEED_OP_STABILIZE", trainer.Judge: "SEED_OP_EVALUATE", trainer.Keep: "SEED_OP_FOSSILIZE",
		trainer.Tune: "SEED_OP_FINE_TUNE", trainer.Drop: "SEED_OP_CULL",
	} {
		command := trainer.Order{Kind: kind, Number: 1, Seed: "s"}.Command()
		if got := command.GetSeedOperation().GetOperation().String(); got != want ||
			command.GetCommandType() != leyline.CommandType_COMMAND_SEED {
			t.Errorf("%s travels as %s, %s", kind, command.GetCommandType(), got)
		}
	}
	for kind, want := range map[trainer.Kind]leyline.CommandType{
		trainer.Pause: leyline.CommandType_COMMAND_PAUSE, trainer.Resume: leyline.CommandType_COMMAND_PAUSE,
		trainer.Optimizer: leyline.CommandType_COMMAND_OPTIMIZER, trainer.Rollback: leyline.CommandType_COMMAND_ROLLBACK,
		trainer.Emergency: leyline.CommandType_COMMAND_EMERGENCY,
	} {
		command := trainer.Order{Kind: kind, Number: 1, Seed: "s"}.Command()
		if got := command.GetCommandType(); got != want || command.GetIssuedBy() != trainer.IssuedBy {
			t.Errorf("%s travels as %s of %s", kind, got, command.GetIssuedBy())
		}
	}
}

func TestCancelIsADropToo(t *testing.T) {
	command := trainer.Order{Kind: trainer.Drop, Number: 1, Seed: "s"}.Command()
	command.GetSeedOperation().Operation = leyline.SeedOperation_SEED_OP_CANCEL
	if order, err := trainer.ReadOrder(command); err != nil || order.Kind != trainer.Drop {
		t.Errorf("%+v, %v", order, err)
	}
}

func TestDeadlineOfAnOrderIsBounded(t *testing.T) {
	for given, want := range map[time.Duration]uint32{
		-time.Second: 0, time.Microsecond: 0, time.Second: 1000, math.MaxInt64: math.MaxUint32,
	} {
		if got := (trainer.Order{Kind: trainer.Keep, Deadline: given}).Command().GetExecutionDeadlineMs(); got != want {
			t.Errorf("%s becomes %d ms", given, got)
		}
	}
}

func TestCommandsOfOthersAreNoOrders(t *testing.T) {
	tamiyo := attach().Command()
	tamiyo.IssuedBy = "tamiyo"
	numberless := attach().Command()
	delete(numberless.Annotations, "order")
	for _, command := range []*leyline.AdaptationCommand{nil, {}, tamiyo, numberless} {
		if order, err := trainer.ReadOrder(command); !errors.Is(err, trainer.ErrNotAnOrder) || !cmp.Equal(order, trainer.Order{}) {
			t.Errorf("%v: %+v, %v", command, order, err)
		}
	}
}

func TestOrderThatIsNotUnderstoodIsRefusedByItsField(t *testing.T) {
	annotate := func(name, text string) func(*leyline.AdaptationCommand) {
		return func(c *leyline.AdaptationCommand) { c.Annotations[name] = text }
	}
	for what, test := range map[string]struct {
		spoil func(*leyline.AdaptationCommand)
		name  string
	}{
		"a number that is none": {annotate("order", "x"), "order"},
		"number 0":              {annotate("order", "0"), "order"},
		"an unknown stage":      {annotate("stage", "SEED_STAGE_READY"), "stage"},
		"a stage as a number":   {annotate("stage", "3"), "stage"},
		"an unknown blend":      {annotate("blend_mode", "SMOOTH"), "blend_mode"},
		"an unknown ramp":       {annotate("alpha_schedule", "steep"), "alpha_schedule"},
		"no checksum":           {annotate("checksum", ""), "checksum"},
		"nowhere to fetch": {func(c *leyline.AdaptationCommand) {
			delete(c.Annotations, "artifact_ref")
			delete(c.Annotations, "artifact_url")
		}, "artifact_ref"},
		"no seed":      {func(c *leyline.AdaptationCommand) { c.TargetSeedId = "" }, "target_seed_id"},
		"no operation": {func(c *leyline.AdaptationCommand) { c.Payload = nil }, "operation"},
		"no type":      {func(c *leyline.AdaptationCommand) { c.CommandType = 0 }, "command_type"},
		"a breaker command": {func(c *leyline.AdaptationCommand) {
			c.CommandType = leyline.CommandType_COMMAND_CIRCUIT_BREAKER
		}, "command_type"},
		"a parameter that is none": {func(c *leyline.AdaptationCommand) {
			c.GetSeedOperation().Parameters["rank"] = float32(math.NaN())
		}, "rank"},
		"a rollback of nothing": {func(c *leyline.AdaptationCommand) {
			c.CommandType, c.Payload = leyline.CommandType_COMMAND_ROLLBACK, &leyline.AdaptationCommand_RollbackPayload{
				RollbackPayload: &structpb.Struct{},
			}
		}, "target_seed_id"},
	} {
		command := attach().Command()
		test.spoil(command)
		_, err := trainer.ReadOrder(command)
		var field *trainer.FieldError
		if !errors.As(err, &field) || field.Name != test.name {
			t.Errorf("%s: %v, want it refused by %s", what, err, test.name)
		}
	}
}

// A graft that cannot take an attach reports that the seed is not attached: it
// needs to know which.
func TestRefusedAttachSaysWhichSeedItIsFor(t *testing.T) {
	command := attach().Command()
	command.Annotations["blend_mode"] = "SMOOTH"
	order, err := trainer.ReadOrder(command)
	if !errors.Is(err, trainer.ErrUnknownMode) || order.Kind != trainer.Attach || order.Seed != "seed-1" ||
		order.Number != 3 || order.Slot != "layer2" || order.Kernel.Checksum == "" {
		t.Errorf("%+v, %v", order, err)
	}
}

func TestLevelOfAnEmergencyIsReadOrIsConservative(t *testing.T) {
	for text, want := range map[string]leyline.EmergencyLevel{
		"EMERGENCY_LEVEL_HALT": 4, "EMERGENCY_LEVEL_NOTICE": 1, "4": 4, "2": 2,
		"": 3, "HALT": 3, "5": 3, "-1": 3, "x": 3,
	} {
		if got := trainer.ReadLevel(map[string]string{"level": text}); got != want {
			t.Errorf("level %q is %s", text, got)
		}
	}
}

func FuzzReadOrder(f *testing.F) {
	for _, kind := range kinds {
		order := attach()
		order.Kind = kind
		wire, err := proto.Marshal(order.Command())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, wire []byte) {
		command := new(leyline.AdaptationCommand)
		if proto.Unmarshal(wire, command) != nil {
			return
		}
		before := proto.Clone(command)
		order, err := trainer.ReadOrder(command)
		if !proto.Equal(before, command) {
			t.Error("the command was changed")
		}
		if err != nil {
			return
		}
		if order.Number == 0 || order.Kind == "" || order.Deadline < 0 {
			t.Errorf("read as %+v", order)
		}
		mustBeSound(t, order.Blend)
		again, err := trainer.ReadOrder(order.Command())
		if err != nil {
			t.Fatalf("read again: %v", err)
		}
		if order.Blend.Mode == "" && order.Kind == trainer.Attach {
			order.Blend = trainer.Blend{Mode: trainer.Convex}
		}
		if diff := cmp.Diff(order, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("read again (-first +second):\n%s", diff)
		}
	})
}

func TestStreamOfARunIsNamedByItOrByItsHash(t *testing.T) {
	for _, plain := range []string{"run-1", "A.b_c-9", strings.Repeat("a", 128), strings.Repeat("ab", 32)} {
		if got := trainer.Stream(plain); got != "oona.run."+plain {
			t.Errorf("stream of %q is %q", plain, got)
		}
	}
	for run, hash := range map[string]string{
		"":                       "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"run 1":                  "b945d8cb026e35c608337842110ea5e87d6fa88af28b59fc2bec4292be849e2e",
		"run-1\n":                "8d1e63b2d188593dc3cdf1ba910d4e788b6e874b2d9b70dc7ff28f31daced007",
		"läuft":                  "870fa7cc61521952740a55fddb7f785a12c33790964bd38544db2c887a56b1e7",
		"a*":                     "a4a87d31ed183b27cc7b3c6b21ee8333a2061517cd72e41f41f73f1cf6ef55ce",
		strings.Repeat("a", 129): "c12cb024a2e5551cca0e08fce8f1c5e314555cc3fef6329ee994a3db752166ae",
	} {
		if got := trainer.Stream(run); got != "oona.run."+hash {
			t.Errorf("stream of %q is %q", run, got)
		}
	}
}
