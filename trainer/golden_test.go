package trainer_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

var update = flag.Bool("update", false, "write the golden vectors of testdata/trainer anew")

const vectors = "../testdata/trainer"

// golden compares what the code makes now with a file of golden vectors.
func golden(t *testing.T, name string, made any) {
	t.Helper()
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	path := filepath.Join(vectors, name)
	if *update {
		if err := errors.Join(os.MkdirAll(vectors, 0o755), os.WriteFile(path, text, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./trainer -update writes it)", err)
	}
	if !bytes.Equal(text, kept) {
		t.Errorf("%s is not what the code makes (go test ./trainer -update):\n%s", path, cmp.Diff(string(kept), string(text)))
	}
}

// sealed is an entry of a stream.
type sealed struct {
	Payload   string `json:"payload"`   // base64
	Signature string `json:"signature"` // as it stands in the entry
}

// seal makes an entry as it lies in Redis.
func seal(t *testing.T, ring *signing.Keyring, kind leyline.BusMessageType, message proto.Message, attributes map[string]string) sealed {
	t.Helper()
	options := proto.MarshalOptions{Deterministic: true}
	payload, err := options.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := options.Marshal(&leyline.BusEnvelope{MessageType: kind, Payload: payload, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return sealed{base64.StdEncoding.EncodeToString(raw), ring.SignEnvelope(raw)}
}

// envelope is nil when the payload is none.
func (s sealed) envelope(t *testing.T) (raw []byte, envelope *leyline.BusEnvelope) {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(s.Payload)
	if err != nil {
		t.Fatal(err)
	}
	envelope = new(leyline.BusEnvelope)
	if proto.Unmarshal(raw, envelope) != nil {
		return raw, nil
	}
	return raw, envelope
}

func TestGoldenRamps(t *testing.T) {
	type point [3]any // step, share, done
	type ramp struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
		Points      []point           `json:"points"`
	}
	var made []ramp
	for _, test := range []struct {
		name        string
		annotations map[string]string
		steps       []int
	}{
		{"the default", map[string]string{}, []int{-1, 0, 1, 5, 10, 15, 20, 25}},
		{"a sigmoid with warm-up", annotated("alpha_schedule", "sigmoid", "alpha_steps", "20", "alpha_temperature", "2",
			"alpha_warmup_steps", "5", "alpha_hold_steps", "0"), []int{0, 5, 6, 15, 25, 26}},
		{"linear with hold", annotated("alpha_schedule", "linear", "alpha_steps", "4", "alpha_hold_steps", "2"), []int{0, 1, 4, 5, 6}},
		{"cosine", annotated("alpha_schedule", "cosine", "alpha_steps", "4"), []int{0, 1, 2, 3, 4, 5}},
		{"no steps", annotated("alpha_schedule", "linear", "alpha_steps", "0", "alpha_warmup_steps", "3"), []int{0, 2, 3, 4}},
	} {
		schedule, err := trainer.ReadSchedule(test.annotations, trainer.DefaultSchedule())
		if err != nil {
			t.Fatal(err)
		}
		one := ramp{Name: test.name, Annotations: test.annotations}
		for _, step := range test.steps {
			one.Points = append(one.Points, point{step, schedule.At(step), schedule.Done(step)})
		}
		made = append(made, one)
	}
	golden(t, "ramps.json", made)
}

// blendCase is one example a row: host and seed are outputs of features.
type blendCase struct {
	Name        string            `json:"name"`
	Annotations map[string]string `json:"annotations"`
	Refused     bool              `json:"refused,omitempty"`
	Alpha       float64           `json:"alpha"`
	Host        [][]float64       `json:"host,omitempty"`
	Seed        [][]float64       `json:"seed,omitempty"`
	Output      [][]float64       `json:"output,omitempty"`
}

// The outputs are worked out by hand, or are those of the prototype.
func TestGoldenBlends(t *testing.T) {
	host, seed := [][]float64{{1, 2}}, [][]float64{{3, -2}}
	made := []blendCase{
		{Name: "no annotations", Alpha: 0.25, Host: host, Seed: seed, Output: [][]float64{{1.5, 1}}},
		{Name: "convex at 0", Annotations: annotated("blend_mode", "CONVEX"), Host: host, Seed: seed, Output: host},
		{Name: "convex at 1", Annotations: annotated("blend_mode", "convex "), Alpha: 1, Host: host, Seed: seed, Output: seed},
		{Name: "residual", Annotations: annotated("blend_mode", "RESIDUAL"), Alpha: 0.5, Host: host, Seed: seed, Output: [][]float64{{2.5, 1}}},
		{
			Name: "channel", Annotations: annotated("blend_mode", "CHANNEL", "alpha_vec", "[0.5, 1]", "alpha_vec_len", "2"),
			Alpha: 0.5, Host: host, Seed: seed, Output: [][]float64{{1.5, 0}},
		},
		{
			Name: "channels separated by commas, clamped", Annotations: annotated("blend_mode", "CHANNEL", "alpha_vec", " -1, 2 "),
			Alpha: 0.5, Host: host, Seed: seed, Output: [][]float64{{1, 0}},
		},
		{
			Name: "confidence", Annotations: annotated("blend_mode", "CONFIDENCE", "gate_k", "4", "gate_tau", "0.2", "alpha_lo", "0.1", "alpha_hi", "0.9"),
			Alpha: 0.5, Host: [][]float64{{0, 0, 0}, {0, 0, 0}}, Seed: [][]float64{{2, 1, -1}, {0.1, 0.05, 0}},
			Output: [][]float64{{0.960834, 0.480417, -0.480417}, {0.017717, 0.008859, 0}},
		},
		{Name: "an unknown mode", Annotations: annotated("blend_mode", "SMOOTH"), Refused: true},
		{Name: "channels that are missing", Annotations: annotated("blend_mode", "CHANNEL"), Refused: true},
		{Name: "channels of another length", Annotations: annotated("blend_mode", "CHANNEL", "alpha_vec", "[1]", "alpha_vec_len", "2"), Refused: true},
		{Name: "a gate that is no number", Annotations: annotated("blend_mode", "CONFIDENCE", "gate_k", "nan"), Refused: true},
		{Name: "channels that are no numbers", Annotations: annotated("blend_mode", "CHANNEL", "alpha_vec", "[0.5, nan]"), Refused: true},
		{
			Name: "logits that are required and missing", Refused: true,
			Annotations: annotated("blend_mode", "CONFIDENCE", "confidence_logits_required", "true"),
		},
		{Name: "an infinite gate", Annotations: annotated("blend_mode", "CONFIDENCE", "gate_tau", "inf"), Refused: true},
	}
	for i, one := range made {
		if one.Annotations == nil {
			made[i].Annotations = map[string]string{}
		}
		if _, err := trainer.ReadBlend(one.Annotations); (err != nil) != one.Refused {
			t.Errorf("%s: %v", one.Name, err)
		}
	}
	golden(t, "blends.json", made)
}

// reportStory is reports as they lie on oona.normal.
type reportStory struct {
	Secret  string        `json:"secret"`
	Reports []reportEntry `json:"reports"`
}

type reportEntry struct {
	Name string `json:"name"`
	sealed
	Attributes map[string]string `json:"attributes"` // of the envelope
	Seeds      map[string]string `json:"seeds"`      // and their stages
	Refused    string            `json:"refused,omitempty"`
}

func TestGoldenReports(t *testing.T) {
	ring := keyring(t)
	fresh := wholeReport()
	fresh.Resumes, fresh.Number, fresh.OrderRead, fresh.Grafts = "", 1, 0, nil
	grown := &leyline.SeedState{
		SeedId: "seed-1", Stage: stageBlending, AgeEpochs: 4, GradientNorm: 0.5,
		Metrics: map[string]float32{
			trainer.MetricOrder: 12, trainer.MetricAlpha: 0.5, trainer.MetricAlphaSteps: 10,
			trainer.MetricLossBefore: 0.5, trainer.MetricLossAfter: 0.25, trainer.MetricLossError: 0.0625,
		},
	}
	failed := &leyline.SeedState{SeedId: "seed-2", Metrics: map[string]float32{
		trainer.MetricOrder: 11, trainer.MetricAttachFailed: 1, trainer.MetricAttachReason: float32(trainer.AttachMismatch),
	}}
	broken := wholeReport().Attributes()
	broken[trainer.AttributeSlots] = `{"layer2":[0]}`
	story := reportStory{Secret: secret}
	for _, one := range []struct {
		name       string
		attributes map[string]string
		seeds      []*leyline.SeedState
	}{
		{"the first report", fresh.Attributes(), nil},
		{"a seed that blends, and one that could not be attached", wholeReport().Attributes(), []*leyline.SeedState{grown, failed}},
		{"a shape that is none", broken, nil},
		{"a trainer that only reports", nil, nil},
	} {
		packet := &leyline.SystemStatePacket{
			Version: 1, CurrentEpoch: 5, ValidationLoss: 0.5, ValidationAccuracy: 0.75, TimestampNs: 1700000000_000000000,
			PacketId: "t-1-7", TrainingRunId: "run-1", SourceSubsystem: "tolaria", SeedStates: one.seeds,
		}
		attributes := one.attributes
		if attributes != nil {
			bind(attributes, ring, "oona.normal", 1700000000000)
		}
		story.Reports = append(story.Reports, reportOf(t, one.name, seal(t, ring, 1, packet, attributes)))
	}
	golden(t, "reports.json", story)
}

// bind adds what the bus signs beside a report or an order.
func bind(attributes map[string]string, ring *signing.Keyring, stream string, issuedMS int64) {
	attributes["key_id"], attributes["stream"] = ring.KeyID(), stream
	attributes["issued_at_ms"], attributes["nonce"] = decimal(issuedMS), "n0nce"
}

// reportOf reads an entry back, as the service does.
func reportOf(t *testing.T, name string, entry sealed) reportEntry {
	t.Helper()
	_, envelope := entry.envelope(t)
	var packet leyline.SystemStatePacket
	if err := proto.Unmarshal(envelope.GetPayload(), &packet); err != nil {
		t.Fatal(err)
	}
	read := reportEntry{Name: name, sealed: entry, Attributes: envelope.GetAttributes(), Seeds: map[string]string{}}
	if read.Attributes == nil {
		read.Attributes = map[string]string{}
	}
	for _, seed := range packet.GetSeedStates() {
		read.Seeds[seed.GetSeedId()] = seed.GetStage().String()
	}
	report, err := trainer.ReadReport(envelope.GetAttributes())
	var field *trainer.FieldError
	switch {
	case errors.As(err, &field):
		read.Refused = field.Name
	case errors.Is(err, trainer.ErrNoProtocol):
		read.Refused = trainer.AttributeProtocol
	case err != nil || report.TrainerID != "t-1":
		t.Errorf("%s: %+v, %v", name, report, err)
	}
	return read
}

func TestGoldenOrders(t *testing.T) {
	made := orderStory(t)
	golden(t, "orders.json", made)
	ring := keyring(t)
	for _, entry := range made.Entries {
		raw, envelope := entry.envelope(t)
		if envelope == nil != (entry.Then.Dropped == "undecodable") {
			t.Errorf("%s: the envelope is %v", entry.Name, envelope)
		}
		trusted := ring.VerifyEnvelope(raw, entry.Signature) == nil
		if refused := entry.Then.Dropped == "unsigned" || entry.Then.Dropped == "bad_signature"; trusted == refused {
			t.Errorf("%s: the envelope is trusted: %v", entry.Name, trusted)
		}
		if entry.Signed == "" {
			continue
		}
		var command leyline.AdaptationCommand
		if err := proto.Unmarshal(envelope.GetPayload(), &command); err != nil {
			t.Fatal(err)
		}
		signed, err := signing.CommandBytes(&command)
		if got := hex.EncodeToString(signed); err != nil || got != entry.Signed {
			t.Errorf("%s: %v, signed bytes %s", entry.Name, err, got)
		}
		valid := ring.VerifyCommand(&command) == nil
		if refused := entry.Then.Dropped == "signature"; valid == refused {
			t.Errorf("%s: the command is trusted: %v", entry.Name, valid)
		}
		if order, err := trainer.ReadOrder(&command); entry.Order != nil && (err != nil || !cmp.Equal(*entry.Order, order)) {
			t.Errorf("%s: %v\n%s", entry.Name, err, cmp.Diff(*entry.Order, order))
		}
	}
}
