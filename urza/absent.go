package urza

import "sync"

// absent remembers which kernels the catalogue did not hold, as of one of its
// generations: a seed that keeps asking for what is not there costs no query.
type absent struct {
	limit int

	mu         sync.RWMutex
	generation uint64
	keys       map[key]struct{}
}

func newAbsent(limit int) *absent {
	return &absent{limit: max(limit, 1), keys: map[key]struct{}{}}
}

func (a *absent) has(k key, generation uint64) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	_, found := a.keys[k]
	return found && a.generation == generation
}

// add starts over when the catalogue changed, or when asking for ever new names
// would fill the memory.
func (a *absent) add(k key, generation uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.generation != generation || len(a.keys) >= a.limit {
		clear(a.keys)
		a.generation = generation
	}
	a.keys[k] = struct{}{}
}

func (a *absent) drop(k key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.keys, k)
}
