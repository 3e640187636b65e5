package runsimtest

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
)

type stage = leyline.SeedLifecycleStage

// successors is the contract's table, written down here once more: the auditor
// takes nobody's word for it.
var successors = map[stage][]stage{
	stageDormant:      {stageGerminated, stageTerminated},
	stageGerminated:   {stageTraining, stageCulled},
	stageTraining:     {stageBlending, stageCulled},
	stageBlending:     {stageShadowing, stageCulled},
	stageShadowing:    {stageProbationary, stageCulled},
	stageProbationary: {stageFossilized, stageCulled},
	stageFossilized:   {stageTerminated},
	stageCulled:       {stageEmbargoed},
	stageEmbargoed:    {stageResetting},
	stageResetting:    {stageDormant},
}

// path is how a seed came from one stage to another within one decision: by one
// step, or by those that take no time. Nil: there is no legal way.
func path(from, to stage) []stage {
	if slices.Contains(successors[from], to) {
		return []stage{to}
	}
	for _, by := range [][]stage{
		{stageCulled, stageEmbargoed}, {stageCulled, stageEmbargoed, stageResetting},
		{stageCulled, stageEmbargoed, stageResetting, stageDormant},
		{stageEmbargoed, stageResetting}, {stageEmbargoed, stageResetting, stageDormant}, {stageResetting, stageDormant},
	} {
		if by[len(by)-1] == to && slices.Contains(successors[from], by[0]) {
			return by
		}
	}
	return nil
}

// chain is the way of growth from one stage to a later one: another process may
// have a seed further on than it is known to be.
func chain(from, to stage) []stage {
	if from < stageGerminated || to > stageFossilized {
		return nil
	}
	var way []stage
	for at := from + 1; at <= to; at++ {
		way = append(way, at)
	}
	return way
}

// seeds checks what a decision of Kasmina's made of the seeds of a run.
func (a *auditor) seeds(f *file, write oona.RecordWrite, outputs []output) {
	record, err := kasmina.DecodeRecord(write.Value)
	if err != nil {
		a.violate("record of run %q cannot be read: %v", write.Key.Run, err)
		return
	}
	before := f.record
	f.record = record
	for _, blueprint := range record.WrittenOff {
		if !f.faulty[blueprint] && !f.garbage {
			a.violate("run %q: blueprint %s is written off, and no kernel of it was at fault", write.Key.Run, blueprint)
		}
	}
	if !f.mayGrow() {
		if len(record.Seeds) > 0 {
			a.violate("run %q: a trainer that only reports has seeds", write.Key.Run)
		}
		return
	}
	if before != nil && before.Trainer.ID == record.Trainer.ID && before.Trainer.Number == record.Trainer.Number {
		a.undecided(write.Key.Run, outputs)
	}
	moves := movesBetween(before, record)
	if len(moves) == 0 || f.garbage {
		return
	}
	packets := packetsOf(outputs)
	adopts := before == nil || before.Trainer.ID != record.Trainer.ID || learns(f, before) ||
		a.town.now.Sub(f.lostAt) < a.town.least(rebuilding)
	for _, m := range moves {
		a.moved(f, write.Key.Run, m, packets, adopts)
	}
}

// undecided checks what was decided between two reports: an order may have been obeyed, and
// nothing tells so yet.
func (a *auditor) undecided(run string, outputs []output) {
	hasEvent(packetsOf(outputs), func(e *leyline.TelemetryEvent) bool {
		if e.GetDescription() == "order_expired" {
			a.violate("run %q: order %s of seed %q is given up before a report can tell of it",
				run, e.GetAttributes()["order"], e.GetAttributes()["seed_id"])
		}
		return false
	})
}

// learns says that the trainer has read orders that its run's record does not know of: the
// record was lost, and rebuilt from a report that was late.
func learns(f *file, record *kasmina.Record) bool {
	if f.losses == 0 || f.run == nil {
		return false
	}
	for _, tr := range []*trainee{f.run.trainer, f.run.second} {
		if tr != nil && tr.orderRead > record.LastOrder {
			return true
		}
	}
	return false
}

// rebuilding is how long after its loss a record may learn of what is there: what
// comes first may be a report that is late.
const rebuilding = 3 * time.Minute

// move is a change of one seed's stage.
type move struct {
	seed     string
	from, to stage
	fresh    bool // it is another seed of that name
}

func movesBetween(before, after *kasmina.Record) []move {
	stages := func(r *kasmina.Record) map[string]stage {
		known := make(map[string]stage)
		if r != nil {
			for _, s := range r.Seeds {
				known[s.ID] = s.Stage
			}
		}
		return known
	}
	old, now := stages(before), stages(after)
	var moves []move
	for seed, from := range old {
		to, there := now[seed]
		switch {
		case !there:
			moves = append(moves, move{seed: seed, from: from, to: stageDormant})
		case to != from:
			moves = append(moves, move{seed: seed, from: from, to: to})
		}
	}
	for seed, to := range now {
		if _, there := old[seed]; !there {
			moves = append(moves, move{seed: seed, from: stageDormant, to: to, fresh: true})
		}
	}
	slices.SortFunc(moves, func(a, b move) int { return slices.Compare([]byte(a.seed), []byte(b.seed)) })
	return moves
}

func packetsOf(outputs []output) []*leyline.TelemetryPacket {
	var packets []*leyline.TelemetryPacket
	name := string(proto.MessageName(new(leyline.TelemetryPacket)))
	for _, o := range outputs {
		packet := new(leyline.TelemetryPacket)
		if o.Type == name && proto.Unmarshal(o.Payload, packet) == nil {
			packets = append(packets, packet)
		}
	}
	return packets
}

// moved checks one change of a stage: that it is legal, and told of.
func (a *auditor) moved(f *file, run string, m move, packets []*leyline.TelemetryPacket, adopts bool) {
	a.tell("%s: seed %s %v -> %v", run, m.seed, m.from, m.to)
	a.count(f, m)
	way := path(m.from, m.to)
	if m.from == stageFossilized && m.to == stageDormant {
		way = []stage{stageTerminated} // and is forgotten
	}
	if way == nil && adopts {
		way = chain(m.from, m.to)
	}
	switch {
	case way != nil:
	case adopts && adopted(m, packets):
		way = nil // the trainer has it, nobody knew of it as it is, and that is told
	default:
		a.violate("run %q: seed %q went from %v to %v", run, m.seed, m.from, m.to)
		return
	}
	for _, step := range way {
		if !hasEvent(packets, func(e *leyline.TelemetryEvent) bool { return tells(e, m.seed, step) }) {
			a.violate("run %q: nobody tells that seed %q came to %v (%v to %v)", run, m.seed, step, m.from, m.to)
			return
		}
	}
	ends := slices.Contains(way, stageCulled) || slices.Contains(way, stageTerminated)
	if ends && !hasEvent(packets, func(e *leyline.TelemetryEvent) bool {
		return e.GetAttributes()["seed_id"] == m.seed && e.GetAttributes()["reason"] != ""
	}) {
		a.violate("run %q: nobody says why seed %q ended", run, m.seed)
	}
}

// adopted says whether it is told that a seed was found at its trainer, in a stage
// from which it may have come to where it is.
func adopted(m move, packets []*leyline.TelemetryPacket) bool {
	return hasEvent(packets, func(e *leyline.TelemetryEvent) bool {
		at := stage(leyline.SeedLifecycleStage_value[e.GetAttributes()["stage"]])
		return e.GetDescription() == "seed_adopted" && e.GetAttributes()["seed_id"] == m.seed &&
			at >= stageTraining && at <= stageFossilized && (at == m.to || path(at, m.to) != nil)
	})
}

// tells says whether an event is the one of a seed that came to a stage.
func tells(e *leyline.TelemetryEvent, seed string, to stage) bool {
	return e.GetDescription() == "seed_stage" && e.GetAttributes()["seed_id"] == seed && e.GetAttributes()["stage"] == to.String()
}

func (a *auditor) count(f *file, m move) {
	switch m.to {
	case stageGerminated:
		a.town.counts.Germinated++
		if r, raced := f.races[m.seed]; raced && r.culled {
			a.violate("seed %q germinated, and the CULL that came after its GERMINATE was handled before", m.seed)
		}
	case stageCulled, stageEmbargoed, stageTerminated, stageDormant:
		if m.from <= stageFossilized {
			a.town.counts.Ended++
		}
	default:
	}
}

// controlled checks what Tamiyo decided on a run.
func (a *auditor) controlled(f *file, write oona.RecordWrite) {
	record, err := tamiyo.DecodeRecord(write.Value)
	if err != nil {
		a.violate("controller's record of run %q cannot be read: %v", write.Key.Run, err)
		return
	}
	for slot, known := range record.Slots {
		for _, blueprint := range known.WrittenOff {
			if !f.attached[blueprint] && !f.faulty[blueprint] && !f.garbage && !f.usurped {
				a.violate("run %q: blueprint %s is written off at slot %q, and was never attached", write.Key.Run, blueprint, slot)
			}
		}
	}
}
