package transcript_test

import (
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/transcript"
)

// Example writes a decision down as it travels, reads it elsewhere, and makes it again.
func Example() {
	controller := tamiyo.NewController(tamiyo.Config{Patience: 1})
	offered := func([]int) ([]tamiyo.Candidate, error) {
		return []tamiyo.Candidate{{BlueprintID: "BP001", Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, ParameterCount: 10}}, nil
	}
	var record *tamiyo.Record
	for report := range 2 { // the second is no better than the first
		decision, recording := transcript.Decide(controller, record, tamiyo.State{
			Packet: &leyline.SystemStatePacket{TrainingRunId: "run-1", CurrentEpoch: uint32(report), ValidationLoss: 0.5},
			Grows:  true, TrainerID: "trainer-1", Number: uint64(report) + 1,
			HostLayers: []string{"hidden"}, Slots: map[string][]int{"hidden": {32}},
		}, time.Unix(1_800_000_000+int64(report), 0), offered)
		record = decision.Record
		again, err := elsewhere(recording)
		fmt.Println("commands:", len(decision.Commands), len(again.Commands), "differs:", err)
	}
	// Output:
	// commands: 0 0 differs: <nil>
	// commands: 1 1 differs: <nil>
}

// elsewhere makes a decision again from its text alone.
func elsewhere(recording *transcript.Recording) (tamiyo.Decision, error) {
	written, err := recording.Transcript()
	if err != nil {
		return tamiyo.Decision{}, err
	}
	text, err := new(transcript.Writer).Text(written)
	if err != nil {
		return tamiyo.Decision{}, err
	}
	var read transcript.Transcript
	if err := read.UnmarshalText(text); err != nil {
		return tamiyo.Decision{}, err
	}
	return read.Decide(nil)
}
