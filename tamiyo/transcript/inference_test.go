package transcript

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
)

// A policy that is not asked for a while is not asked in the replay either.
func TestARunWhosePolicyWasLateReplays(t *testing.T) {
	t.Parallel()
	asked := 0
	late := oracle{"late", func([][]float32) ([][]float32, error) {
		asked++
		return nil, fmt.Errorf("judge: %w", context.DeadlineExceeded)
	}}
	controller := tamiyo.NewController(tamiyo.Config{
		Patience: 1, Policies: func() (tamiyo.Policy, tamiyo.Policy) { return late, nil },
	})
	run := Run{ID: "run-1"}
	var record *tamiyo.Record
	for n := range uint64(6) {
		state := tamiyo.State{
			Packet: &leyline.SystemStatePacket{TrainingRunId: "run-1", CurrentEpoch: uint32(n), ValidationLoss: 1, PacketId: fmt.Sprint(n)},
			Grows:  true, TrainerID: "process-1", Number: n + 1, HostLayers: []string{"fc1"}, Slots: map[string][]int{"layer1": {32}},
		}
		decision, recording := Decide(controller, record, state, time.Unix(1_800_000_000+int64(n), 0), bearable)
		record = decision.Record
		run.Decisions = append(run.Decisions, reread(t, recording))
	}
	result, err := run.Replay()
	if err != nil || result.Difference != nil || len(result.Missing) > 0 || result.Commands != 1 || asked != 3 {
		t.Errorf("%+v, %v; the policy was asked %d times", result, err, asked)
	}
	begun := slices.IndexFunc(run.Decisions, func(t *Transcript) bool { return len(t.Outcome.Commands) > 0 })
	if begun != 4 {
		t.Errorf("decision %d began a seed", begun)
	}
}
