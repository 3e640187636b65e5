package tamiyo

import (
	"cmp"
	"maps"
	"slices"
)

// recordFormat is the form that records are written in.
const recordFormat = 1

// Record is all that the controller remembers of one training run. It travels
// as JSON between the instances that decide on the run: json.Marshal writes it,
// [DecodeRecord] reads it. Nobody changes one: [Controller.Decide] returns
// another.
type Record struct {
	Format int    `json:"format"`
	Run    string `json:"run"`

	Trainer string   `json:"trainer,omitempty"` // process that holds the run; empty: it only reports
	Number  uint64   `json:"report,omitempty"`  // of its last report
	Retired []string `json:"retired,omitempty"` // trainers that held the run before, oldest first: digest and last report

	Epoch     uint32 `json:"epoch"`
	Timestamp uint64 `json:"timestamp_ns,omitempty"` // of the last packet of a trainer that only reports

	Evaluated uint64 `json:"evaluated"`  // reports evaluated: the clock of everything below
	SeenAt    int64  `json:"seen_at_ms"` // when the last one was, since 1970

	Loss  lossTrend       `json:"loss,omitzero"`
	Seeds []seed          `json:"seeds,omitempty"` // by id, ascending
	Slots map[string]slot `json:"slots,omitempty"` // those where a blueprint failed

	restraint

	watched
	famine
}

// watched is what is known of the run beside its seeds.
type watched struct {
	Shadow  shadowed `json:"shadow,omitzero"`
	Windows []window `json:"windows,omitempty"` // open ones, oldest first
	// HostWork is what the host costs without seeds: multiply-adds of a pass of one example;
	// 0 when its trainer never told.
	HostWork float64 `json:"host_work,omitempty"`
}

// famine is what was told of a run that could not grow.
type famine struct {
	// Unbegun are the digests of what decision_explained told last of slots at which nothing was begun.
	Unbegun     map[string]string `json:"unbegun,omitempty"`
	Starved     bool              `json:"starved,omitempty"`     // no_seed_candidates was told
	Unavailable bool              `json:"unavailable,omitempty"` // seed_candidates_unavailable was told
	// InVain is how many of the free slots, in the order of their turns, were looked at since one
	// had room for a seed: the next report goes on behind them.
	InVain int `json:"in_vain,omitempty"`
	// Waited and Unknown are of the slots that were looked at since the first: at one of them the
	// policy would not begin a seed, or what fits it was not known.
	Waited  bool `json:"waited,omitempty"`
	Unknown bool `json:"unknown,omitempty"`
}

// slot is what failed at one slot of the host.
type slot struct {
	WrittenOff []string       `json:"written_off,omitempty"` // blueprints that are not tried again
	Setbacks   map[string]int `json:"setbacks,omitempty"`    // failures that were not the blueprint's; it is tried after others
}

// clone returns a copy that shares nothing with r.
func (r *Record) clone() *Record {
	next := *r
	next.Retired, next.Seeds = slices.Clone(r.Retired), slices.Clone(r.Seeds)
	next.Slots, next.Windows, next.Unbegun = maps.Clone(r.Slots), slices.Clone(r.Windows), maps.Clone(r.Unbegun)
	for name, s := range next.Slots {
		next.Slots[name] = slot{WrittenOff: slices.Clone(s.WrittenOff), Setbacks: maps.Clone(s.Setbacks)}
	}
	return &next
}

func (r *Record) find(id string) (int, bool) {
	return slices.BinarySearchFunc(r.Seeds, id, func(s seed, id string) int { return cmp.Compare(s.ID, id) })
}

func (r *Record) seed(id string) (seed, bool) {
	at, known := r.find(id)
	if !known {
		return seed{}, false
	}
	return r.Seeds[at], true
}

func (r *Record) put(s seed) {
	at, known := r.find(s.ID)
	if known {
		r.Seeds[at] = s
		return
	}
	r.Seeds = slices.Insert(r.Seeds, at, s)
}

func (r *Record) remove(id string) {
	if at, known := r.find(id); known {
		r.Seeds = slices.Delete(r.Seeds, at, at+1)
	}
}

// growing is the number of seeds on their way: alive in the host or asked for.
func (r *Record) growing() int {
	count := 0
	for i := range r.Seeds {
		if !r.Seeds[i].Ended {
			count++
		}
	}
	return count
}

// grown is what the seeds cost that live or became layers of the host: multiply-adds. One of
// which nobody knows counts as much as the host: it was begun within what that bears.
func (r *Record) grown() float64 {
	sum := 0.0
	for i := range r.Seeds {
		if s := &r.Seeds[i]; !s.Ended || s.Stage == stageFossilized {
			sum += cmp.Or(float64(s.Work), r.HostWork)
		}
	}
	return sum
}

// occupied says whether a seed grows at a slot.
func (r *Record) occupied(slot string) bool {
	return slices.ContainsFunc(r.Seeds, func(s seed) bool { return !s.Ended && s.Slot == slot })
}

// tried is how many seeds of a slot became layers of the host, or spoke against
// their blueprints there.
func (r *Record) tried(slot string) int {
	count := len(r.Slots[slot].WrittenOff)
	for _, s := range r.Seeds {
		if s.Slot == slot && s.Stage == stageFossilized {
			count++
		}
	}
	return count
}

func (r *Record) writeOff(name, blueprintID string) {
	r.makeRoom()
	s := r.Slots[name]
	if !slices.Contains(s.WrittenOff, blueprintID) {
		s.WrittenOff = append(s.WrittenOff, blueprintID)
	}
	delete(s.Setbacks, blueprintID)
	r.Slots[name] = s
}

func (r *Record) setBack(name, blueprintID string) int {
	r.makeRoom()
	s := r.Slots[name]
	if s.Setbacks == nil {
		s.Setbacks = map[string]int{}
	}
	s.Setbacks[blueprintID] = min(s.Setbacks[blueprintID]+1, maxSetbacks)
	r.Slots[name] = s
	return s.Setbacks[blueprintID]
}

// makeRoom bounds what is remembered of failures: after that many, everything
// may be tried again.
func (r *Record) makeRoom() {
	if r.Slots == nil || remembered(r.Slots) >= maxRemembered {
		r.Slots = map[string]slot{}
	}
}

// remembered counts the names in slots.
func remembered(slots map[string]slot) int {
	count := 0
	for _, s := range slots {
		count += len(s.WrittenOff) + len(s.Setbacks)
	}
	return count
}

// Next are the shapes of the free slots that the next report looks at, unless it finds where to
// begin a seed before that.
func (r *Record) Next(slots map[string][]int) [][]int {
	turns, at := r.turns(slots)
	var shapes [][]int
	for i := range min(len(turns), maxLooked) {
		shapes = append(shapes, slots[turns[(at+i)%len(turns)]])
	}
	return shapes
}

// turns are the free ones of a report's slots, in the order in which they take their turn: by how
// often something was tried there, whatever came of it, times the positions at which the same
// weights are at work. At a slot of many a seed learns less for its work, and is the less worth a
// trial. A report goes on behind those that were looked at in vain.
func (r *Record) turns(slots map[string][]int) (names []string, at int) {
	turns := make(map[string]float64, len(slots))
	names = make([]string, 0, len(slots))
	for name, shape := range slots {
		if isWord(name) && !r.occupied(name) {
			turns[name] = float64(1+r.tried(name)) * positions(shape)
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(turns[a], turns[b]), cmp.Compare(a, b))
	})
	if r.InVain < len(names) {
		at = r.InVain
	}
	return names, at
}
