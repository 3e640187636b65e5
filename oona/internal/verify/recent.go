package verify

import (
	"sync"
)

// Recent remembers marks that this process has set: at least the last capacity of
// them. It refuses replays even when Redis has lost its memory. It is safe for
// concurrent use.
type Recent struct {
	capacity int

	mu            sync.Mutex
	recent, older map[string]string // mark -> entry id; a full generation makes room by ending the one before
}

// NewRecent remembers nothing yet.
func NewRecent(capacity int) *Recent {
	return &Recent{capacity: max(capacity, 1), recent: make(map[string]string), older: make(map[string]string)}
}

// Update remembers, for a whole batch at once, the entries that marks were set for.
func (r *Recent) Update(change func(remember func(mark, id string))) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r.remember)
}

func (r *Recent) remember(mark, id string) {
	if len(r.recent) >= r.capacity {
		clear(r.older)
		r.recent, r.older = r.older, r.recent
	}
	r.recent[mark] = id
}

// View looks up, for a whole batch at once, the entries that marks were set for: ""
// for one that is not remembered.
func (r *Recent) View(look func(holder func(mark string) string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	look(r.holder)
}

func (r *Recent) holder(mark string) string {
	if holder, known := r.recent[mark]; known {
		return holder
	}
	return r.older[mark]
}
