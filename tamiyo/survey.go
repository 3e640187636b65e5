package tamiyo

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
	"github.com/esper-lite/weatherlight/trainer"
)

// plan is which seeds this pass would begin, and what it learnt on the way.
type plan struct {
	seeds      []choice
	repeats    []seed            // that were asked for and did not show
	refusals   []rules.Finding   // of those that are not asked for again
	considered []considered      // at all slots that were looked at
	blueprints []rules.Blueprint // of all seeds that live or would be begun
	known      map[string]*Candidate

	waits       bool   // the policy would not begin a seed now
	unjudged    bool   // it was asked, and failed
	starved     string // why nothing can be begun; empty: nothing was looked for, or something was found
	sought      bool   // for what would fit a slot
	unknown     error  // the first reason for which that could not be told
	unknownSlot string
	overdue     bool              // the step ran out of time over a question to the library
	untold      map[string]string // blueprints of seeds that it did not tell of, and why
	answered    bool              // it told of one, if only that there is none
}

// choice is a blueprint for a slot.
type choice struct {
	slot      string
	candidate Candidate
	worth     float64
	risk      rules.Figure
	residual  bool
}

func (p *plan) begins() bool { return len(p.seeds)+len(p.repeats) > 0 }

var errDenied = errors.New("the kernel library did not answer and is not asked for a while")

// survey finds out what could be begun, before the rules say whether it may be. A
// stalled host is what asks for a seed. While the run is conservative nothing is looked
// for, but in the report that may end it, nor while none can be begun.
func (e *evaluation) survey() {
	p := planner{e}
	denied := e.record.Library.denies(e.now)
	p.knowSeeds(denied)
	defer p.settleQuestions()
	if e.halted() || e.conservative() && (e.config.Conservative || e.record.Unrest.Calm+1 < e.config.HoldDownEpochs) {
		return
	}
	p.askOfSeeds()
	if e.state.Closed != "" {
		return
	}
	p.planRepeats()
	if e.record.Loss.Stalled < e.config.Patience {
		e.record.InVain = 0
	}
	stalled := e.loss.validated && e.record.Loss.Stalled >= e.config.Patience
	switch {
	case !stalled || !p.room():
	case len(e.state.HostLayers) == 0:
		e.plan.starved = starvedOfLayers
	case len(e.state.Slots) == 0:
		e.plan.starved = starvedOfSlots
	default:
		p.fillSlots(denied)
	}
}

// halted says that the training loop was told to stop.
func (e *evaluation) halted() bool {
	return e.state.Packet.GetTrainingMetrics()[trainer.MetricHalted] >= 1
}

// planner makes the plan of an evaluation.
type planner struct{ *evaluation }

// settleQuestions is after the last one of the pass.
func (e planner) settleQuestions() {
	switch {
	case e.plan.overdue:
		e.settleBreaker(&e.record.Library, componentLibrary, context.DeadlineExceeded)
	case e.plan.unknown == nil && len(e.plan.untold) == 0 && (e.plan.sought || e.plan.answered):
		e.settleBreaker(&e.record.Library, componentLibrary, nil)
	}
	switch {
	case e.deciding.late:
		e.settleBreaker(&e.record.Inference, componentInference, context.DeadlineExceeded)
	case e.deciding.answered && !e.plan.unjudged:
		e.settleBreaker(&e.record.Inference, componentInference, nil)
	}
}

// knowSeeds asks about the blueprints of the seeds that are there or were asked for. One
// that the library does not tell of is unknown, which is not the same as harmless.
func (e planner) knowSeeds(denied bool) {
	if e.state.Blueprint == nil {
		return
	}
	looked := make(map[string]bool) // at a blueprint; true: one of its seeds is there
	for i := range e.record.Seeds {
		s := &e.record.Seeds[i]
		if s.Ended || s.Blueprint == "" {
			continue
		}
		lives, known := looked[s.Blueprint]
		if !known {
			e.askAbout(s.Blueprint, denied)
		}
		if !s.awaited() && !lives {
			e.plan.blueprints = append(e.plan.blueprints, e.plan.facts(s.Blueprint, false))
		}
		looked[s.Blueprint] = lives || !s.awaited()
	}
}

func (e planner) askAbout(id string, denied bool) {
	var blueprint Candidate
	var known bool
	err := errDenied
	switch {
	case e.plan.overdue:
		err = context.DeadlineExceeded
	case !denied:
		blueprint, known, err = e.state.Blueprint(id)
	}
	switch {
	case err != nil:
		e.plan.overdue = e.plan.overdue || errors.Is(err, context.DeadlineExceeded)
		if e.plan.untold == nil {
			e.plan.untold = make(map[string]string)
		}
		e.plan.untold[id] = cmp.Or(clipped(err.Error()), "unknown")
	case known:
		e.plan.know(id, blueprint)
	}
	e.plan.answered = e.plan.answered || err == nil
}

// facts are what is known of a seed's blueprint.
func (p *plan) facts(id string, begins bool) rules.Blueprint {
	if blueprint, known := p.known[id]; known {
		return blueprint.facts(begins)
	}
	return rules.Blueprint{ID: id, Begins: begins, Unknown: true, Untold: p.untold[id]}
}

// planRepeats asks again for seeds that did not show. One whose blueprint must not be
// begun any more is given up.
func (e planner) planRepeats() {
	for i := range e.record.Seeds { // what is put back keeps its place
		s := e.record.Seeds[i]
		if !s.awaited() || !e.lapsed(s) || !e.commandable(s) {
			continue
		}
		if finding, refused := e.refused(s.Blueprint); refused {
			e.plan.refusals = append(e.plan.refusals, finding)
			s.Cause = finding.Rule
			e.issue(e.seedCommand(s, opCull, s.Cause), s.Blueprint)
			e.record.put(e.end(s, stageUnknown))
			continue
		}
		if e.plan.untold[s.Blueprint] != "" {
			e.plan.blueprints = append(e.plan.blueprints, e.plan.facts(s.Blueprint, true))
		}
		e.plan.repeats = append(e.plan.repeats, s)
	}
}

// refused says by which rule a blueprint must not be begun, as far as that is known.
func (e planner) refused(id string) (rules.Finding, bool) {
	blueprint, known := e.plan.known[id]
	if !known {
		return rules.Finding{}, false
	}
	return rules.Refuses(blueprint.facts(true))
}

// room says whether one more seed may grow beside those that are planned.
func (e planner) room() bool { return len(e.plan.seeds) < e.spare() }

// spare is how many more seeds may grow.
func (e planner) spare() int {
	return max(min(e.config.MaxGrowing-e.record.growing(), e.config.MaxSeeds-len(e.record.Seeds)), 0)
}

// maxLooked bounds the slots that a pass looks at in vain, and those that a policy chooses from. A
// policy of the largest size that may decide takes about a quarter of a step for one.
const maxLooked = 4

// fillSlots goes through the free slots in their order. What may grow at one is asked only when it
// is its turn: to know it may mean to compile. The rules take the first at which something is
// worth a seed, a policy that of several at which it sees most.
func (e planner) fillSlots(denied bool) {
	turns, at := e.record.turns(e.state.Slots)
	if at == 0 {
		e.record.Waited, e.record.Unknown = false, false
	}
	var found []considered
	for looks := 0; at < len(turns) && looks < maxLooked && e.room() && !e.plan.overdue; at++ {
		best, came := e.lookAt(turns[at], denied)
		switch {
		case came == slotUnknown:
		case came == slotBegins && e.deciding.active == nil:
			e.plan.choose(best)
		case came == slotBegins:
			found = append(found, best)
			looks++
		default:
			looks++
		}
	}
	if !e.plan.unjudged {
		found = byWorth(found)
	}
	for _, best := range found[:min(len(found), e.spare())] {
		e.plan.choose(best)
	}
	e.settleTurns(at, len(turns))
}

// byWorth has the highest worth first.
func byWorth(found []considered) []considered {
	return slices.SortedStableFunc(slices.Values(found), func(a, b considered) int { return cmp.Compare(b.worth, a.worth) })
}

// settleTurns remembers where the next report goes on.
func (e planner) settleTurns(at, all int) {
	e.record.Waited = e.record.Waited || e.plan.waits
	e.record.Unknown = e.record.Unknown || e.plan.unknown != nil
	looked := at == all // at all of them, be it in several reports
	switch {
	case len(e.plan.seeds) > 0: // one that a rule holds back keeps its turn
	case looked:
		e.record.InVain = 0
	case !e.plan.overdue:
		e.record.InVain = at
	}
	if looked && e.plan.sought && len(e.plan.seeds) == 0 && !e.record.Unknown && !e.record.Waited {
		e.plan.starved = starvedOfBlueprints
	}
}

// What came of a look at a slot.
const (
	slotInVain = iota
	slotUnknown
	slotBegins
)

// lookAt finds what is best at a slot, and says whether a seed of it may be begun.
func (e planner) lookAt(name string, denied bool) (best considered, came int) {
	e.plan.sought = true
	candidates, err := e.ask(name, denied)
	if err != nil {
		e.plan.overdue = e.plan.overdue || errors.Is(err, context.DeadlineExceeded)
		if e.plan.unknown == nil {
			e.plan.unknown, e.plan.unknownSlot = err, name
		}
		return considered{}, slotUnknown
	}
	e.price(e.state.Slots[name], candidates)
	ranked := rank(name, e.state.Slots[name], candidates, e.record.Slots[name],
		hostOf(e.state.Packet, e.record.HostWork, e.record.grown()))
	ranked = e.weigh(ranked)
	e.plan.considered = append(e.plan.considered, ranked...)
	switch {
	case len(ranked) == 0 || ranked[0].refusal != "":
		return considered{}, slotInVain
	case ranked[0].begins():
		return ranked[0], slotBegins
	default:
		e.plan.waits = true
		return considered{}, slotInVain
	}
}

// price finds out what seeds cost of which nobody knew, such as those of a record that was
// lost: what fits their slots tells.
func (e planner) price(shape []int, candidates []Candidate) {
	for i := range e.record.Seeds {
		s := &e.record.Seeds[i]
		if s.Work != 0 || !slices.Equal(e.state.Slots[s.Slot], shape) {
			continue
		}
		if at := slices.IndexFunc(candidates, func(c Candidate) bool { return c.BlueprintID == s.Blueprint }); at >= 0 {
			s.Work = seedWork(candidates[at], shape)
		}
	}
}

func (e planner) ask(slot string, denied bool) ([]Candidate, error) {
	switch {
	case e.candidates == nil:
		return nil, errors.New("nothing lists blueprints")
	case denied:
		return nil, errDenied
	default:
		return e.candidates(e.state.Slots[slot])
	}
}

func (p *plan) choose(best considered) {
	p.know(best.candidate.BlueprintID, best.candidate)
	p.seeds = append(p.seeds, choice{best.slot, best.candidate, best.worth, best.risk, best.residual})
	p.blueprints = append(p.blueprints, best.candidate.facts(true))
}

func (p *plan) know(id string, c Candidate) {
	if p.known == nil {
		p.known = make(map[string]*Candidate)
	}
	p.known[id] = &c
}

// facts are what the rules look at.
func (c Candidate) facts(begins bool) rules.Blueprint {
	return rules.Blueprint{
		ID: c.BlueprintID, Tier: c.Tier, Risk: c.Risk, Quarantine: c.QuarantineOnly, BSDS: c.BSDS, Begins: begins,
	}
}
