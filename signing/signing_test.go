package signing_test

import (
	"encoding/hex"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

func newKeyring(t *testing.T, current string, previous ...string) *signing.Keyring {
	t.Helper()
	ring, err := signing.NewKeyring(current, previous...)
	if err != nil {
		t.Fatalf("NewKeyring: %v", err)
	}
	return ring
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatalf("decode hex: %v", err)
	}
	return raw
}

// The vectors were recorded from the Python prototype's own serialiser and HMAC.
func TestEnvelopeSignatureMatchesPython(t *testing.T) {
	t.Parallel()
	vectors := map[string]struct{ envelope, signature string }{
		"kernel request": {
			"080612210a057265712d31120442502d311a0572756e2d31220b0880e2cfaa0610c0a9d33a",
			"gFJzkFEpmDJkQlWDsws4SW9O1qr/7M4xvGRJHQokfMY=",
		},
		"state with attribute": {
			"0801120208011a0c0a07617474656d7074120131",
			"70A9OjRl+bu4ZZ4FJFT/v84SNBVM8V72Yq/rSZRrenw=",
		},
	}
	ring := newKeyring(t, "test-secret")
	for name, vector := range vectors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			envelope := unhex(t, vector.envelope)
			if got := ring.SignEnvelope(envelope); got != vector.signature {
				t.Errorf("signature = %s, want %s", got, vector.signature)
			}
			if got := ring.Signer().AppendSignature([]byte("before "), envelope); string(got) != "before "+vector.signature {
				t.Errorf("appended signature = %s, want %s", got, vector.signature)
			}
			if err := ring.VerifyEnvelope(envelope, vector.signature); err != nil {
				t.Errorf("VerifyEnvelope: %v", err)
			}
		})
	}
}

func goldenCommand() *leyline.AdaptationCommand {
	return &leyline.AdaptationCommand{
		Version:      1,
		CommandId:    "cmd-1",
		CommandType:  leyline.CommandType_COMMAND_SEED,
		TargetSeedId: "seed-1",
		IssuedBy:     "tamiyo",
		IssuedAt:     &timestamppb.Timestamp{Seconds: 1_700_000_000},
		Payload: &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
			Operation:   leyline.SeedOperation_SEED_OP_GERMINATE,
			BlueprintId: "BP001",
			Parameters:  map[string]float32{"a": 0, "b": 0.5},
		}},
		Annotations: map[string]string{
			"training_run_id":  "run-1",
			"mesh_host_layers": `["weight","bias"]`,
		},
	}
}

func TestCommandSignatureMatchesPython(t *testing.T) {
	t.Parallel()
	const wantBytes = "08011205636d642d3118012206736565642d3132060880e2cfaa063a0674616d69796f521d0801120542503030311a" +
		"080a016115000000001a080a0162150000003fa201250a106d6573685f686f73745f6c617965727312115b22776569676874222c2262" +
		"696173225da201180a0f747261696e696e675f72756e5f6964120572756e2d31"
	const wantSignature = "wgIqSvk8b4X+rQg3f5i8RhgjwnyEb16ynvoELVfErR0="

	cmd := goldenCommand()
	signed, err := signing.CommandBytes(cmd)
	if err != nil {
		t.Fatalf("CommandBytes: %v", err)
	}
	if got := hex.EncodeToString(signed); got != wantBytes {
		t.Errorf("signed bytes\n got %s\nwant %s", got, wantBytes)
	}
	ring := newKeyring(t, "secret")
	if err := ring.SignCommand(cmd); err != nil {
		t.Fatalf("SignCommand: %v", err)
	}
	if got := cmd.Annotations[signing.SignatureAnnotation]; got != wantSignature {
		t.Errorf("signature = %s, want %s", got, wantSignature)
	}
}

func TestVerifyCommandLeavesTheCommandAlone(t *testing.T) {
	t.Parallel()
	ring := newKeyring(t, "secret")
	cmd := goldenCommand()
	if err := ring.SignCommand(cmd); err != nil {
		t.Fatalf("SignCommand: %v", err)
	}
	before := proto.Clone(cmd)
	if err := ring.VerifyCommand(cmd); err != nil {
		t.Errorf("VerifyCommand: %v", err)
	}
	if diff := cmp.Diff(before, cmd, protocmp.Transform()); diff != "" {
		t.Errorf("command changed (-before +after):\n%s", diff)
	}
}

func TestChangedCommandIsRefused(t *testing.T) {
	t.Parallel()
	changes := map[string]func(*leyline.AdaptationCommand){
		"id":             func(c *leyline.AdaptationCommand) { c.CommandId = "cmd-2" },
		"version":        func(c *leyline.AdaptationCommand) { c.Version = 2 },
		"type":           func(c *leyline.AdaptationCommand) { c.CommandType = leyline.CommandType_COMMAND_PAUSE },
		"seed":           func(c *leyline.AdaptationCommand) { c.TargetSeedId = "seed-2" },
		"deadline":       func(c *leyline.AdaptationCommand) { c.ExecutionDeadlineMs = 1 },
		"time":           func(c *leyline.AdaptationCommand) { c.IssuedAt.Seconds++ },
		"issuer":         func(c *leyline.AdaptationCommand) { c.IssuedBy = "mallory" },
		"payload":        func(c *leyline.AdaptationCommand) { c.GetSeedOperation().BlueprintId = "BP002" },
		"no payload":     func(c *leyline.AdaptationCommand) { c.Payload = nil },
		"annotation":     func(c *leyline.AdaptationCommand) { c.Annotations["training_run_id"] = "run-2" },
		"new annotation": func(c *leyline.AdaptationCommand) { c.Annotations["resume"] = "true" },
		"unknown field":  func(c *leyline.AdaptationCommand) { c.ProtoReflect().SetUnknown([]byte{0xa8, 0x06, 0x01}) },
	}
	ring := newKeyring(t, "secret")
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := goldenCommand()
			if err := ring.SignCommand(cmd); err != nil {
				t.Fatalf("SignCommand: %v", err)
			}
			change(cmd)
			if err := ring.VerifyCommand(cmd); !errors.Is(err, signing.ErrInvalidSignature) {
				t.Errorf("VerifyCommand = %v, want ErrInvalidSignature", err)
			}
		})
	}
}

func TestEveryPayloadKindSurvivesTheBus(t *testing.T) {
	t.Parallel()
	rollback, err := structpb.NewStruct(map[string]any{"reason": "drift", "steps": []any{1, 2.5, nil}, "ü": map[string]any{"b": true}})
	if err != nil {
		t.Fatalf("NewStruct: %v", err)
	}
	commands := map[string]*leyline.AdaptationCommand{
		"seed": goldenCommand(),
		"optimizer": {CommandId: "c", Payload: &leyline.AdaptationCommand_OptimizerAdjustment{
			OptimizerAdjustment: &leyline.CommandOptimizerAdjustment{OptimizerId: "sgd", Hyperparameters: map[string]float32{"lr": 0.1}},
		}},
		"breaker": {CommandId: "c", Payload: &leyline.AdaptationCommand_CircuitBreaker{
			CircuitBreaker: &leyline.CommandCircuitBreaker{Rationale: "drill"},
		}},
		"rollback": {CommandId: "c", Payload: &leyline.AdaptationCommand_RollbackPayload{RollbackPayload: rollback}},
		"none":     {CommandId: "c"},
	}
	ring := newKeyring(t, "secret")
	for name, cmd := range commands {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := ring.SignCommand(cmd); err != nil {
				t.Fatalf("SignCommand: %v", err)
			}
			wire, err := proto.Marshal(cmd)
			if err != nil {
				t.Fatalf("Marshal: %v", err)
			}
			var received leyline.AdaptationCommand
			if err := proto.Unmarshal(wire, &received); err != nil {
				t.Fatalf("Unmarshal: %v", err)
			}
			if err := ring.VerifyCommand(&received); err != nil {
				t.Errorf("VerifyCommand: %v", err)
			}
		})
	}
}

func TestHostileSignatureIsJustInvalid(t *testing.T) {
	t.Parallel()
	ring := newKeyring(t, "secret")
	message := []byte("payload")
	good := ring.SignEnvelope(message)
	hostile := map[string]string{
		"not ascii":       "é" + good[2:],
		"broken utf-8":    "\xff\xfe" + good[2:],
		"too short":       good[:43],
		"too long":        good + "=",
		"url alphabet":    strings.NewReplacer("+", "-", "/", "_", "A", "-").Replace(good),
		"all padding":     strings.Repeat("=", 44),
		"newline inside":  good[:20] + "\n" + good[21:],
		"zero bytes":      strings.Repeat("\x00", 44),
		"huge":            strings.Repeat("A", 1<<20),
		"other secret":    newKeyring(t, "other").SignEnvelope(message),
		"second spelling": good[:42] + string(good[42]+1) + "=",
	}
	for name, signature := range hostile {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := ring.VerifyEnvelope(message, signature); !errors.Is(err, signing.ErrInvalidSignature) {
				t.Errorf("VerifyEnvelope = %v, want ErrInvalidSignature", err)
			}
			cmd := goldenCommand()
			cmd.Annotations[signing.SignatureAnnotation] = signature
			if err := ring.VerifyCommand(cmd); !errors.Is(err, signing.ErrInvalidSignature) {
				t.Errorf("VerifyCommand = %v, want ErrInvalidSignature", err)
			}
		})
	}
}

func TestMissingSignatureIsNamed(t *testing.T) {
	t.Parallel()
	ring := newKeyring(t, "secret")
	if err := ring.VerifyEnvelope([]byte("x"), ""); !errors.Is(err, signing.ErrMissingSignature) {
		t.Errorf("VerifyEnvelope = %v, want ErrMissingSignature", err)
	}
	if err := ring.VerifyCommand(goldenCommand()); !errors.Is(err, signing.ErrMissingSignature) {
		t.Errorf("VerifyCommand = %v, want ErrMissingSignature", err)
	}
	if err := ring.VerifyCommand(nil); !errors.Is(err, signing.ErrMissingSignature) {
		t.Errorf("VerifyCommand(nil) = %v, want ErrMissingSignature", err)
	}
}

func TestRotatedSecretIsAcceptedUntilItIsDropped(t *testing.T) {
	t.Parallel()
	message := []byte("payload")
	old := newKeyring(t, "old")
	both := newKeyring(t, "new", "old", "")
	after := newKeyring(t, "new")
	if err := both.VerifyEnvelope(message, old.SignEnvelope(message)); err != nil {
		t.Errorf("old signature during rotation: %v", err)
	}
	if err := after.VerifyEnvelope(message, both.SignEnvelope(message)); err != nil {
		t.Errorf("rotation signs with the old secret: %v", err)
	}
	if err := after.VerifyEnvelope(message, old.SignEnvelope(message)); !errors.Is(err, signing.ErrInvalidSignature) {
		t.Errorf("old signature after rotation = %v, want ErrInvalidSignature", err)
	}
	if old.KeyID() == after.KeyID() || both.KeyID() != after.KeyID() || len(old.KeyID()) != 8 {
		t.Errorf("key ids: old %s, both %s, new %s", old.KeyID(), both.KeyID(), after.KeyID())
	}
}

func TestBlankSecretIsRefused(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"", " ", "\t\n"} {
		if _, err := signing.NewKeyring(secret); !errors.Is(err, signing.ErrNoSecret) {
			t.Errorf("NewKeyring(%q) = %v, want ErrNoSecret", secret, err)
		}
	}
}

func TestSignedBytesNeverDependOnMapOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		annotations := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "annotations")
		parameters := rapid.MapOf(rapid.String(), rapid.Float32()).Draw(t, "parameters")
		build := func() *leyline.AdaptationCommand {
			cmd := goldenCommand()
			cmd.Annotations = make(map[string]string)
			maps.Copy(cmd.Annotations, annotations)
			cmd.GetSeedOperation().Parameters = make(map[string]float32)
			maps.Copy(cmd.GetSeedOperation().Parameters, parameters)
			return cmd
		}
		first, err := signing.CommandBytes(build())
		if err != nil {
			t.Fatalf("CommandBytes: %v", err)
		}
		second, err := signing.CommandBytes(build())
		if err != nil {
			t.Fatalf("CommandBytes: %v", err)
		}
		if !cmp.Equal(first, second) {
			t.Fatalf("same command, different bytes:\n%x\n%x", first, second)
		}
	})
}

func BenchmarkSignEnvelope(b *testing.B) {
	ring, err := signing.NewKeyring("test-secret")
	if err != nil {
		b.Fatal(err)
	}
	message := make([]byte, 300)
	b.ReportAllocs()
	for b.Loop() {
		ring.SignEnvelope(message)
	}
}
