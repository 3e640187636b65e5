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

// Remember notes the entry that a mark was set for.
func (r *Recent) Remember(mark, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.recent) >= r.capacity {
		clear(r.older)
		r.recent, r.older = r.older, r.recent
	}
	r.recent[mark] = id
}

// Holder is the entry that a mark was set for, or "".
func (r *Recent) Holder(mark string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if holder, known := r.recent[mark]; known {
		return holder
	}
	return r.older[mark]
}
