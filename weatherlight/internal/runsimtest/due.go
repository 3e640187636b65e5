package runsimtest

import (
	"cmp"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/oona"
)

// wholeMS says that a time in the index was asked for: a claim is no whole number
// of milliseconds.
func wholeMS(at int64) bool { return at%int64(time.Millisecond) == 0 }

func ceilMS(at time.Time) int64 {
	ns := at.UnixNano()
	if rest := ns % int64(time.Millisecond); rest > 0 {
		ns += int64(time.Millisecond) - rest
	}
	return ns
}

// Schedule makes a run due, never later than it is already. A claim becomes a
// time that was asked for, so that its holder cannot put it off.
func (s *store) Schedule(part, run string, at time.Time) {
	if at.IsZero() || s.defects.NoIndex {
		return
	}
	due := ceilMS(at)
	if s.index[part] == nil {
		s.index[part] = make(map[string]int64)
	}
	if known, ok := s.index[part][run]; ok && known <= due {
		if wholeMS(known) {
			return
		}
		due = known - known%int64(time.Millisecond)
	}
	s.put(part, run, due)
}

func (s *store) put(part, run string, due int64) {
	s.index[part][run] = due
	if s.due != nil {
		s.due(time.Unix(0, due))
	}
}

// Due claims runs whose time has come, the longest overdue first.
func (s *store) Due(part string, now time.Time, limit int, hold time.Duration) []oona.DueRun {
	limitNS := now.UnixMilli() * int64(time.Millisecond)
	var ready []string
	for run, due := range s.index[part] {
		if due <= limitNS {
			ready = append(ready, run)
		}
	}
	slices.SortFunc(ready, func(a, b string) int {
		return cmp.Or(cmp.Compare(s.index[part][a], s.index[part][b]), cmp.Compare(a, b))
	})
	until := now.Add(max(hold, time.Millisecond)).UnixMilli() * int64(time.Millisecond)
	claim := until + (1+s.draw(claimSteps-1))*int64(claimStep)
	claimed := make([]oona.DueRun, 0, min(len(ready), max(limit, 0)))
	for _, run := range ready[:min(len(ready), max(limit, 0))] {
		s.put(part, run, claim)
		claimed = append(claimed, oona.DueRun{Run: run, At: time.Unix(0, claim)})
	}
	return claimed
}

// Reschedule ends a claim that still stands.
func (s *store) Reschedule(part string, claimed oona.DueRun, at time.Time) {
	if known, ok := s.index[part][claimed.Run]; !ok || known != claimed.At.UnixNano() {
		return
	}
	if at.IsZero() {
		delete(s.index[part], claimed.Run)
		return
	}
	s.put(part, claimed.Run, ceilMS(at))
}

// Runs lists runs of a part that are due at some time, by name.
func (s *store) Runs(part, after string, limit int) []string {
	var runs []string
	for run := range s.index[part] {
		if run > after {
			runs = append(runs, run)
		}
	}
	slices.Sort(runs)
	return runs[:min(len(runs), max(limit, 0))]
}

// next is when something is due; false when nothing is.
func (s *store) next(part string) (time.Time, bool) {
	var first int64
	for _, due := range s.index[part] {
		if first == 0 || due < first {
			first = due
		}
	}
	return time.Unix(0, first), first != 0
}
