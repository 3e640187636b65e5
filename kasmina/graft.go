package kasmina

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
)

// Graft holds the seeds beside one host layer, in the order in which they were
// attached. The trainer calls it from its own goroutine; the manager attaches,
// moves and detaches seeds from another. It is safe for both at once.
type Graft struct {
	layers   []string
	slot     slot
	schedule AlphaSchedule

	mu       sync.Mutex
	seeds    []*graftedSeed
	observer Observer
}

// graftedSeed is guarded by the graft's mutex, except for its instance, which
// only the trainer's goroutine uses.
type graftedSeed struct {
	id       string
	instance *kernel.Instance
	blend    BlendConfig

	stage     leyline.SeedLifecycleStage
	paused    bool
	steps     int
	epochs    uint32
	residence int
	evidence  map[string]float32
	faults    int
	fault     string
}

// NewGraft returns a graft for a host with these layer names. slot is the shape
// of one example at the grafted layer, which is that of the kernels that fit it:
// features; sequence, width; or channels, height, width. The layer itself may
// also give its examples flat, as one row each.
func NewGraft(layerNames []string, slot ...int) *Graft {
	return &Graft{layers: slices.Clone(layerNames), slot: slices.Clone(slot), schedule: DefaultAlphaSchedule()}
}

// LayerNames are the names of the host's layers.
func (g *Graft) LayerNames() []string { return slices.Clone(g.layers) }

// Slot is the shape of one example at the grafted layer.
func (g *Graft) Slot() []int { return slices.Clone(g.slot) }

// Size is the number of elements of one example at the grafted layer.
func (g *Graft) Size() int { return g.slot.size() }

// Schedule is the ramp of the seeds' shares.
func (g *Graft) Schedule() AlphaSchedule { return g.schedule }

// Bind sets who is told of evidence; a graft that is not bound keeps it to itself.
func (g *Graft) Bind(observer Observer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.observer = observer
}

// Attach adds a seed behind those attached before it, in TRAINING. It tries
// the kernel and the blend once, so that a seed that cannot run never joins.
func (g *Graft) Attach(seedID string, instance *kernel.Instance, config BlendConfig) error {
	if err := g.probe(instance, config); err != nil {
		return fmt.Errorf("attach seed %s: %w", seedID, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.find(seedID) != nil {
		return fmt.Errorf("attach seed %s: %w", seedID, ErrAttached)
	}
	g.seeds = append(g.seeds, &graftedSeed{id: seedID, instance: instance, blend: config, stage: stageTraining})
	return nil
}

// probe runs the kernel and its blend on a batch of two examples of zeros.
func (g *Graft) probe(instance *kernel.Instance, config BlendConfig) error {
	if err := config.fits(g.slot); err != nil {
		return err
	}
	tape := kernel.NewTape()
	host := tape.Constant(kernel.NewTensor(g.slot.batched(2)...))
	out, err := instance.Forward(tape, host)
	if err != nil {
		return fmt.Errorf("try the kernel: %w", err)
	}
	if _, err := blend(tape, config, 0.5, host, out); err != nil {
		return fmt.Errorf("try the blend: %w", err)
	}
	return nil
}

// Detach removes a seed; an unknown one is nothing to do.
func (g *Graft) Detach(seedID string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seeds = slices.DeleteFunc(g.seeds, func(s *graftedSeed) bool { return s.id == seedID })
}

// SetStage moves a seed. Entering BLENDING starts its ramp at step 1.
func (g *Graft) SetStage(seedID string, stage leyline.SeedLifecycleStage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	seed := g.find(seedID)
	if seed == nil || seed.stage == stage {
		return
	}
	seed.stage, seed.residence = stage, 0
	if stage == stageBlending {
		seed.steps++
	}
}

// SetPaused takes a seed out of the output, or puts it back. A paused seed
// keeps its stage and its share.
func (g *Graft) SetPaused(seedID string, paused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if seed := g.find(seedID); seed != nil {
		seed.paused = paused
	}
}

// AlphaSteps is how far a seed's ramp has come, 0 for an unknown seed.
func (g *Graft) AlphaSteps(seedID string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if seed := g.find(seedID); seed != nil {
		return seed.steps
	}
	return 0
}

// Fault is the last failure of a seed's forward pass, empty when there was none.
func (g *Graft) Fault(seedID string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if seed := g.find(seedID); seed != nil {
		return seed.fault
	}
	return ""
}

// Seeds are the attached seeds in insertion order with their evidence of last
// epoch. The caller owns the result.
func (g *Graft) Seeds() []*leyline.SeedState {
	g.mu.Lock()
	defer g.mu.Unlock()
	states := make([]*leyline.SeedState, 0, len(g.seeds))
	for _, seed := range g.seeds {
		states = append(states, g.state(seed))
	}
	return states
}

func (g *Graft) state(seed *graftedSeed) *leyline.SeedState {
	state := withEvidence(seedState(seed.id, seed.stage, g.schedule, seed.steps), seed.evidence)
	state.AgeEpochs = seed.epochs
	state.Metrics["residence_epochs"] = float32(seed.residence)
	return state
}

// Parameters are those a seed may train now, nil when it is frozen (from
// SHADOWING on), paused or not attached.
func (g *Graft) Parameters(seedID string) []*kernel.Parameter {
	g.mu.Lock()
	defer g.mu.Unlock()
	seed := g.find(seedID)
	if seed == nil || seed.paused || !trains(seed.stage) {
		return nil
	}
	return seed.instance.Parameters()
}

// AdvanceAlpha moves the ramp of a BLENDING seed by one step and returns the
// seed's share, 0 for a seed that does not blend.
func (g *Graft) AdvanceAlpha(seedID string) float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	seed := g.find(seedID)
	if seed == nil {
		return 0
	}
	if seed.stage == stageBlending && !seed.paused {
		seed.steps++
	}
	return alphaOf(seed.stage, g.schedule, seed.steps)
}

// Observe reports a seed's evidence of one epoch to the manager, which decides
// promotions from it. Evidence of a seed that has left meanwhile is of no use
// and is dropped.
func (g *Graft) Observe(
	ctx context.Context, epoch uint32, seedID string, evidence map[string]float32,
) error {
	evidence = maps.Clone(evidence)
	if evidence == nil {
		evidence = make(map[string]float32)
	}
	observer := g.record(seedID, evidence)
	if observer == nil {
		return nil
	}
	err := observer.Observe(ctx, epoch, seedID, evidence)
	if errors.Is(err, ErrUnknownSeed) {
		return nil
	}
	return err
}

// record keeps the evidence, adds the faults of the epoch to it and returns
// who is to be told.
func (g *Graft) record(seedID string, evidence map[string]float32) Observer {
	g.mu.Lock()
	defer g.mu.Unlock()
	seed := g.find(seedID)
	if seed == nil {
		return nil
	}
	seed.epochs++
	seed.residence++
	seed.evidence = maps.Clone(evidence)
	if seed.faults > 0 {
		evidence[evidenceForwardFaults] = float32(seed.faults)
	}
	seed.faults = 0
	return g.observer
}

func (g *Graft) find(seedID string) *graftedSeed {
	for _, seed := range g.seeds {
		if seed.id == seedID {
			return seed
		}
	}
	return nil
}
