package weatherlight

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// garden is a running service with one compiled blueprint, and a trainer on its
// bus whose seeds do well.
type garden struct {
	*running

	t         *testing.T
	graft     *graft.Graft
	slot      *graft.Slot
	learns    []*kernel.Parameter // of all seeds
	blueprint *leyline.BlueprintDescriptor
	epoch     uint32
	change    func(*graft.Config) // of the trainer; nil: none
}

// gardenRun is the run of a garden's trainer.
const gardenRun = "run-1"

func newGarden(t *testing.T, blueprintID string) *garden {
	t.Helper()
	return newGardenWith(t, blueprintID, nil)
}

func newGardenWith(t *testing.T, blueprintID string, extra map[string]string) *garden {
	t.Helper()
	return newGardenOn(t, blueprintID, start(t, newService(t, extra)))
}

func newGardenOn(t *testing.T, blueprintID string, r *running) *garden {
	t.Helper()
	return newGardenFor(t, blueprintID, r, nil)
}

// newGardenFor changes the trainer's configuration before it connects.
func newGardenFor(t *testing.T, blueprintID string, r *running, change func(*graft.Config)) *garden {
	t.Helper()
	g := &garden{t: t, running: r, change: change}
	var err error
	if g.blueprint, err = g.catalog.Get(blueprintID); err != nil {
		t.Fatal(err)
	}
	pass := forge.New(forge.Config{
		Compiler:   tezzeret.NewCompiler(tezzeret.Config{Features: 4}).ForForge(),
		Blueprints: func() []*leyline.BlueprintDescriptor { return []*leyline.BlueprintDescriptor{g.blueprint} },
		Library:    g.library,
		Announce:   g.durable.AnnounceKernel,
	})
	if err := pass.Run(t.Context()); err != nil || len(pass.Result().Compiled) != 1 {
		t.Fatalf("forge: %v, %+v", err, pass.Result())
	}
	g.plant()
	return g
}

// plant connects the trainer.
func (g *garden) plant() {
	g.t.Helper()
	config := graft.Config{
		Run: gardenRun, Keyring: g.keyring, Bus: connect(g.t, g.BusURL(), "trainer"), HostLayers: []string{"hidden"},
	}
	if g.change != nil {
		g.change(&config)
	}
	var err error
	if g.graft, err = graft.New(config); err != nil {
		g.t.Fatal(err)
	}
	if g.slot, err = g.graft.Slot("hidden", 4); err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.graft.Run(ctx) }()
	g.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			g.t.Error(err)
		}
	})
	g.report()
	eventually(g.t, "the run is known", func() bool { return g.view() != nil })
}

// train makes a step, by which seeds that learn have gradients to tell of.
func (g *garden) train() {
	g.t.Helper()
	for _, seed := range g.graft.Seeds() {
		if seed.Stage != inTraining {
			continue
		}
		tape := kernel.NewTape()
		out, err := g.slot.Isolated(tape, seed.ID, tape.Constant(kernel.FromSlice([]float32{1, 2, 3, 4}, 1, 4)))
		if err != nil {
			g.t.Fatal(err)
		}
		loss, err := tape.SoftmaxCrossEntropy(out, []int{0})
		if err = errors.Join(err, tape.Backward(loss)); err != nil {
			g.t.Fatal(err)
		}
	}
	g.graft.Step()
	for _, parameter := range g.learns { // or they would grow with each report
		parameter.ZeroGrad()
	}
}

// report does an epoch's work: orders take effect, ramps advance, and what is
// grafted is told with good evidence.
func (g *garden) report() {
	g.t.Helper()
	for _, change := range g.graft.Apply() {
		g.learns = append(g.learns, change.Parameters...)
	}
	g.train()
	evidence, cosine := make(map[string]graft.Evidence), 0.9
	for _, seed := range g.graft.Seeds() {
		evidence[seed.ID] = graft.Evidence{
			Loss:      graft.Comparison{Before: 1, After: 0.5, Error: 0.01, Examples: 100},
			Accuracy:  graft.Comparison{Before: 0.5, After: 0.8, Error: 0.01, Examples: 100},
			TrainLoss: new(1 / float64(g.epoch+1)), Cosine: &cosine,
		}
	}
	g.epoch++
	// The host goes on learning, so that the controller asks for no seeds of its own.
	loss := float32(math.Pow(0.98, float64(g.epoch)))
	g.graft.Report(&leyline.SystemStatePacket{Version: 1, CurrentEpoch: g.epoch, ValidationLoss: loss}, evidence)
	if err := g.graft.Flush(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
}

func (g *garden) view() *control.View {
	view, err := g.runs.View(g.t.Context(), gardenRun)
	if err != nil {
		g.t.Fatal(err)
	}
	return view
}

// command sends a seed command over the bus.
func (g *garden) command(id, seedID string, operation leyline.SeedOperation) {
	g.t.Helper()
	if err := g.bus.Publish(g.t.Context(), oona.Message{Payload: g.signed(id, seedID, operation)}); err != nil {
		g.t.Fatal(err)
	}
}

// signed is a seed command that the manager believes.
func (g *garden) signed(id, seedID string, operation leyline.SeedOperation) *leyline.AdaptationCommand {
	g.t.Helper()
	command := &leyline.AdaptationCommand{
		Version: 1, CommandId: id, CommandType: leyline.CommandType_COMMAND_SEED, TargetSeedId: seedID,
		IssuedAt:    timestamppb.Now(),
		Annotations: map[string]string{"training_run_id": gardenRun, "mesh_host_layers": `["hidden"]`},
		Payload: &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
			Operation: operation, BlueprintId: g.blueprint.GetBlueprintId(),
		}},
	}
	if err := g.keyring.SignCommand(command); err != nil {
		g.t.Fatal(err)
	}
	return command
}

func (g *garden) stage(seedID string) leyline.SeedLifecycleStage {
	view := g.view()
	if view == nil || view.Kasmina == nil {
		return leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN
	}
	for _, seed := range view.Kasmina.Seeds {
		if seed.ID == seedID {
			return leyline.SeedLifecycleStage(leyline.SeedLifecycleStage_value[seed.Stage])
		}
	}
	return leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN
}

func (g *garden) await(seedID string, stage leyline.SeedLifecycleStage) {
	g.t.Helper()
	eventually(g.t, seedID+" reaches "+stage.String(), func() bool {
		g.tell()
		return g.stage(seedID) == stage
	})
}

// blend grows a seed into BLENDING over the bus and with good evidence.
func (g *garden) blend(seedID string) {
	g.t.Helper()
	g.command("germinate-"+seedID, seedID, leyline.SeedOperation_SEED_OP_GERMINATE)
	g.await(seedID, leyline.SeedLifecycleStage_SEED_STAGE_TRAINING)
	g.await(seedID, leyline.SeedLifecycleStage_SEED_STAGE_BLENDING)
}

// fanOutOnce runs the job and returns what the library says then.
func (g *garden) fanOutOnce(wantChanged float64) map[string][]string {
	g.t.Helper()
	result, err := g.fanOut.Run(g.t.Context())
	if err != nil || result["changed"] != wantChanged {
		g.t.Fatalf("fan-out = %v, %v, want %v changed", result, err, wantChanged)
	}
	return g.capabilities()
}

// capabilities are what the library says: which parameters each seed may set.
func (g *garden) capabilities() map[string][]string {
	g.t.Helper()
	record, err := g.library.Get(g.t.Context(), g.blueprint.GetBlueprintId())
	if err != nil {
		g.t.Fatal(err)
	}
	var extras struct {
		Graph struct {
			Capabilities struct {
				BySeed map[string][]string `json:"allowed_parameters_by_seed_id"`
			} `json:"capabilities"`
		} `json:"graph_metadata"`
	}
	text, err := json.Marshal(record.Extras)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &extras); err != nil {
		g.t.Fatal(err)
	}
	return extras.Graph.Capabilities.BySeed
}

func TestSeedThatNoLongerBlendsLosesItsCapabilities(t *testing.T) {
	g := newGarden(t, "BP002")
	names := slices.Sorted(maps.Keys(g.blueprint.GetAllowedParameters()))
	if len(names) == 0 {
		t.Fatal("the blueprint has no parameters to grant")
	}
	if got := g.fanOutOnce(0); len(got) != 0 {
		t.Errorf("before any seed blends: %v", got)
	}
	g.blend("seed-1")
	if diff := cmp.Diff(map[string][]string{"seed-1": names}, g.fanOutOnce(1)); diff != "" {
		t.Error("while it blends (-want +got):", diff)
	}
	g.fanOutOnce(0) // nothing is written again
	g.command("cull-1", "seed-1", leyline.SeedOperation_SEED_OP_CULL)
	eventually(t, "the cull", func() bool { return g.stage("seed-1") > inBlending })
	if got := g.fanOutOnce(1); slices.ContainsFunc(slices.Collect(maps.Values(got)), func(names []string) bool { return len(names) > 0 }) {
		t.Errorf("after the cull: %v", got)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

func TestCapabilitiesOfAnEarlierRunAreTakenBack(t *testing.T) {
	g := newGarden(t, "BP002")
	g.blend("seed-1")
	g.fanOutOnce(1)
	if err := g.stop(t); err != nil {
		t.Fatal(err)
	}
	next, err := New(Config{Settings: g.settings})
	if err != nil {
		t.Fatal(err)
	}
	g.running = start(t, next)
	if got := g.fanOutOnce(1); len(got["seed-1"]) != 0 {
		t.Errorf("a seed that is gone still has %v", got)
	}
	g.fanOutOnce(0)
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

// What was imported is in no catalogue of ours: its parameters are those that it
// came with.
func TestSeedOfAnImportedBlueprintMayUseItsParameters(t *testing.T) {
	for name, graph := range map[string]any{
		"object": map[string]any{"parameters": []any{map[string]any{"name": "rate"}, map[string]any{"name": "depth"}}},
		"text":   `{"parameters": [{"name": "rate"}, {"name": "depth"}, {"name": "rate"}, {}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			g := newGardenWith(t, "BP002", map[string]string{"TEZZERET_FEATURES": "4"})
			compiled, err := tezzeret.NewCompiler(tezzeret.Config{Features: 4}).Compile(t.Context(), g.blueprint, nil)
			if err != nil {
				t.Fatal(err)
			}
			g.blueprint = proto.Clone(g.blueprint).(*leyline.BlueprintDescriptor)
			g.blueprint.BlueprintId = "imported"
			extras := map[string]any{"graph_metadata": graph}
			if _, err := g.library.Save(t.Context(), g.blueprint, compiled.Artifact, nil, extras); err != nil {
				t.Fatal(err)
			}
			g.blend("seed-1")
			if diff := cmp.Diff(map[string][]string{"seed-1": {"depth", "rate"}}, g.fanOutOnce(1)); diff != "" {
				t.Error("allowed (-want +got):", diff)
			}
			if err := g.stop(t); err != nil {
				t.Error(err)
			}
		})
	}
}
