package runsimtest

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// quiet begins the time in which nothing goes wrong any more.
func (a *auditor) quiet() {
	a.quietSince = a.town.now
	a.tell("----- quiet from here on -----")
	a.town.after(a.town.least(2*time.Minute), a.watchDeadlines) // the index may have been lost, and heals with the next write
}

// patience is how long after its time a deadline may be noticed: whoever took a
// run out of the index may have died with it.
const patience = 25 * time.Second

// watchDeadlines looks, now and then, for deadlines that nobody noticed.
func (a *auditor) watchDeadlines() {
	late := a.town.now.Add(-patience).UnixMilli()
	for _, r := range a.town.runs {
		f := a.file(r.name)
		if f.record == nil {
			continue
		}
		for _, s := range f.record.Seeds {
			if s.Wait != nil && int64(s.Wait.Deadline) < late {
				a.violate("run %q: seed %q waits for its kernel, and its time was up %d ms ago", r.name, s.ID, a.town.now.UnixMilli()-int64(s.Wait.Deadline))
			}
			if s.Stage == stageEmbargoed && int64(s.Embargo.Until) < late {
				a.violate("run %q: the embargo of seed %q is over, and it is not reset", r.name, s.ID)
			}
		}
	}
	a.town.after(20*time.Second, a.watchDeadlines)
}

// settling is how long everything that was late, lost or in doubt may take to show.
const settling = 6 * time.Minute

// atRest says that every seed came to an end, and everything had time to settle.
func (a *auditor) atRest() bool {
	if a.town.now.Sub(a.quietSince) < a.town.least(settling)+20*a.town.slowest() {
		return false
	}
	for _, r := range a.town.runs {
		if r.grows && len(a.growing(r)) > 0 {
			a.restSince = time.Time{}
			return false
		}
	}
	if a.restSince.IsZero() {
		a.restSince = a.town.now
	}
	return a.town.now.Sub(a.restSince) > 3*a.town.slowest() // the controller hears of it with the next reports
}

// growing are the seeds of a run that have not come to an end: as its trainer or
// as its record has it.
func (a *auditor) growing(r *run) []string {
	var names []string
	for seed, s := range r.trainer.seeds {
		if s.stage != stageFossilized {
			names = append(names, seed+" (trainer: "+s.stage.String()+")")
		}
	}
	if f := a.file(r.name); f.record != nil {
		for _, s := range f.record.Seeds {
			if s.Stage != stageFossilized {
				names = append(names, s.ID+" (record: "+s.Stage.String()+")")
			}
		}
	}
	slices.Sort(names)
	return names
}

// close checks how everything ended.
func (a *auditor) close() {
	for _, r := range a.town.runs {
		if r.grows {
			a.ended(r)
		}
	}
}

// closeSilence checks that everything that was decided was published, and that
// somebody noticed that no trainer reports any more.
func (a *auditor) closeSilence() {
	for _, o := range slices.SortedFunc(maps.Keys(a.owed), func(x, y owing) int { return cmp.Compare(x.name, y.name) }) {
		if a.file(o.key.Run).garbage {
			continue // what is left in a record waits for the run's next message, and this one has none
		}
		a.violate("%s of run %q was decided %v ago and never published", o.name, o.key.Run, a.town.now.Sub(a.owed[o]))
	}
	for _, r := range a.town.runs {
		if f := a.file(r.name); r.grows && f.record != nil && !f.record.Trainer.Silent {
			a.violate("run %q: nobody noticed that its trainer fell silent", r.name)
		}
	}
}

func (a *auditor) ended(r *run) {
	stored := a.town.store.Load(oona.RecordKey{Part: control.PartKasmina, Run: r.name})
	record, err := kasmina.DecodeRecord(stored.Value)
	if err != nil {
		a.violate("run %q has no record in the end: %v", r.name, err)
		return
	}
	if record.Trainer.ID != r.trainer.id {
		a.violate("run %q is led by %q in the end, and its trainer is %q", r.name, record.Trainer.ID, r.trainer.id)
		return
	}
	if r.trainer.halted {
		a.violate("run %q is halted, and the emergency was lifted", r.name)
	}
	for _, seed := range a.growing(r) {
		a.violate("run %q: seed %s has come to no end", r.name, seed)
	}
	a.agree(r, record)
	a.reportedOnce(r)
}

// reportedOnce checks that Tamiyo has followed the run to its end, and told of
// each of its seeds.
func (a *auditor) reportedOnce(r *run) {
	stored := a.town.store.Load(oona.RecordKey{Part: control.PartTamiyo, Run: r.name})
	record, err := tamiyo.DecodeRecord(stored.Value)
	if err != nil {
		a.violate("controller has no record of run %q in the end: %v", r.name, err)
		return
	}
	if record.Trainer != r.trainer.id {
		a.violate("the controller takes %q for the trainer of run %q, which is %q", record.Trainer, r.name, r.trainer.id)
	}
	for i := range record.Seeds {
		if s := &record.Seeds[i]; !s.Ended {
			a.violate("run %q: the controller waits for seed %q, which has ended", r.name, s.ID)
		}
	}
	f := a.file(r.name)
	for _, seed := range slices.Sorted(maps.Keys(f.germinations)) {
		// One that was given up, and came late, is reported twice.
		if n := f.reported[seed]; !f.disturbed && (n == 0 || n > 2 && !f.touched[seed]) {
			a.violate("run %q: %d field reports of seed %q", r.name, n, seed)
		}
	}
}

// agree checks that a record and its trainer tell of the same seeds.
func (a *auditor) agree(r *run, record *kasmina.Record) {
	known := make(map[string]bool)
	for _, s := range record.Seeds {
		known[s.ID] = true
		held, there := r.trainer.seeds[s.ID]
		switch {
		case !there && s.Stage == stageFossilized:
			a.violate("run %q: the record keeps seed %q, which its trainer does not have", r.name, s.ID)
		case there && held.stage != s.Stage:
			a.violate("run %q: seed %q is %v in the record and %v at its trainer", r.name, s.ID, s.Stage, held.stage)
		}
	}
	for _, seed := range slices.Sorted(maps.Keys(r.trainer.seeds)) {
		if !known[seed] {
			a.violate("run %q: its trainer has seed %q, of which the record knows nothing", r.name, seed)
		}
	}
}

// retired says whether a run's process has lost the run to another one, and for
// good: what a retired one reports changes nothing.
func (a *auditor) retired(r *run) bool {
	f := a.file(r.name)
	return f.record != nil && slices.Contains(f.record.Trainer.Retired, r.trainer.id)
}
