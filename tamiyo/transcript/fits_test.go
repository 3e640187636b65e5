package transcript

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
)

// TestTranscriptFits: one in which seeds were begun at many slots is packed tighter, and one that
// is too large all the same is refused.
func TestTranscriptFits(t *testing.T) {
	of := func(slots int, policies func() (tamiyo.Policy, tamiyo.Policy), candidates func([]int) ([]tamiyo.Candidate, error)) *Transcript {
		state := tamiyo.State{
			Packet: &leyline.SystemStatePacket{TrainingRunId: "r", ValidationLoss: 1}, Grows: true, TrainerID: "t",
			HostLayers: []string{"fc1"}, Slots: map[string][]int{},
		}
		for i := range slots {
			state.Slots[fmt.Sprint("layer", i)] = []int{32 + i}
		}
		controller := tamiyo.NewController(tamiyo.Config{Patience: 1, MaxGrowing: 64, Policies: policies})
		var record *tamiyo.Record
		var recording *Recording
		for n := range 2 {
			state.Number = uint64(n) + 1
			var decision tamiyo.Decision
			decision, recording = Decide(controller, record, state, time.Unix(1_800_000_000, 0), candidates)
			record = decision.Record
		}
		written, err := recording.Transcript()
		if err != nil || len(written.Slots) == 0 {
			t.Fatalf("%d slots were looked at, %v", len(written.Slots), err)
		}
		return written
	}
	for _, row := range []struct {
		slots, times int // and so many times 50 blueprints for each
		fits         bool
	}{{1, 1, true}, {64, 1, true}, {64, 8, false}} {
		written := of(row.slots, nil, func(slot []int) (all []tamiyo.Candidate, _ error) {
			for i := range row.times {
				few, _ := bearable([]int{slot[0] + i})
				all = append(all, few...)
			}
			return all, nil
		})
		text, err := new(Writer).Text(written)
		t.Logf("%+v: %d bytes", row, len(text))
		if (err == nil) != row.fits || !row.fits && !errors.Is(err, errTooLarge) || len(written.Slots) != row.slots {
			t.Errorf("%+v: %d slots were looked at, %v", row, len(written.Slots), err)
		}
	}
	// Two policies that were asked about all of it, and would begin none.
	written := of(64, func() (tamiyo.Policy, tamiyo.Policy) { return unwilling("active"), unwilling("shadow") }, bearable)
	text, err := new(Writer).Text(written)
	t.Logf("in vain with two policies: %d bytes", len(text))
	if asked := len(written.Slots); err != nil || len(written.Policies[0].Answers) != asked || len(written.Policies[1].Answers) != asked {
		t.Errorf("asked %d and %d times: %v", len(written.Policies[0].Answers), len(written.Policies[1].Answers), err)
	}
	read := new(Transcript)
	if err := read.UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
	if _, err := read.Decide(nil); err != nil {
		t.Error(err)
	}
}

// choosy begins nothing at slots of few features, and at wider ones what the controller would
// take last.
type choosy struct{}

func (choosy) Version() string { return "choosy" }

func (choosy) Judge(_ context.Context, rows [][]float32) ([][]float32, error) {
	answers := make([][]float32, len(rows))
	for i, row := range rows {
		answers[i] = make([]float32, tamiyo.AnswerColumns)
		answers[i][0] = -1
		if row[9] > 1 { // of more than ten
			answers[i][0] = 1 - row[tamiyo.FeatureWorth]
		}
	}
	return answers, nil
}

// What was considered beside a seed that is begun goes into its field report, however much
// was looked at before.
func TestSeedBegunBehindManyRowsReplays(t *testing.T) {
	for _, narrow := range []int{1, 3, 4, 5, 20} {
		slots := map[string][]int{"wide": {16}}
		for i := range narrow {
			slots[fmt.Sprint("narrow", i)] = []int{8}
		}
		offered := make([]tamiyo.Candidate, 34)
		for i := range offered {
			offered[i] = tamiyo.Candidate{
				BlueprintID: fmt.Sprintf("BP%03d", i), Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: 0.2,
				ParameterCount: 100 * (i + 1), MultiplyAdds: 100,
			}
		}
		controller := tamiyo.NewController(tamiyo.Config{
			Patience: 1, Policies: func() (active, shadow tamiyo.Policy) { return choosy{}, choosy{} },
		})
		var record *tamiyo.Record
		begun := 0
		for n := range 7 { // which go on behind each other
			state := tamiyo.State{
				Packet: &leyline.SystemStatePacket{TrainingRunId: "r", CurrentEpoch: uint32(n), ValidationLoss: 1, PacketId: fmt.Sprint(n)},
				Grows:  true, TrainerID: "t", Number: uint64(n) + 1, HostLayers: []string{"fc"}, Slots: slots,
			}
			decision, recording := Decide(controller, record, state, time.Unix(int64(1_800_000_000+n), 0),
				func([]int) ([]tamiyo.Candidate, error) { return offered, nil })
			record = decision.Record
			begun += len(decision.Commands)
			if _, err := reread(t, recording).Decide(nil); err != nil {
				t.Errorf("behind %d slots: %v", narrow, err)
			}
		}
		if begun == 0 {
			t.Errorf("behind %d slots nothing was begun", narrow)
		}
	}
}

// unwilling is a policy whose answers have as many digits as answers may.
func unwilling(version string) tamiyo.Policy {
	return oracle{version, func(rows [][]float32) ([][]float32, error) {
		answers := make([][]float32, len(rows))
		for i, row := range rows {
			odd := row[10]*1.2345678 + row[11]*0.7654321 + float32(len(version))
			answers[i] = make([]float32, tamiyo.AnswerColumns)
			copy(answers[i], []float32{-1 - odd, odd / 100, odd, -odd})
		}
		return answers, nil
	}}
}

// bearable are those of risky, with a risk that the rules bear.
func bearable(slot []int) ([]tamiyo.Candidate, error) {
	all, err := risky(slot)
	for i := range all {
		all[i].Risk /= 2
		all[i].ParameterCount++
	}
	return all, err
}

// risky are 50 blueprints of which none may be begun.
func risky(slot []int) (all []tamiyo.Candidate, _ error) {
	for i := range 50 {
		all = append(all, tamiyo.Candidate{
			BlueprintID: fmt.Sprintf("BP%03d", i), Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: 0.6 + 0.01*float64(i%7),
			ParameterCount: 97 * i * slot[0], MultiplyAdds: int64(1013 * i * slot[0]),
			LatencyMS: map[string]float64{"cpu": 0.0137 * float64(i), "cuda": 0.00371 * float64(i)},
			Earned:    tamiyo.Earned{Tried: 3 * i, Kept: i, Gain: 0.0123 * float64(i)},
		})
	}
	return all, nil
}

// BenchmarkWriting is what it takes to write a decision down in which 30 blueprints were
// weighed.
func BenchmarkWriting(b *testing.B) {
	var all []tamiyo.Candidate
	for i := range 30 {
		all = append(all, tamiyo.Candidate{
			BlueprintID: fmt.Sprintf("BP%03d", i), Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: 0.1 * float64(i%5),
			ParameterCount: 100 * i, MultiplyAdds: int64(1000 * i), LatencyMS: map[string]float64{"cpu": 0.01 * float64(i)},
		})
	}
	state := tamiyo.State{
		Packet: &leyline.SystemStatePacket{TrainingRunId: "r", ValidationLoss: 1}, Grows: true, TrainerID: "t",
		HostLayers: []string{"fc1"}, Slots: map[string][]int{"layer1": {32}},
	}
	controller := tamiyo.NewController(tamiyo.Config{Patience: 1})
	var record *tamiyo.Record
	var recording *Recording
	for n := range 2 {
		state.Number = uint64(n) + 1
		var decision tamiyo.Decision
		decision, recording = Decide(controller, record, state, time.Unix(1_800_000_000, 0), func([]int) ([]tamiyo.Candidate, error) { return all, nil })
		record = decision.Record
	}
	size, writer := 0, new(Writer)
	b.ReportAllocs()
	for b.Loop() {
		t, err := recording.Transcript()
		if err != nil {
			b.Fatal(err)
		}
		text, err := writer.Text(t)
		if err != nil {
			b.Fatal(err)
		}
		size = len(text)
	}
	b.ReportMetric(float64(size), "bytes")
}
