package runrecord

import (
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/esper-lite/weatherlight/oona"
)

// shards bounds how many runs one lock stands for.
const shards = 64

// cache keeps records decoded, and lets one message at a time decide on a run:
// two of one process would only make each other's write a conflict.
type cache[R any] struct {
	seed   maphash.Seed
	limit  int // entries of a shard
	shards [shards]shard[R]
}

type shard[R any] struct {
	mu      sync.Mutex
	entries map[string]*entry[R]
}

// entry is one run's record as this process knows it. Whoever took it owns it
// until the release.
type entry[R any] struct {
	mu      sync.Mutex
	known   bool // version and record are those that were stored last
	version int64
	record  *R
}

func newCache[R any](limit int) *cache[R] {
	c := &cache[R]{seed: maphash.MakeSeed(), limit: max(limit/shards, 1)}
	for i := range c.shards {
		c.shards[i].entries = make(map[string]*entry[R])
	}
	return c
}

// take waits for a run's entry.
func (c *cache[R]) take(run string) *entry[R] {
	e := c.shards[maphash.String(c.seed, run)%shards].entry(run, c.limit)
	e.mu.Lock()
	return e
}

func (s *shard[R]) entry(run string, limit int) *entry[R] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[run]; ok {
		return e
	}
	for other := range s.entries {
		if len(s.entries) < limit {
			break
		}
		// One that is in use goes all the same: its owner keeps it, and who comes
		// next meets a conflict at worst.
		delete(s.entries, other)
	}
	e := &entry[R]{}
	s.entries[run] = e
	return e
}

func (e *entry[R]) release() { e.mu.Unlock() }

func (e *entry[R]) forget() { e.known, e.version, e.record = false, 0, nil }

func (e *entry[R]) set(version int64, record *R) {
	e.known, e.version, e.record = true, version, record
}

func (e *entry[R]) fill(stored oona.Record, decode func([]byte) (*R, error)) error {
	if stored.Version == 0 || len(stored.Value) == 0 {
		e.set(stored.Version, nil)
		return nil
	}
	record, err := decode(stored.Value)
	if err != nil {
		return fmt.Errorf("decode run record: %w", err)
	}
	e.set(stored.Version, record)
	return nil
}
