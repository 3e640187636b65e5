package urza

import "sync"

// absent remembers which blueprints the catalogue did not hold, as of one of its
// generations: a seed that keeps asking for what is not there costs no query.
type absent struct {
	limit int

	mu         sync.RWMutex
	generation uint64
	ids        map[string]struct{}
}

func newAbsent(limit int) *absent {
	return &absent{limit: max(limit, 1), ids: map[string]struct{}{}}
}

func (a *absent) has(id string, generation uint64) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	_, found := a.ids[id]
	return found && a.generation == generation
}

// add starts over when the catalogue changed, or when asking for ever new names
// would fill the memory.
func (a *absent) add(id string, generation uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.generation != generation || len(a.ids) >= a.limit {
		clear(a.ids)
		a.generation = generation
	}
	a.ids[id] = struct{}{}
}

func (a *absent) drop(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.ids, id)
}
