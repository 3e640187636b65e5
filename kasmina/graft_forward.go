package kasmina

import (
	"fmt"

	"github.com/esper-lite/weatherlight/kernel"
)

// Output is what the model sees at the grafted layer: host with the blends of the
// attached seeds put on one after the other, in host's own shape. Without a seed
// that blends it is host itself. Each seed reads the detached output before it,
// and each blend detaches it again, so no gradient reaches the host.
//
// host is a batch of the slot's shape, or of its examples flattened row by row,
// [N, channels*height*width] for [N, channels, height, width].
//
// A seed that fails is left out and the failure is counted: its next evidence
// carries the count, and the manager culls it.
func (g *Graft) Output(t *kernel.Tape, host kernel.Value) (kernel.Value, error) {
	return g.chain(t, host, "")
}

// Isolated is the output of one seed on the detached layer output that reaches
// it. The gradient reaches the seed's parameters and nothing else. For a seed
// that has left it is the detached host: a trainer that has not heard yet goes
// on unharmed.
func (g *Graft) Isolated(t *kernel.Tape, seedID string, host kernel.Value) (kernel.Value, error) {
	input, err := g.chain(t, host, seedID)
	if err != nil {
		return kernel.Value{}, err
	}
	input = t.Detach(input)
	instance := g.instance(seedID)
	if instance == nil {
		return input, nil
	}
	shaped, err := g.slot.shaped(t, input)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("run seed %s: %w", seedID, err)
	}
	out, err := instance.Forward(t, shaped)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("run seed %s: %w", seedID, err)
	}
	return shapedLike(t, out, input)
}

// link is one seed of the chain as it is at the start of a forward pass.
type link struct {
	seed     *graftedSeed
	instance *kernel.Instance
	slot     slot
	blend    BlendConfig
	alpha    float64
}

// chain blends the seeds before the named one, or all of them.
func (g *Graft) chain(t *kernel.Tape, host kernel.Value, before string) (kernel.Value, error) {
	if !host.Valid() {
		return kernel.Value{}, fmt.Errorf("graft: %w", ErrForeignValue)
	}
	running := host
	for _, link := range g.links(before) {
		blended, err := link.apply(t, running)
		if err != nil {
			g.countFault(link.seed, err)
			continue
		}
		running = blended
	}
	return running, nil
}

func (l link) apply(t *kernel.Tape, running kernel.Value) (kernel.Value, error) {
	host, err := l.slot.shaped(t, t.Detach(running))
	if err != nil {
		return kernel.Value{}, fmt.Errorf("run: %w", err)
	}
	out, err := l.instance.Forward(t, host)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("run: %w", err)
	}
	blended, err := blend(t, l.blend, l.alpha, host, out)
	if err != nil {
		return kernel.Value{}, err
	}
	return shapedLike(t, blended, running)
}

func (g *Graft) links(before string) []link {
	g.mu.Lock()
	defer g.mu.Unlock()
	var links []link
	for _, seed := range g.seeds {
		if seed.id == before {
			break
		}
		if seed.paused || !blends(seed.stage) {
			continue
		}
		alpha := alphaOf(seed.stage, g.schedule, seed.steps)
		links = append(links, link{
			seed: seed, instance: seed.instance, slot: g.slot, blend: seed.blend, alpha: alpha,
		})
	}
	return links
}

func (g *Graft) instance(seedID string) *kernel.Instance {
	g.mu.Lock()
	defer g.mu.Unlock()
	if seed := g.find(seedID); seed != nil {
		return seed.instance
	}
	return nil
}

func (g *Graft) countFault(seed *graftedSeed, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	seed.faults++
	seed.fault = err.Error()
}
