package urza

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// scrubRate is how many bytes a second a scrub reads that was given no rate.
const scrubRate = 8 << 20

// Scrubbed is what one pass found.
type Scrubbed struct {
	Checked   int // artifacts read to their end
	Corrupt   int // set aside, now or before
	Missing   int
	Untrusted int // sound, but not signed by a trusted key
	Failed    int // could not be examined now
	Pruned    int // unreferenced artifacts removed
}

// Scrub reads every artifact once, whatever is remembered about it, so that damage is
// found before somebody asks for the kernel, and prunes. It reads no more bytes a second
// than it is told, 8 MiB when that is 0. It fails when the catalogue cannot be read.
func (l *Library) Scrub(ctx context.Context, bytesPerSecond int64) (Scrubbed, error) {
	// A chunk must fit the bucket; a slow pace pays for it after the chunk.
	pace := rate.NewLimiter(rate.Limit(cmp.Or(max(bytesPerSecond, 0), scrubRate)), chunk)
	keys, err := l.keys(ctx)
	if err != nil {
		return Scrubbed{}, fmt.Errorf("urza: scrub: %w", err)
	}
	var result Scrubbed
	for _, k := range keys {
		_, err := l.examineUntilStable(ctx, k, pace)
		if ctx.Err() != nil {
			return result, fmt.Errorf("urza: scrub: %w", ctx.Err())
		}
		result.count(err)
		l.counts.scrub.checked.Add(1)
	}
	l.counts.scrub.finish(result)
	result.Pruned, err = l.Prune(ctx)
	return result, err
}

func (r *Scrubbed) count(err error) {
	switch {
	case err == nil:
		r.Checked++
	case errors.Is(err, ErrChecksumMismatch):
		r.Corrupt++
	case errors.Is(err, ErrArtifactMissing):
		r.Missing++
	case errors.Is(err, ErrUntrusted):
		r.Untrusted++
	case errors.Is(err, ErrNotFound): // deleted meanwhile
	default:
		r.Failed++
	}
}

// keys are the kernels whose rows can be read: those of blueprints, then variants,
// each in order.
func (l *Library) keys(ctx context.Context) (keys []key, err error) {
	err = l.scanAll(ctx, func(r row, _ *Record) { keys = append(keys, r.key()) }, l.reportRow)
	return keys, err
}

// scrubCounters are totals, and what the last whole pass found.
type scrubCounters struct {
	passes, checked                     atomic.Int64
	corrupt, missing, untrusted, failed atomic.Int64
}

func (c *scrubCounters) finish(result Scrubbed) {
	c.passes.Add(1)
	c.corrupt.Store(int64(result.Corrupt))
	c.missing.Store(int64(result.Missing))
	c.untrusted.Store(int64(result.Untrusted))
	c.failed.Store(int64(result.Failed))
}

func (c *scrubCounters) report(metrics map[string]float64) {
	metrics["scrub_passes"] = float64(c.passes.Load())
	metrics["scrub_checked"] = float64(c.checked.Load())
	metrics["scrub_corrupt"] = float64(c.corrupt.Load())
	metrics["scrub_missing"] = float64(c.missing.Load())
	metrics["scrub_untrusted"] = float64(c.untrusted.Load())
	metrics["scrub_failed"] = float64(c.failed.Load())
}
