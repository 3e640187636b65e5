package nissa

// recent remembers the last ids it was given, to tell repeats.
type recent struct {
	known map[string]struct{}
	ring  []string
	next  int
}

func newRecent(size int) *recent {
	return &recent{known: make(map[string]struct{}, size), ring: make([]string, size)}
}

// add reports whether id is new.
func (r *recent) add(id string) bool {
	if _, known := r.known[id]; known {
		return false
	}
	delete(r.known, r.ring[r.next])
	r.known[id] = struct{}{}
	r.ring[r.next] = id
	r.next = (r.next + 1) % len(r.ring)
	return true
}

// capped lets a bounded number of distinct label values through; the rest
// shares the value "other".
type capped struct {
	limit int
	known map[string]struct{}
}

func newCapped(limit int) *capped {
	return &capped{limit: limit, known: map[string]struct{}{}}
}

func (c *capped) value(text string) string {
	text = labelValue(text)
	if _, known := c.known[text]; known {
		return text
	}
	if len(c.known) >= c.limit {
		return "other"
	}
	c.known[text] = struct{}{}
	return text
}
