package runrecord

import (
	"fmt"
	"testing"
)

// Two records for each of 2,000 runs whose reports have 60 kB would take 465 MiB.
func TestR37CacheHoldsSoManyBytesWhateverTheRuns(t *testing.T) {
	t.Parallel()
	c := newCache[int](4096)
	for i := range 5000 {
		run := fmt.Sprint("run-", i%3000)
		e := c.take(run)
		e.set(1, new(int), (i%8)*40_000)
		if i%100 == 0 {
			e.forget()
		}
		c.release(run, e)
	}
	for i := range c.shards {
		s := &c.shards[i]
		bytes := 0
		for _, e := range s.entries {
			bytes += e.bytes
		}
		if bytes != s.bytes || bytes > shardBytes+7*40_000 {
			t.Errorf("shard %d holds %d bytes and counts %d", i, bytes, s.bytes)
		}
	}
}
