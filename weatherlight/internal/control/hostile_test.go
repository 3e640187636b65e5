package control_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/trainer"
)

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

// told is a state with what Kasmina tells the controller of the run.
func told(state tamiyo.State, decided kasmina.Decision) tamiyo.State {
	state.Patience, state.Closed, state.Held = decided.Patience, decided.Closed, decided.Held
	state.Gone = func(id string) string { return decided.Gone[id] }
	state.Lives = func(id string) bool { return slices.Contains(decided.Lives, id) }
	return state
}

// Whatever a trainer tells, a decision comes, the same twice, within its bounds, and with
// commands that Kasmina takes.
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
			decided := core.Decide(seeds, reported(state, now), now)
			if decided.Record != nil {
				seeds = decided.Record
			}
			state = told(state, decided)
			decision := controller.Decide(record, state, now, offer)
			same(t, decision, controller.Decide(record, state, now, offer))
			within(t, decision)
			for _, command := range decision.Commands {
				if command.GetSeedOperation().GetOperation() == leyline.SeedOperation_SEED_OP_GERMINATE {
					mine = append(mine, command.GetTargetSeedId())
				}
			}
			seeds = taken(t, core, keyring, seeds, decision.Commands, now)
			if decision.Record != nil {
				record = decision.Record
			}
		}
	})
}

// failer is what testing.T and rapid.T have in common here.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// mayRefuse are the reasons for which Kasmina may refuse an operation of the controller's, whatever
// it told before: only what its promotion rules make of a seed it keeps to itself.
var mayRefuse = map[leyline.SeedOperation]string{leyline.SeedOperation_SEED_OP_FOSSILIZE: kasmina.ReasonNotEarned}

// taken is Kasmina's record once it has judged commands, of which it must refuse none but for
// these.
func taken(
	t failer, core *kasmina.Core, keyring *signing.Keyring, seeds *kasmina.Record, commands []*leyline.AdaptationCommand, now time.Time,
) *kasmina.Record {
	t.Helper()
	for _, command := range commands {
		if err := keyring.SignCommand(command); err != nil {
			t.Fatalf("%v: %v", command, err)
		}
		if refused := core.Verify(seeds, command, now); refused != nil {
			t.Fatalf("%v: %v", command, refused)
		}
		decided := core.Decide(seeds, kasmina.Command{Command: command}, now)
		operation := command.GetSeedOperation().GetOperation()
		if decided.Rejected != nil && decided.Rejected.Reason != mayRefuse[operation] {
			t.Fatalf("%v is refused: %v", command, decided.Rejected)
		}
		if decided.Record != nil {
			seeds = decided.Record
		}
	}
	return seeds
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
		all := 0
		for name, text := range command.GetAnnotations() {
			if all += len(name) + len(text); len(text) > 2<<10 || !utf8.ValidString(text) {
				t.Fatalf("annotation %s is %d bytes: %.100q", name, len(text), text)
			}
		}
		if all > 8<<10 {
			t.Fatalf("annotations of %d bytes: %v", all, command)
		}
	}
}

// reported is a state as Kasmina hears of it.
func reported(state tamiyo.State, now time.Time) kasmina.Report {
	return kasmina.Report{Packet: state.Packet, Protocol: true, Stored: now, Issued: now, Report: trainer.Report{
		TrainerID: state.TrainerID, Number: state.Number, HostLayers: state.HostLayers, Slots: state.Slots, Grafts: state.Grafts,
	}}
}

// crowd is a report of so many seeds, in all stages, of which each tells something else that
// nobody should, or nothing.
func crowd(seeds int) tamiyo.State {
	state := tamiyo.State{
		Packet: &leyline.SystemStatePacket{TrainingRunId: "run", ValidationLoss: 1}, Grows: true, TrainerID: "trainer",
		HostLayers: []string{"fc"}, Slots: map[string][]int{"hidden": {32}, "wide": {64}}, Grafts: map[string]trainer.Graft{},
	}
	numbers := []float32{
		1, float32(math.NaN()), 2, float32(math.Inf(1)), 0, float32(math.Inf(-1)), -1, math.MaxFloat32, 1e-45, -math.MaxFloat32,
	}
	for i := range seeds {
		id := fmt.Sprint("seed ", i)
		told := make(map[string]float32)
		for n, name := range seedMetrics {
			if number := (i*7 + n*(1+i/100)) % (len(numbers) + 3); number < len(numbers) {
				told[name] = numbers[number]
			}
		}
		if i%3 == 0 || i == 37 { // as good, or as bad, as one can be; the last of them is PROBATIONARY
			told = map[string]float32{trainer.MetricLossBefore: 1 + float32(i%2), trainer.MetricLossAfter: 2 - float32(i%2)}
		}
		state.Packet.SeedStates = append(state.Packet.SeedStates, &leyline.SeedState{
			SeedId: id, Stage: leyline.SeedLifecycleStage(i%15 - 1), AgeEpochs: uint32(i) * 429_496, Metrics: told,
			GradientNorm: numbers[i%len(numbers)],
		})
		state.Grafts[id] = trainer.Graft{Slot: "hidden", Blueprint: fmt.Sprint("BP", i%100)}
	}
	return state
}

// What a report asks for must not grow with what it tells.
func TestReportOfTenThousandSeedsIsDecidedOn(t *testing.T) {
	keyring := newKeyring(t)
	core := kasmina.NewCore(kasmina.Config{Keyring: keyring})
	controller := tamiyo.NewController(tamiyo.Config{Patience: 1, MaxGrowing: 64, HoldDownEpochs: 1})
	candidates := func([]int) ([]tamiyo.Candidate, error) {
		return []tamiyo.Candidate{{BlueprintID: "BP001", Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, ParameterCount: 10}}, nil
	}
	state := crowd(10_000)
	var record *tamiyo.Record
	var seeds *kasmina.Record
	given := map[string]bool{}
	for number := range uint64(12) {
		state.Number, state.Packet.CurrentEpoch = number+1, uint32(number)
		state.Packet.ValidationLoss = []float32{1, 1, 1, 9, float32(math.NaN()), 1}[number%6]
		now := time.Unix(1_800_000_000+60*int64(number), 0)
		decided, again := core.Decide(seeds, reported(state, now), now), core.Decide(seeds, reported(state, now), now)
		sameSeeds(t, decided, again)
		seeds = decided.Record
		state = told(state, decided)
		decision := controller.Decide(record, state, now, candidates)
		same(t, decision, controller.Decide(record, state, now, candidates))
		within(t, decision)
		for _, command := range decision.Commands {
			given[command.GetCommandType().String()+" "+command.GetSeedOperation().GetOperation().String()] = true
		}
		seeds = taken(t, core, keyring, seeds, decision.Commands, now)
		record = decision.Record
	}
	if len(record.Seeds) != 64 || len(given) < 3 {
		t.Errorf("%d seeds are known, given were %v", len(record.Seeds), given)
	}
	t.Logf("given were %v", given)
}

// sameSeeds holds that Kasmina decides the same twice, and within its bounds.
func sameSeeds(t failer, a, b kasmina.Decision) {
	t.Helper()
	first, err := marshal(a)
	second, err2 := marshal(b)
	if err != nil || err2 != nil || first != second {
		t.Fatalf("two decisions: %.2000s and %.2000s, %v, %v", first, second, err, err2)
	}
	text, err := json.Marshal(a.Record)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	if _, err := kasmina.DecodeRecord(text); err != nil {
		t.Fatalf("decode: %v", err)
	}
	if len(a.Orders) > 32 || len(a.Requests) > 64 || len(first) > 1<<20 {
		t.Fatalf("%d orders, %d requests, %d bytes in all", len(a.Orders), len(a.Requests), len(first))
	}
}

// marshal is all that is decided, but for counts, as text.
func marshal(decision kasmina.Decision) (string, error) {
	all := []any{decision.Record, decision.Orders, decision.Due}
	for _, request := range decision.Requests {
		all = append(all, request.Attributes, protojson.Format(request.Request))
	}
	for _, packet := range decision.Packets {
		text, err := proto.MarshalOptions{Deterministic: true}.Marshal(packet)
		if err != nil {
			return "", fmt.Errorf("marshal packet: %w", err)
		}
		all = append(all, text)
	}
	text, err := json.Marshal(all)
	return string(text), err
}
