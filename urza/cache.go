package urza

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
)

// entry is one record in memory with what its hot path needs worked out already.
// The first four never change; a changed row makes a new entry.
type entry struct {
	row      catalogue.Row
	record   *Record
	answer   answer
	withheld error // why the kernel is not for use, or nil

	generation atomic.Uint64 // of the catalogue, when the row was last seen equal
	loaded     atomic.Int64  // by the library's clock, likewise
	used       atomic.Bool   // since the cache's hand last passed
	verdict    atomic.Pointer[verdict]
	checked    atomic.Int64 // by the library's clock, when the artifact was last identified
	touched    atomic.Int64 // by the library's clock, when the use of a variant was last written; 0 is never

	slot int // in the cache's ring; guarded by the cache
}

// answer holds the parts of a KernelArtifactReady that depend on the row alone.
type answer struct {
	guardDigest string
	p50, p95    float32
	format      string            // of the artifact
	attributes  map[string]string // of the answer's envelope; never changed
}

func newEntry(r catalogue.Row, record *Record) *entry {
	sorted := slices.Sorted(slices.Values(record.PrewarmSamples))
	return &entry{row: r, record: record, answer: answer{
		guardDigest: record.announcedDigest(),
		p50:         float32(percentile(sorted, 0.50)),
		p95:         float32(percentile(sorted, 0.95)),
		format:      formatOf(record.ArtifactRef),
		attributes:  map[string]string{trainer.AttributeFormat: formatOf(record.ArtifactRef)},
	}}
}

func (e *entry) expired(now int64, ttl time.Duration) bool {
	return ttl > 0 && now-e.loaded.Load() > int64(ttl)
}

// cache keeps the most useful records, by the clock algorithm: a hand walks the
// ring and takes the first entry that was not used since its last visit.
type cache struct {
	limit int

	mu      sync.RWMutex
	entries map[catalogue.Key]*entry
	ring    []*entry
	hand    int
}

func newCache(limit int) *cache {
	return &cache{limit: max(limit, 1), entries: map[catalogue.Key]*entry{}}
}

func (c *cache) get(k catalogue.Key) *entry {
	c.mu.RLock()
	e := c.entries[k]
	c.mu.RUnlock()
	if e != nil && !e.used.Load() { // a plain load keeps the hot line shared between cores
		e.used.Store(true)
	}
	return e
}

// put stores the entry and reports how many others it pushed out.
func (c *cache) put(e *entry) (evicted int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[e.row.Key()]; old != nil {
		c.remove(old)
	}
	for len(c.ring) >= c.limit {
		c.remove(c.victim())
		evicted++
	}
	e.slot = len(c.ring)
	c.ring = append(c.ring, e)
	c.entries[e.row.Key()] = e
	return evicted
}

func (c *cache) drop(k catalogue.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[k]; e != nil {
		c.remove(e)
	}
}

// expire drops what is older than the ttl and reports how many that were.
func (c *cache) expire(now int64, ttl time.Duration) (expired int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range slices.Backward(c.ring) { // backwards: remove fills the gap from the end
		if v.expired(now, ttl) {
			c.remove(v)
			expired++
		}
	}
	return expired
}

func (c *cache) size() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.ring)
}

func (c *cache) victim() *entry {
	for {
		c.hand = (c.hand + 1) % len(c.ring)
		if e := c.ring[c.hand]; !e.used.Swap(false) {
			return e
		}
	}
}

func (c *cache) remove(e *entry) {
	last := len(c.ring) - 1
	c.ring[e.slot] = c.ring[last]
	c.ring[e.slot].slot = e.slot
	c.ring[last] = nil
	c.ring = c.ring[:last]
	delete(c.entries, e.row.Key())
}

// negativeCache remembers which kernels the catalogue did not hold, as of one of its
// generations: a seed that keeps asking for what is not there costs no query.
type negativeCache struct {
	limit int

	mu         sync.RWMutex
	generation uint64
	keys       map[catalogue.Key]struct{}
}

func newNegativeCache(limit int) *negativeCache {
	return &negativeCache{limit: max(limit, 1), keys: map[catalogue.Key]struct{}{}}
}

func (n *negativeCache) has(k catalogue.Key, generation uint64) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	_, found := n.keys[k]
	return found && n.generation == generation
}

// add starts over when the catalogue changed, or when asking for ever new names
// would fill the memory.
func (n *negativeCache) add(k catalogue.Key, generation uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.generation != generation || len(n.keys) >= n.limit {
		clear(n.keys)
		n.generation = generation
	}
	n.keys[k] = struct{}{}
}

func (n *negativeCache) drop(k catalogue.Key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.keys, k)
}

// clock counts nanoseconds since it was made. It goes on evenly when somebody sets
// the time of day: by that, what is remembered could seem fresh for hours.
type clock struct{ begun time.Time }

func newClock() clock { return clock{time.Now()} }

func (c clock) now() int64 { return int64(time.Since(c.begun)) }
