package urza

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/esper-lite/weatherlight/urza/internal/artifact"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
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
	pace := rate.NewLimiter(rate.Limit(cmp.Or(max(bytesPerSecond, 0), scrubRate)), artifact.Chunk)
	var keys []catalogue.Key // of blueprints, then of variants, each in order
	good := func(r catalogue.Row, _ *Record) { keys = append(keys, r.Key()) }
	_, err := l.lookup.scan(ctx, good, l.catalogue.Each, l.catalogue.EachVariant)
	if err != nil {
		return Scrubbed{}, fmt.Errorf("urza: scrub: %w", err)
	}
	var result Scrubbed
	for _, k := range keys {
		_, err := l.verifier.examineUntilStable(ctx, k, pace)
		if ctx.Err() != nil {
			return result, fmt.Errorf("urza: scrub: %w", ctx.Err())
		}
		result.count(err)
		l.counts.scrub.checked.Add(1)
	}
	found := result
	l.counts.scrub.last.Store(&found)
	l.counts.scrub.passes.Add(1)
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

// Prune removes the artifacts that no row has referred to for the library's
// retention, with their signatures, and returns how many. Without a retention it
// removes only those of variants that made room, were replaced or found no room more
// than a day ago: they can be forged again. Since when nothing refers to any other
// artifact is what the calls before saw, so the first call removes none of these. Only
// content-addressed artifacts of the store itself are looked at; the quarantine is not.
func (l *Library) Prune(ctx context.Context) (int, error) {
	pruned, err := l.pruner.Prune(ctx, time.Now().UTC())
	l.counts.pruned.Add(int64(pruned))
	if err != nil {
		return pruned, fmt.Errorf("urza: prune: %w", err)
	}
	return pruned, nil
}

// scrubCounters are totals, and what the last whole pass found.
type scrubCounters struct {
	passes, checked atomic.Int64
	last            atomic.Pointer[Scrubbed]
}
