package control_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/trainer"
)

// ofForm are the reasons for which Kasmina refuses a command whatever state its seed is in.
var ofForm = map[string]bool{
	kasmina.ReasonMissingSignature: true, kasmina.ReasonInvalidSignature: true, kasmina.ReasonMissingCommandID: true,
	kasmina.ReasonMissingTimestamp: true, kasmina.ReasonIssuedInFuture: true, kasmina.ReasonStaleCommand: true,
	kasmina.ReasonIdentifierTooLong: true, kasmina.ReasonMissingSeedID: true, kasmina.ReasonMissingBlueprintID: true,
	kasmina.ReasonMissingTrainingRunID: true, kasmina.ReasonMissingMeshLayers: true, kasmina.ReasonInvalidMeshLayers: true,
	kasmina.ReasonInvalidBlend: true, kasmina.ReasonInvalidSchedule: true, kasmina.ReasonInvalidPromotion: true,
	kasmina.ReasonUnsupportedCommand: true, kasmina.ReasonUnsupportedOperation: true, kasmina.ReasonPreflight: true,
	kasmina.ReasonUnknownSlot: true, kasmina.ReasonNoTrainer: true,
}

// hostile are numbers that nobody should tell.
func hostile(t *rapid.T, name string) float32 {
	return rapid.OneOf(
		rapid.SampledFrom([]float32{
			0, 1, -1, 0.5, 1e-45, math.MaxFloat32, -math.MaxFloat32,
			float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)),
		}), rapid.Float32(),
	).Draw(t, name)
}

func hostileMetrics(t *rapid.T, names []string) map[string]float32 {
	metrics := make(map[string]float32)
	for _, name := range names {
		if rapid.Bool().Draw(t, name+" is told") {
			metrics[name] = hostile(t, name)
		}
	}
	return metrics
}

var runMetrics = []string{
	"hook_latency_ms", "step_latency_ms", "kasmina.apply_ms", "kasmina.finalize_ms", "kasmina.isolation.violations",
	"gpu_util_percent", "gpu_mem_free_gb", "cpu_util_percent", "loss_volatility", "grad_var", "grad_conflict_rate",
	"optimizer_lr", "loss_delta", "halted", "",
}

var seedMetrics = []string{
	trainer.MetricOrder, trainer.MetricAlpha, trainer.MetricLossBefore, trainer.MetricLossAfter, trainer.MetricLossError,
	trainer.MetricAccuracyBefore, trainer.MetricAccuracyAfter, trainer.MetricAccuracyError, trainer.MetricAttachFailed,
	trainer.MetricAttachReason, trainer.MetricTrainLoss, trainer.MetricHostGradientMax,
}

// hostileState is a report of a trainer that tells anything.
func hostileState(t *rapid.T, number uint64, mine []string) tamiyo.State {
	packet := &leyline.SystemStatePacket{
		Version: 1, TrainingRunId: "run", CurrentEpoch: rapid.Uint32().Draw(t, "epoch"), PacketId: fmt.Sprint("packet ", number),
		ValidationLoss: hostile(t, "loss"), ValidationAccuracy: hostile(t, "accuracy"), TrainingLoss: hostile(t, "training loss"),
		TrainingMetrics: hostileMetrics(t, runMetrics),
		HardwareContext: &leyline.HardwareContext{
			DeviceType:         rapid.SampledFrom([]string{"", "cpu", "cuda"}).Draw(t, "device"),
			UtilizationPercent: hostile(t, "utilization"), AvailableMemoryGb: hostile(t, "memory"), TotalMemoryGb: hostile(t, "total"),
		},
	}
	grafts := make(map[string]trainer.Graft)
	for range rapid.IntRange(0, 4).Draw(t, "seeds") {
		id := rapid.SampledFrom(append([]string{"foreign", "", "\xff", `"odd"`}, mine...)).Draw(t, "seed")
		packet.SeedStates = append(packet.SeedStates, &leyline.SeedState{
			SeedId: id, Stage: leyline.SeedLifecycleStage(rapid.Int32Range(-1, 13).Draw(t, "stage")),
			Metrics: hostileMetrics(t, seedMetrics), AgeEpochs: rapid.Uint32().Draw(t, "age"), GradientNorm: hostile(t, "gradient"),
		})
		grafts[id] = trainer.Graft{Slot: "hidden", Blueprint: rapid.SampledFrom([]string{"BP009", "BP010", "", "\x00"}).Draw(t, "blueprint")}
	}
	return tamiyo.State{
		Packet: packet, Grows: true, TrainerID: "trainer", Number: number, Grafts: grafts,
		HostLayers: []string{"fc1", "fc2"}, Slots: map[string][]int{"hidden": {32}, "wide": {64}},
		Blueprint: func(id string) (tamiyo.Candidate, bool, error) { return hostileCandidate(t, id), true, nil },
	}
}

func hostileCandidate(t *rapid.T, id string) tamiyo.Candidate {
	risk := rapid.SampledFrom([]float64{0, 0.3, 0.3, 0.3, 0.5, 0.9, math.NaN(), math.Inf(1), -1}).Draw(t, "risk of "+id)
	candidate := tamiyo.Candidate{
		BlueprintID: id, Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: risk,
		ParameterCount: rapid.IntRange(-1, math.MaxInt).Draw(t, "parameters"),
		MultiplyAdds:   rapid.Int64().Draw(t, "multiply-adds"),
		LatencyMS:      map[string]float64{"cuda": float64(hostile(t, "latency"))},
		Earned: tamiyo.Earned{
			Tried: rapid.IntRange(-1, 9).Draw(t, "tried"), Kept: rapid.IntRange(-1, 9).Draw(t, "kept"), Gain: float64(hostile(t, "gain")),
		},
	}
	if rapid.IntRange(0, 3).Draw(t, "judged") == 0 {
		candidate.BSDS = &leyline.BSDS{
			RiskScore:  hostile(t, "judged risk"),
			HazardBand: leyline.HazardBand(rapid.Int32Range(-1, 9).Draw(t, "band")),
		}
	}
	return candidate
}

// Whatever a trainer tells, a decision comes, the same twice, within its bounds, and with
// commands that Kasmina does not refuse for their form.
func TestDecisionsOnHostileReports(t *testing.T) {
	keyring := newKeyring(t)
	core := kasmina.NewCore(kasmina.Config{Keyring: keyring})
	rapid.Check(t, func(t *rapid.T) {
		controller := tamiyo.NewController(tamiyo.Config{Patience: 1, MaxGrowing: 2, HoldDownEpochs: 1})
		now := time.Unix(1_800_000_000, 0)
		var record *tamiyo.Record
		var seeds *kasmina.Record
		var mine []string
		for number := range uint64(rapid.IntRange(1, 25).Draw(t, "reports")) {
			now = now.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "seconds")) * time.Second)
			state := hostileState(t, number+1, mine)
			listed := []tamiyo.Candidate{hostileCandidate(t, "BP009"), hostileCandidate(t, "BP010"), hostileCandidate(t, "B\xff")}
			offer := func([]int) ([]tamiyo.Candidate, error) { return listed, nil }
			known := map[string]tamiyo.Candidate{"BP009": listed[0], "BP010": listed[1]}
			state.Blueprint = func(id string) (tamiyo.Candidate, bool, error) { c, is := known[id]; return c, is, nil }
			report := kasmina.Report{Packet: state.Packet, Protocol: true, Stored: now, Issued: now, Report: trainer.Report{
				TrainerID: state.TrainerID, Number: state.Number, HostLayers: state.HostLayers, Slots: state.Slots, Grafts: state.Grafts,
			}}
			if decided := core.Decide(seeds, report, now); decided.Record != nil {
				seeds = decided.Record
			}
			decision := controller.Decide(record, state, now, offer)
			same(t, decision, controller.Decide(record, state, now, offer))
			within(t, decision)
			for _, command := range decision.Commands {
				if command.GetSeedOperation().GetOperation() == leyline.SeedOperation_SEED_OP_GERMINATE {
					mine = append(mine, command.GetTargetSeedId())
				}
				if err := keyring.SignCommand(command); err != nil {
					t.Fatalf("%v: %v", command, err)
				}
				if refused := core.Verify(nil, command, now); refused != nil {
					t.Fatalf("%v: %v", command, refused)
				}
				taken := core.Decide(seeds, kasmina.Command{Command: command}, now)
				if taken.Rejected != nil && ofForm[taken.Rejected.Reason] {
					t.Fatalf("%v is refused: %v", command, taken.Rejected)
				}
				if taken.Record != nil {
					seeds = taken.Record
				}
			}
			if decision.Record != nil {
				record = decision.Record
			}
		}
	})
}

// failer is what testing.T and rapid.T have in common here.
type failer interface {
	Fatalf(format string, args ...any)
}

func same(t failer, a, b tamiyo.Decision) {
	first, err := json.Marshal(a.Record)
	second, err2 := json.Marshal(b.Record)
	if err != nil || err2 != nil || string(first) != string(second) {
		t.Fatalf("two records: %s and %s, %v, %v", first, second, err, err2)
	}
	if a, b := wire(t, a), wire(t, b); a != b {
		t.Fatalf("two decisions: %q and %q", a, b)
	}
}

func wire(t failer, decision tamiyo.Decision) string {
	var all []byte
	options := proto.MarshalOptions{Deterministic: true}
	add := func(m proto.Message) {
		var err error
		if all, err = options.MarshalAppend(all, m); err != nil {
			t.Fatalf("%v cannot be sent: %v", m, err)
		}
	}
	for _, m := range decision.Commands {
		add(m)
	}
	for _, m := range decision.Reports {
		add(m)
	}
	for _, m := range decision.Packets {
		add(m)
	}
	return string(all)
}

// within holds the bounds of records and messages.
func within(t failer, decision tamiyo.Decision) {
	if decision.Record == nil {
		t.Fatalf("no decision")
	}
	data, err := json.Marshal(decision.Record)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	if _, err := tamiyo.DecodeRecord(data); err != nil {
		t.Fatalf("decode: %v", err)
	}
	if size := len(wire(t, decision)); size > 512<<10 || len(decision.Commands) > 64 {
		t.Fatalf("%d commands, %d bytes", len(decision.Commands), size)
	}
	for _, command := range decision.Commands {
		for name, text := range command.GetAnnotations() {
			if len(text) > 64<<10 || !utf8.ValidString(text) {
				t.Fatalf("annotation %s is %d bytes: %.100q", name, len(text), text)
			}
		}
	}
}

func TestReportOfTenThousandSeedsIsDecidedOn(t *testing.T) {
	controller := tamiyo.NewController(tamiyo.Config{})
	state := tamiyo.State{
		Packet: &leyline.SystemStatePacket{TrainingRunId: "run", ValidationLoss: 1}, Grows: true, TrainerID: "trainer", Number: 1,
		HostLayers: []string{"fc"}, Slots: map[string][]int{"hidden": {32}}, Grafts: map[string]trainer.Graft{},
	}
	for i := range 10_000 {
		id := fmt.Sprint("seed ", i)
		state.Packet.SeedStates = append(state.Packet.SeedStates, &leyline.SeedState{
			SeedId: id, Stage: leyline.SeedLifecycleStage_SEED_STAGE_PROBATIONARY, AgeEpochs: 1000,
			Metrics: map[string]float32{trainer.MetricLossBefore: 1, trainer.MetricLossAfter: 2},
		})
		state.Grafts[id] = trainer.Graft{Slot: "hidden", Blueprint: "BP009"}
	}
	var record *tamiyo.Record
	for number := range uint64(4) {
		state.Number = number + 1
		decision := controller.Decide(record, state, time.Unix(1_800_000_000+int64(number), 0), nil)
		within(t, decision)
		record = decision.Record
	}
	if len(record.Seeds) != 64 {
		t.Errorf("%d seeds are known", len(record.Seeds))
	}
}
