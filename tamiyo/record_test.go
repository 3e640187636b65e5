package tamiyo

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/esper-lite/weatherlight/leyline"
)

// grownRun is a run with four seeds, of which one is kept, and a slot where a
// blueprint failed.
func grownRun(t testing.TB) (*run, []*leyline.SeedState) {
	r := newRun(t, Config{MaxGrowing: 3})
	r.next.Slots = map[string][]int{"layer1": {64, 7, 7}, "layer2": {64}, "layer3": {64}, "layer4": {12, 32}}
	r.stall()
	var seeds []*leyline.SeedState
	for _, command := range r.decisions[len(r.decisions)-1].Commands {
		seeds = append(seeds, measuredSeed(command.GetTargetSeedId(), stageShadowing, 0.1))
	}
	seeds[0].Stage = leyline.SeedLifecycleStage(stageFossilized)
	seeds[1].Stage = leyline.SeedLifecycleStage(stageCulled)
	r.report(1, seeds...)
	seeds = []*leyline.SeedState{seeds[0], seeds[2]}
	for range 9 {
		r.report(1, seeds...)
	}
	for _, s := range r.record.Seeds {
		if s.awaited() {
			seeds = append(seeds, measuredSeed(s.ID, stageTraining, 0))
		}
	}
	if r.report(1, seeds...); len(r.record.Seeds) != 4 || len(r.record.Slots) == 0 {
		t.Fatalf("record %+v", r.record)
	}
	return r, seeds
}

func TestYoungRecordIsSmall(t *testing.T) {
	t.Parallel()
	r, _ := grownRun(t)
	data, err := json.Marshal(r.record)
	if err != nil || len(data) > 3000 {
		t.Errorf("%d bytes, %v: %s", len(data), err, data)
	}
}

func TestRecordIsReadable(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	command := r.stall()
	want := fmt.Sprintf(`{"format":1,"run":"run-1","trainer":"process-1","report":5,"epoch":5,"evaluated":5,`+
		`"seen_at_ms":1800000050000,"loss":{"known":true,"previous":1,"best":1,"stalled":4},"seeds":[{"id":%q,`+
		`"slot":"layer1","blueprint":"BP002","work":1,"germination":%q,`+
		`"considered":"BP002 at layer1: 0.438; BP003 at layer1: 0.219; BP001 at layer1: not for want of parameters","born":5,"seen":5,`+
		`"pending":{"operation":"GERMINATE","since":5,"at_ms":1800000050000,"attempts":1}}]}`,
		command.GetTargetSeedId(), command.GetCommandId())
	data, err := json.Marshal(r.record)
	if diff := cmp.Diff(want, string(data)); err != nil || diff != "" {
		t.Error(err, diff)
	}
	r.report(1, seedState(command.GetTargetSeedId(), stageTraining))
	if data, err = json.Marshal(r.record); err != nil || !strings.Contains(string(data), `"stage":"TRAINING"`) {
		t.Errorf("%s, %v", data, err)
	}
}

// Ids are part of what instances of different age must agree on.
func TestIDsAreAlwaysTheSame(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	command := r.stall()
	id := command.GetTargetSeedId()
	if id != "seed-run-1-5-7f30c8c9-BP002" || command.GetCommandId() != "16c7bd8e-8bef-8f4b-8c30-d46a6828378e" {
		t.Errorf("seed %s, command %s", id, command.GetCommandId())
	}
	report := r.report(1, seedState(id, stageCulled)).Reports[0]
	if report.GetReportId() != "d4599108-5978-8268-8264-cf2d64de8ae7" {
		t.Errorf("report %s", report.GetReportId())
	}
	r.epoch++
	r.next.Number++
	state := r.last()
	state.Packet.PacketId = ""
	if got := r.decide(state).Packets[0].GetPacketId(); got != "tamiyo-telemetry-5d04f6ce-e03e-84b7-93ad-2fa4f3b37d1c" {
		t.Errorf("packet %s", got)
	}
}

func TestFailuresRememberedAreBounded(t *testing.T) {
	t.Parallel()
	record := new(Record)
	for i := range 10 * maxRemembered {
		name, blueprintID := fmt.Sprint("slot-", i%60), fmt.Sprint("BP", i)
		if i%2 == 0 {
			record.writeOff(name, blueprintID)
		} else {
			record.setBack(name, blueprintID)
		}
		if err := record.checkSlots(); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
	}
}

func TestLargestRecordIsTaken(t *testing.T) {
	t.Parallel()
	longest := func(i int) string { return strings.Repeat("x", maxText-4) + fmt.Sprintf("%04d", i) }
	record := &Record{Format: recordFormat, Run: strings.Repeat("<", maxRun), Trainer: strings.Repeat("\"", maxText), Evaluated: 9}
	for i := range maxSeeds {
		record.put(seed{
			ID: longest(i), Slot: longest(i), Blueprint: longest(i), origin: origin{Germination: longest(i), Blend: longest(i), Considered: strings.Repeat("x", maxConsidered)}, Cause: longest(i), Failure: longest(i),
			Stage: stageProbationary, Work: math.MaxInt64, Age: 1 << 31, streaks: streaks{Improving: 1 << 31, Regressing: 1 << 31}, Paused: true, Measured: true,
			Evidence: evidence{Known: true, LossDelta: -1.1754944e-38, AccuracyGain: -1.1754944e-38, HasAccuracy: true, Better: true, Worse: true},
			Pending:  pending{Operation: opFossilize, Since: 9, At: 1 << 60, Attempts: maxAttempts},
		})
	}
	for i := range maxRetired {
		record.Retired = append(record.Retired, digest(longest(i)))
	}
	for i := range maxRemembered {
		record.writeOff(longest(i), longest(i))
	}
	record.Unbegun = map[string]string{}
	for i := range maxUnbegun {
		record.Unbegun[longest(i)] = digest(longest(i))
	}
	travelled(t, record)
}

func TestRecordsThatAreRefused(t *testing.T) {
	t.Parallel()
	r, _ := grownRun(t)
	tests := map[string]func(map[string]any){
		"another format":              func(m map[string]any) { m["format"] = 2 },
		"no run":                      func(m map[string]any) { m["run"] = " " },
		"a long run":                  func(m map[string]any) { m["run"] = strings.Repeat("r", 513) },
		"a long trainer":              func(m map[string]any) { m["trainer"] = strings.Repeat("r", 129) },
		"a report too many":           func(m map[string]any) { m["report"] = 1 << 54 },
		"evaluated too often":         func(m map[string]any) { m["evaluated"] = 1 << 53 },
		"a loss beyond 32 bits":       func(m map[string]any) { m["loss"] = map[string]any{"best": 1e300} },
		"conservative since tomorrow": func(m map[string]any) { m["conservative"] = map[string]any{"entered": 1000} },
		"seeds of a watched run":      func(m map[string]any) { m["trainer"], m["report"] = "", 0 },
		"a nameless retired trainer":  func(m map[string]any) { m["retired"] = []string{""} },
		"too many retired trainers":   func(m map[string]any) { m["retired"] = strings.Split(strings.Repeat("a", 65), "") },
		"seeds twice":                 func(m map[string]any) { m["seeds"] = []any{first(m), first(m)} },
		"too many seeds":              func(m map[string]any) { m["seeds"] = manySeeds(65) },
		"a nameless seed":             func(m map[string]any) { first(m)["id"] = "" },
		"an odd slot":                 func(m map[string]any) { first(m)["slot"] = "<>" },
		"a seed of tomorrow":          func(m map[string]any) { first(m)["born"] = 1000 },
		"a stage that is none":        func(m map[string]any) { first(m)["stage"] = "FLYING" },
		"an operation that is none":   func(m map[string]any) { first(m)["pending"] = map[string]any{"operation": "FLY"} },
		"an operation not asked for":  func(m map[string]any) { first(m)["pending"] = map[string]any{"operation": "STABILIZE"} },
		"fewer attempts than none":    func(m map[string]any) { first(m)["pending"] = map[string]any{"operation": "CULL", "attempts": -1} },
		"too much was considered":     func(m map[string]any) { first(m)["considered"] = strings.Repeat("x", 289) },
		"odd things were considered":  func(m map[string]any) { first(m)["considered"] = "a\nb" },
		"a blend that is none":        func(m map[string]any) { first(m)["blend"] = "<>" },
		"a host that costs too much":  func(m map[string]any) { m["host_work"] = 1e300 },
		"a host that costs nothing":   func(m map[string]any) { m["host_work"] = -1 },
		"fewer slots than none":       func(m map[string]any) { m["in_vain"] = -1 },
		"work below zero":             func(m map[string]any) { first(m)["work"] = -1 },
		"an age below zero":           func(m map[string]any) { first(m)["lived"] = -1 },
		"an empty slot":               func(m map[string]any) { m["slots"] = map[string]any{"a": map[string]any{}} },
		"a nameless blueprint":        func(m map[string]any) { m["slots"] = map[string]any{"a": map[string]any{"written_off": []string{""}}} },
		"a setback that is none": func(m map[string]any) {
			m["slots"] = map[string]any{"a": map[string]any{"setbacks": map[string]any{"b": 0}}}
		},
		"more blueprints than there are": func(m map[string]any) {
			m["slots"] = map[string]any{"a": map[string]any{"written_off": manyNames(257)}}
		},
		"something odd was told of a slot": func(m map[string]any) { m["unbegun"] = map[string]any{"a": "<>"} },
		"an odd slot of which was told":    func(m map[string]any) { m["unbegun"] = map[string]any{"<>": "a"} },
		"slots without end of which was told": func(m map[string]any) {
			told := map[string]any{}
			for i := range 65 {
				told[fmt.Sprint("a", i)] = "b"
			}
			m["unbegun"] = told
		},
		"a record of 200 KiB": func(m map[string]any) { m["later"] = strings.Repeat("x", 200<<10) },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fields := fieldsOf(t, r.record)
			spoil(fields)
			data, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := DecodeRecord(data); err == nil || !strings.HasPrefix(err.Error(), "decode record of a run: ") {
				t.Errorf("got %v", err)
			}
		})
	}
	for _, text := range []string{"", "null", "[]", "{", `{"format":"1"}`} {
		if _, err := DecodeRecord([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func fieldsOf(t *testing.T, record *Record) map[string]any {
	t.Helper()
	data, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	return maps.Clone(fields)
}

func first(fields map[string]any) map[string]any {
	seeds, _ := fields["seeds"].([]any)
	seed, _ := seeds[0].(map[string]any)
	return seed
}

func manySeeds(count int) []any {
	var seeds []any
	for i := range count {
		seeds = append(seeds, map[string]any{"id": fmt.Sprintf("seed-%03d", i)})
	}
	return seeds
}

func manyNames(count int) []string {
	var names []string
	for i := range count {
		names = append(names, fmt.Sprint("BP", i))
	}
	return names
}

// FuzzDecodeRecord: what is taken can be decided on, and what comes of it is
// taken again.
func FuzzDecodeRecord(f *testing.F) {
	r, seeds := grownRun(f)
	data, err := json.Marshal(r.record)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":1,"run":"run-1","epoch":3,"evaluated":3,"seen_at_ms":0}`))
	f.Add([]byte(`{"format":1,"run":"run-1","trainer":"a","report":9007199254740991,"evaluated":9007199254740990}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		record, err := DecodeRecord(data)
		if err != nil {
			return
		}
		travelled(t, record)
		state := r.last()
		state.Packet.TrainingRunId, state.Packet.SeedStates = record.Run, seeds
		state.Packet.CurrentEpoch, state.TrainerID = record.Epoch, "process-2"
		decision := r.controller.Decide(record, state, r.now, r.candidates)
		if decision.Record != nil && decision.Record.Evaluated < maxNumber {
			travelled(t, decision.Record)
		}
	})
}

func TestDecidingIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	r, seeds := grownRun(t)
	r.next.Number++
	state := r.last()
	state.Packet = packetOf(r.epoch+1, 1, seeds...)
	want := r.controller.Decide(r.record, state, r.now, r.candidates)
	got := make(chan Decision)
	for range 8 {
		go func() { got <- r.controller.Decide(r.record, state, r.now, r.candidates) }()
	}
	for range 8 {
		if diff := cmp.Diff(want, <-got, protocmp.Transform(), cmp.Comparer(equalRecords)); diff != "" {
			t.Error(diff)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	r, seeds := grownRun(b)
	r.next.Number++
	state := r.last()
	state.Packet = packetOf(r.epoch+1, 1, seeds...)
	b.ReportAllocs()
	for b.Loop() {
		decision := r.controller.Decide(r.record, state, r.now, r.candidates)
		if _, err := json.Marshal(decision.Record); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeRecord(b *testing.B) {
	r, _ := grownRun(b)
	data, err := json.Marshal(r.record)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeRecord(data); err != nil {
			b.Fatal(err)
		}
	}
}
