package tamiyo

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
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

// rank orders what could be begun at a slot of that shape, the best first and what must
// not be begun last. Those that failed there for no fault of theirs come after the
// others.
func rank(name string, shape []int, candidates []Candidate, memory slot, device string) []considered {
	dearest, largest := expense{device: strings.ToLower(device)}, 0.0
	for _, c := range candidates {
		dearest, largest = dearest.larger(c), max(largest, capacity(c.ParameterCount, shape))
	}
	ranked := make([]considered, 0, len(candidates))
	for _, c := range candidates {
		entry := considered{slot: name, candidate: c, setbacks: memory.Setbacks[c.BlueprintID]}
		entry.refusal = refusal(c, memory)
		if entry.refusal == "" {
			entry.cost = cost(c, dearest)
			entry.worth = worth(c, capacity(c.ParameterCount, shape)/largest, entry.cost)
		}
		ranked = append(ranked, entry)
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
func refusal(c Candidate, memory slot) string {
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
	}
	if finding, refused := rules.Refuses(c.facts(true)); refused {
		return finding.Rule
	}
	return ""
}

// expense is what the dearest of several blueprints costs on a device.
type expense struct {
	device       string
	multiplyAdds int64
	latency      float64
	unmeasured   bool // some were not measured there, so that none goes by its latency
}

func (e expense) larger(c Candidate) expense {
	latency := positive(c.LatencyMS[e.device])
	return expense{
		e.device, max(e.multiplyAdds, c.MultiplyAdds), max(e.latency, latency), e.unmeasured || latency == 0,
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
// judged, the chance goes by its size beside the largest, its risk and its fit; each seed that was judged
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

// capacity is how much of a change a blueprint can be, 0..1: half for one with as many
// parameters as four linear maps from the slot's vectors to all of the slot. More
// parameters bring ever less.
func capacity(parameters int, shape []int) float64 {
	half := 4 * slotWidth(shape)
	for _, size := range shape {
		half *= float64(max(size, 1))
	}
	return float64(parameters) / (float64(parameters) + half)
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
func cost(c Candidate, dearest expense) float64 {
	if !dearest.unmeasured {
		return positive(c.LatencyMS[dearest.device]) / dearest.latency
	}
	if dearest.multiplyAdds > 0 {
		return float64(max(c.MultiplyAdds, 0)) / float64(dearest.multiplyAdds)
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
