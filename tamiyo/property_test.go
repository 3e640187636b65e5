package tamiyo

import (
	"math"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
)

// drawStates draws the life of a run: epochs in order, some delivered twice,
// with seeds in any stage.
func drawStates(t *rapid.T) []*leyline.SystemStatePacket {
	tr := &trainer{run: "run-1"}
	ids := []string{"seed-run-1-5-BP002", "seed-run-1-9-BP003", "foreign", ""}
	var states []*leyline.SystemStatePacket
	for range rapid.IntRange(1, 40).Draw(t, "epochs") {
		tr.epoch += rapid.Uint32Range(1, 2).Draw(t, "step")
		loss := rapid.SampledFrom([]float32{1, 1, 1, 1, 0.9, 1.3, 0, float32(math.NaN())}).Draw(t, "loss")
		var seeds []*leyline.SeedState
		for range rapid.IntRange(0, 3).Draw(t, "seeds") {
			stage := leyline.SeedLifecycleStage(rapid.Int32Range(0, 11).Draw(t, "stage"))
			gain := rapid.SampledFrom([]float32{-0.1, 0, 0.1}).Draw(t, "gain")
			seeds = append(seeds, measuredSeed(rapid.SampledFrom(ids).Draw(t, "id"), stage, gain))
		}
		states = append(states, tr.state(loss, seeds...))
		if rapid.IntRange(0, 4).Draw(t, "again") == 0 {
			states = append(states, states[len(states)-1])
		}
	}
	return states
}

func decideAll(t *rapid.T, controller *Controller, states []*leyline.SystemStatePacket) []Decision {
	var decisions []Decision
	for _, state := range states {
		decision, err := controller.HandleState(t.Context(), state)
		if err != nil {
			t.Fatal(err)
		}
		decisions = append(decisions, decision)
	}
	return decisions
}

// withoutIDs is a command without what differs between two equal decisions.
func withoutIDs(command *leyline.AdaptationCommand) *leyline.AdaptationCommand {
	plain := proto.CloneOf(command)
	plain.CommandId, plain.IssuedAt = "", nil
	delete(plain.Annotations, "signature")
	return plain
}

func TestSameStatesLeadToTheSameDecisions(t *testing.T) {
	keys := keyring(t)
	rapid.Check(t, func(t *rapid.T) {
		states := drawStates(t)
		var first []Decision
		for range 2 {
			controller, err := NewController(Config{Keyring: keys, Candidates: offer(safe("BP002", 9), safe("BP003", 5))})
			if err != nil {
				t.Fatal(err)
			}
			decisions := decideAll(t, controller, states)
			if first == nil {
				first = decisions
			}
			for i := range decisions {
				same := slices.EqualFunc(first[i].Commands, decisions[i].Commands,
					func(a, b *leyline.AdaptationCommand) bool { return proto.Equal(withoutIDs(a), withoutIDs(b)) })
				if !same || len(first[i].Reports) != len(decisions[i].Reports) {
					t.Fatalf("packet %d: %v and %v", i, first[i], decisions[i])
				}
			}
		}
	})
}

// TestCommandsAreAlwaysSignedTargetedAndSingle: in whatever state a run is, a
// pass gives each seed one command at most, and nothing the host would refuse.
func TestCommandsAreAlwaysSignedTargetedAndSingle(t *testing.T) {
	keys := keyring(t)
	rapid.Check(t, func(t *rapid.T) {
		controller, err := NewController(Config{Keyring: keys, Candidates: offer(safe("BP002", 9), safe("BP003", 5))})
		if err != nil {
			t.Fatal(err)
		}
		used := map[string]bool{}
		reports := map[string]bool{}
		for _, decision := range decideAll(t, controller, drawStates(t)) {
			if decision.Repeated {
				continue
			}
			targets := map[string]bool{}
			for _, command := range decision.Commands {
				checkCommand(t, command)
				if err := keys.VerifyCommand(command); err != nil {
					t.Fatal(err)
				}
				if targets[command.GetTargetSeedId()] || used[command.GetCommandId()] {
					t.Fatalf("seed %s commanded twice in a pass", command.GetTargetSeedId())
				}
				targets[command.GetTargetSeedId()], used[command.GetCommandId()] = true, true
			}
			for _, report := range decision.Reports {
				if reports[report.GetReportId()] && report.GetCommandId() != "" {
					t.Fatalf("report id %s used twice", report.GetReportId())
				}
				reports[report.GetReportId()] = true
			}
		}
	})
}

func checkCommand(t *rapid.T, command *leyline.AdaptationCommand) {
	if command.GetTargetSeedId() == "" || command.GetAnnotations()["training_run_id"] == "" {
		t.Fatalf("command without target or run: %v", command)
	}
	if operation := command.GetSeedOperation(); operation != nil {
		if operation.GetBlueprintId() == "" || command.GetAnnotations()["mesh_host_layers"] == "" {
			t.Fatalf("seed command that its host refuses: %v", command)
		}
	}
}
