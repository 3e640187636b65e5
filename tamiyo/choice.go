package tamiyo

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
	"github.com/esper-lite/weatherlight/trainer"
)

// considered is a blueprint that might have been begun at a slot.
type considered struct {
	slot      string
	candidate Candidate
	setbacks  int    // failures at the slot that were not its own
	refusal   string // why it was not; empty: it could have been
	cost      float64
	worth     float64
	risk      rules.Figure // as the policy that decides sees it
	residual  bool         // it asks for that blend
}

// begins says whether it is worth a seed.
func (c considered) begins() bool { return c.refusal == "" && (!c.risk.Known || c.worth > 0) }

func (c considered) String() string {
	text := c.candidate.BlueprintID + " at " + c.slot
	if c.refusal != "" {
		return text + ": not for " + c.refusal
	}
	return text + ": " + strconv.FormatFloat(c.worth, 'f', 3, 64)
}

// host is what a report tells of the network that seeds grow in.
type host struct {
	device string  // that it is trained on, in lower case
	work   float64 // multiply-adds of one forward pass of one example, 0 when its trainer never told
	grown  float64 // those of its seeds
}

func hostOf(packet *leyline.SystemStatePacket, work, grown float64) host {
	return host{strings.ToLower(packet.GetHardwareContext().GetDeviceType()), work, grown}
}

// hostWork is what a host costs after a report, and before was it before: what a report
// does not tell stays as it was. What is no cost never lifts the bound: it counts as the
// least that a host can cost, unless a better figure is known.
func hostWork(before float64, packet *leyline.SystemStatePacket) float64 {
	told := float64(packet.GetTrainingMetrics()[trainer.MetricHostMultiplyAdds])
	switch {
	case told == 0:
		return before
	case told > 0 && finite(told):
		return told
	default:
		return max(before, 1)
	}
}

// rank orders what could be begun at a slot of that shape, the best first and what must
// not be begun last. Those that failed there for no fault of theirs come after the
// others.
func rank(name string, shape []int, candidates []Candidate, memory slot, in host) []considered {
	ranked := make([]considered, 0, len(candidates))
	dearest := expense{device: in.device}
	for _, c := range candidates {
		entry := considered{slot: name, candidate: c, setbacks: memory.Setbacks[c.BlueprintID], refusal: refusal(c, shape, memory, in)}
		if entry.refusal == "" {
			dearest = dearest.larger(c, shape)
		}
		ranked = append(ranked, entry)
	}
	sizes, largest := make([]float64, len(ranked)), 0.0
	for i, entry := range ranked {
		if entry.refusal == "" {
			sizes[i] = capacity(strength(entry.candidate, dearest.counted), shape)
			largest = max(largest, sizes[i])
		}
	}
	for i := range ranked {
		if entry := &ranked[i]; entry.refusal == "" {
			entry.cost = cost(entry.candidate, shape, dearest)
			entry.worth = worth(entry.candidate, sizes[i]/largest, entry.cost)
		}
	}
	slices.SortFunc(ranked, func(a, b considered) int {
		return cmp.Or(
			cmp.Compare(min(len(a.refusal), 1), min(len(b.refusal), 1)),
			cmp.Compare(a.setbacks, b.setbacks),
			cmp.Compare(b.worth, a.worth),
			cmp.Compare(a.candidate.BlueprintID, b.candidate.BlueprintID))
	})
	return ranked
}

// refusal is why a blueprint must not be begun.
func refusal(c Candidate, shape []int, memory slot, in host) string {
	switch {
	case !isWord(c.BlueprintID):
		return "its name"
	case c.Tier != leyline.BlueprintTier_BLUEPRINT_TIER_SAFE:
		return "its tier " + strings.TrimPrefix(c.Tier.String(), "BLUEPRINT_TIER_")
	case c.ApprovalRequired:
		return "want of approval"
	case c.QuarantineOnly:
		return "quarantine"
	case c.ParameterCount <= 0:
		return "want of parameters"
	case slices.Contains(memory.WrittenOff, c.BlueprintID):
		return "what it came to here"
	case !in.affords(c, shape):
		return "what it costs"
	}
	if finding, refused := rules.Refuses(c.facts(true)); refused {
		return finding.Rule
	}
	return ""
}

// freeWork takes no time beside that of a step, however small its host is: multiply-adds.
const freeWork = 2000

// affords says whether a host can bear one more seed: all of them may cost as much as the
// host, and once more what the new one brings of weights, of which each is a multiply-add that
// learns something of its own. Measured at equal compute (docs/growth.md): with more there are
// too few steps left to train it.
func (h host) affords(c Candidate, shape []int) bool {
	own := min(strength(c, c.MultiplyAdds > 0), h.work)
	return h.work == 0 || h.grown+c.work(shape) <= max(h.work+own, freeWork)
}

// work is what a blueprint costs at a slot, in multiply-adds. One of which nobody counted
// them is taken to use each of its weights at each position of the slot: it is not free.
func (c Candidate) work(shape []int) float64 {
	if c.MultiplyAdds < 0 {
		return float64(max(c.ParameterCount, 1)) * positions(shape)
	}
	return float64(c.MultiplyAdds)
}

// expense is what the dearest of several blueprints costs on a device.
type expense struct {
	device     string
	work       float64
	counted    bool // somebody counted the multiply-adds of some
	latency    float64
	unmeasured bool // some were not measured there, so that none goes by its latency
}

func (e expense) larger(c Candidate, shape []int) expense {
	latency := positive(c.LatencyMS[e.device])
	return expense{
		e.device, max(e.work, c.work(shape)), e.counted || c.MultiplyAdds > 0,
		max(e.latency, latency), e.unmeasured || latency == 0,
	}
}

const (
	priorTries  = 2    // seeds that what is thought of a blueprint beforehand counts as
	bestChance  = 0.5  // that the largest one without a risk is kept, before any seed of it was
	riskShare   = 0.5  // of its chance that a blueprint of risk 1 loses
	costShare   = 0.25 // of its worth that the dearest blueprint loses
	misfitShare = 0.5  // that one keeps which takes the slot for something else
)

// worth is what a blueprint promises at a slot: the chance that a seed of it is kept,
// times what those that were kept brought, less what it costs. Before any seed of it was
// judged, the chance goes by its capacity beside the largest, its risk and its fit; each seed that was judged
// moves it towards what they came to.
func worth(c Candidate, size, cost float64) float64 {
	prior := bestChance * size * (1 - riskShare*c.facts(true).EffectiveRisk())
	if c.Misfit {
		prior *= misfitShare
	}
	kept, tried := max(c.Earned.Kept, 0), max(c.Earned.Tried, c.Earned.Kept, 0)
	chance := (float64(kept) + priorTries*prior) / (float64(tried) + priorTries)
	return chance * (1 + min(positive(c.Earned.Gain), 1)) * (1 - costShare*cost)
}

// strength is what of its weights computes: as many of them as it does multiply-adds. A
// weight that is at work at many positions of a slot costs as often and can learn no more
// than one. Weights alone would speak for tables that compute next to nothing with them, such
// as learned positions; work alone for attention, which compares positions by few weights.
// Where nobody counted the work, the weights speak.
func strength(c Candidate, counted bool) float64 {
	if c.MultiplyAdds < 0 || !counted {
		return float64(c.ParameterCount)
	}
	return min(float64(c.ParameterCount), float64(max(c.MultiplyAdds, 1)))
}

// positions is at how many places of a slot the same weights are at work.
func positions(shape []int) float64 {
	switch len(shape) {
	case 2: // sequence x width
		return float64(max(shape[0], 1))
	case 3: // channels x height x width
		return float64(max(shape[1], 1)) * float64(max(shape[2], 1))
	default:
		return 1
	}
}

// capacity is how much of a change a blueprint can be, 0..1: half for one of as many weights as
// four linear maps of all that passes the slot. More brings ever less.
func capacity(strength float64, shape []int) float64 {
	size := 1.0
	for _, extent := range shape {
		size *= float64(max(extent, 1))
	}
	return strength / (strength + 4*size*size)
}

// slotWidth is that of the slot's vectors, 1 at least.
func slotWidth(shape []int) float64 {
	switch len(shape) {
	case 1, 3: // features, or channels x height x width
		return float64(max(shape[0], 1))
	case 2: // sequence x width
		return float64(max(shape[1], 1))
	default:
		return 1
	}
}

// cost is what a blueprint costs beside the dearest, 0..1: the time of a pass on the
// trainer's device where that was measured of all, else multiply-adds.
func cost(c Candidate, shape []int, dearest expense) float64 {
	if !dearest.unmeasured {
		return positive(c.LatencyMS[dearest.device]) / dearest.latency
	}
	if dearest.work > 0 {
		return c.work(shape) / dearest.work
	}
	return 0
}

// positive is a number that is one, and not below 0.
func positive(value float64) float64 {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return 0
	}
	return max(value, 0)
}
