package runrecord

import (
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/esper-lite/weatherlight/oona"
)

const (
	// shards bounds how many runs one lock stands for.
	shards = 64
	// shardBytes bounds the records of a shard, as they are stored. The last one used stays,
	// however large.
	shardBytes = 128 << 10
)

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
	bytes   int // of their records
}

// entry is one run's record as this process knows it. Whoever took it owns it
// until the release.
type entry[R any] struct {
	counted int // bytes of the record, as the shard counts them

	mu      sync.Mutex
	bytes   int  // of the record, as it is stored
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

// take waits for a run's entry, which goes back with release.
func (c *cache[R]) take(run string) *entry[R] {
	e := c.shard(run).entry(run, c.limit)
	e.mu.Lock()
	return e
}

func (c *cache[R]) release(run string, e *entry[R]) {
	c.shard(run).count(run, e)
	e.mu.Unlock()
}

func (c *cache[R]) shard(run string) *shard[R] {
	return &c.shards[maphash.String(c.seed, run)%shards]
}

func (s *shard[R]) entry(run string, limit int) *entry[R] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[run]; ok {
		return e
	}
	s.shrink(limit-1, shardBytes, run)
	e := &entry[R]{}
	s.entries[run] = e
	return e
}

// count notes how large a run's record has become, and makes room for it.
func (s *shard[R]) count(run string, e *entry[R]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[run] != e {
		return // it was dropped meanwhile
	}
	s.bytes += e.bytes - e.counted
	e.counted = e.bytes
	s.shrink(len(s.entries), shardBytes, run)
}

// shrink drops entries, but for that of one run, until there are at most so many with at
// most so many bytes. One that is in use goes all the same: its owner keeps it, and who
// comes next meets a conflict at worst.
func (s *shard[R]) shrink(most, bytes int, but string) {
	for run, e := range s.entries {
		if len(s.entries) <= most && s.bytes <= bytes {
			return
		}
		if run != but {
			s.bytes -= e.counted
			delete(s.entries, run)
		}
	}
}

func (e *entry[R]) forget() { e.known, e.version, e.record, e.bytes = false, 0, nil, 0 }

func (e *entry[R]) set(version int64, record *R, bytes int) {
	e.known, e.version, e.record, e.bytes = true, version, record, bytes
}

func (e *entry[R]) fill(stored oona.Record, decode func([]byte) (*R, error)) error {
	if stored.Version == 0 || len(stored.Value) == 0 {
		e.set(stored.Version, nil, 0)
		return nil
	}
	record, err := decode(stored.Value)
	if err != nil {
		return fmt.Errorf("decode run record: %w", err)
	}
	e.set(stored.Version, record, len(stored.Value))
	return nil
}
