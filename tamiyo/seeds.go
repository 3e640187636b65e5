package tamiyo

import (
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
)

// vanishedAfter is the number of reports in a row that may miss a living seed
// before it counts as removed from the host.
const vanishedAfter = 2

// maxGerminations is the number of tries of one germination.
const maxGerminations = 3

// observeSeeds brings the run's seeds up to the report and tells of those that
// ended since the last one.
func (e *evaluation) observeSeeds() {
	for _, state := range e.state.Packet.GetSeedStates() {
		e.observeSeed(state)
	}
	missed := func(s seed) bool { return s.awaited() || s.Seen != e.record.Evaluated }
	if !slices.ContainsFunc(e.record.Seeds, missed) {
		return
	}
	for _, s := range slices.Clone(e.record.Seeds) {
		switch {
		case s.awaited():
			e.missGermination(s)
		case missed(s):
			e.missSeed(s)
		}
	}
}

func (e *evaluation) observeSeed(state *leyline.SeedState) {
	if s, known := e.record.seed(state.GetSeedId()); known && s.Seen == e.record.Evaluated {
		return // twice in one report counts once
	}
	if reason, failed := attachFailure(state); failed {
		e.attachFailed(state.GetSeedId(), reason.Reason(), reason.OfKernel())
		return
	}
	s, watch := e.recognise(state)
	if !watch {
		return
	}
	// What is there under a name, its trainer knows best.
	graft := e.state.Grafts[s.ID]
	s.Blueprint, s.Slot = wordOr(graft.Blueprint, s.Blueprint), wordOr(graft.Slot, s.Slot)
	before := s.Stage
	s = s.observe(state, e.record.Evaluated, e.config)
	s.Hold = s.Hold.shows(rests(state), s.Paused, e.record.Evaluated, e.now.UnixMilli())
	if s.Hold.Since == 0 && held(e, s) {
		s.Paused = true // by an order that was given up, or before our record was lost
	}
	if !s.Ended && !alive(s.Stage) {
		s = e.end(s, before)
	}
	e.record.put(s)
}

// attachFailed takes a seed that its trainer could not attach. A kernel that is
// at fault ends it; anything else may pass.
func (e *evaluation) attachFailed(id, reason string, ofKernel bool) {
	s, known := e.record.seed(id)
	if !known {
		return
	}
	s.Seen = e.record.Evaluated
	switch {
	case s.Ended:
	case ofKernel:
		s.Cause, s.Failure = reason, ""
		s = e.end(s, stageUnknown)
	case s.Failure == "": // the embargo of its name begins now
		s.Failure, s.Pending.At = reason, e.now.UnixMilli()
	default:
		s.Failure = reason
	}
	e.record.put(s)
}

// recognise returns the seed that state belongs to, and whether state says
// anything about it.
func (e *evaluation) recognise(state *leyline.SeedState) (seed, bool) {
	s, known := e.record.seed(state.GetSeedId())
	at := stage(state.GetStage())
	switch {
	case !isWord(state.GetSeedId()) || at <= stageUnknown || at > lastStage:
		return seed{}, false
	case known && s.Ended && s.Pending.waits() && !e.lapsed(s):
		return seed{}, false // the list is older than its CULL
	case !known || s.Ended && alive(at): // new, or its name is used again
		return e.firstSight(s, state)
	case s.Stage == stageUnknown && !s.Ended: // a dormant slot is not yet the seed
		return s, at != stageDormant
	default:
		return s, true
	}
}

// firstSight decides whether to watch a seed that nothing is known of, most
// often because the record was lost, or one that is there again after its end.
// What it is made of and where it sits, its trainer tells.
func (e *evaluation) firstSight(former seed, state *leyline.SeedState) (seed, bool) {
	graft := e.state.Grafts[state.GetSeedId()]
	s := seed{
		ID: state.GetSeedId(), Slot: wordOr(graft.Slot, former.Slot),
		Blueprint: wordOr(graft.Blueprint, former.Blueprint), Work: former.Work, origin: former.origin,
		Born: e.record.Evaluated - min(e.record.Evaluated, uint64(state.GetAgeEpochs())),
	}
	watch := alive(stage(state.GetStage())) || stage(state.GetStage()) == stageFossilized && s.Blueprint != ""
	full := former.ID == "" && len(e.record.Seeds) >= e.config.MaxSeeds
	return s, watch && !full
}

func wordOr(text, fallback string) string {
	if isWord(text) {
		return text
	}
	return fallback
}

// missSeed handles a seed that the report does not mention.
func (e *evaluation) missSeed(s seed) {
	missed := e.record.Evaluated - s.Seen
	switch {
	case s.Ended && s.Pending.waits() && !e.lapsed(s): // it may show yet
	case s.Ended:
		e.record.remove(s.ID)
	case s.Pending.Operation == opCull, missed >= vanishedAfter:
		e.record.put(e.end(s, s.Stage))
	}
}

// missGermination gives a seed up that did not show after the last try. Should
// it be on its way still, the CULL overtakes it: until that can have had its effect, what is
// told of the seed counts for nothing. While none can be begun, none is given up.
func (e *evaluation) missGermination(s seed) {
	if e.state.Closed != "" || !e.lapsed(s) || s.Pending.Attempts < maxGerminations {
		return
	}
	s.Cause = causeNoEffect
	gone := e.end(s, stageUnknown)
	if e.commandable(s) {
		e.issue(e.seedCommand(s, opCull, causeNoEffect), s.Blueprint)
		gone.Pending = pending{Operation: opCull, Since: e.record.Evaluated, At: e.now.UnixMilli(), Attempts: 1}
	}
	e.record.put(gone)
}

// chances is how often a blueprint may be set back before a seed of it that was alive
// counts against it, whatever ended it.
const chances = 3

// end closes a seed with a field report and gives the host time to show what it
// can do without, or with, it.
func (e *evaluation) end(s seed, lastAlive stage) seed {
	var gone string
	if s.Cause == "" && s.Stage != stageFossilized && e.state.Gone != nil {
		if gone = e.state.Gone(s.ID); spares(gone) {
			s.Cause = gone
		}
	}
	report := e.report(s, lastAlive, gone)
	switch {
	case s.Stage == stageFossilized, s.Cause == causeRestarted, s.Blueprint == "":
	case s.blamed():
		e.record.writeOff(s.Slot, s.Blueprint)
		followUp(report, "write_off", s)
	default:
		// One that was alive each time and was never measured is not tried for ever.
		set := e.record.setBack(s.Slot, s.Blueprint)
		followUp(report, "set_back", s)
		if set >= chances && s.Stage != stageUnknown && !spares(s.Cause) {
			e.record.writeOff(s.Slot, s.Blueprint)
			followUp(report, "write_off", s)
		}
	}
	e.reports = append(e.reports, report)
	if s.Stage == stageFossilized {
		watcher{e}.watch(s)
	}
	e.record.Loss = e.record.Loss.restart()
	return seed{
		ID: s.ID, Slot: s.Slot, Blueprint: s.Blueprint, Work: s.Work, origin: origin{Germination: s.Germination, Policy: s.Policy},
		Stage: s.Stage, Born: s.Born, Seen: s.Seen, Ended: true,
	}
}
