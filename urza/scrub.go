package urza

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// ScrubConfig says how fast and how often a Scrubber reads. The zero value of every
// field means its default.
type ScrubConfig struct {
	// BytesPerSecond bounds what is read from the artifact store. Default 8 MiB.
	BytesPerSecond int64
	// Interval is the pause between two passes. Default 24 h.
	Interval time.Duration
	// Logger; nil discards.
	Logger *slog.Logger
}

func (c ScrubConfig) withDefaults() ScrubConfig {
	c.BytesPerSecond = cmp.Or(c.BytesPerSecond, 8<<20)
	c.Interval = cmp.Or(c.Interval, 24*time.Hour)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// Scrubber reads every artifact of a library again and again, slowly, so that
// damage is found before somebody asks for the kernel.
type Scrubber struct {
	library *Library
	cfg     ScrubConfig
	pace    *rate.Limiter
}

// NewScrubber scrubs the library once Run is called.
func NewScrubber(library *Library, cfg ScrubConfig) *Scrubber {
	cfg = cfg.withDefaults()
	// A chunk must fit the bucket; a slow pace pays for it after the chunk.
	return &Scrubber{library: library, cfg: cfg, pace: rate.NewLimiter(rate.Limit(cfg.BytesPerSecond), chunk)}
}

// Run makes a pass, pauses and starts over until ctx is done, and then returns nil.
// It returns an error when the catalogue cannot be read.
func (s *Scrubber) Run(ctx context.Context) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		result, err := s.Pass(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		s.cfg.Logger.Info("scrub finished", "checked", result.Checked, "corrupt", result.Corrupt,
			"missing", result.Missing, "untrusted", result.Untrusted, "failed", result.Failed, "pruned", result.Pruned)
		pause.Reset(s.cfg.Interval)
	}
}

// Scrubbed is what one pass found.
type Scrubbed struct {
	Checked   int // artifacts read to their end
	Corrupt   int // set aside, now or before
	Missing   int
	Untrusted int // sound, but not signed by a trusted key
	Failed    int // could not be examined now
	Pruned    int // unreferenced artifacts removed
}

// Pass examines every artifact once, whatever is remembered about it, and prunes.
func (s *Scrubber) Pass(ctx context.Context) (Scrubbed, error) {
	keys, err := s.library.keys(ctx)
	if err != nil {
		return Scrubbed{}, fmt.Errorf("urza: scrub: %w", err)
	}
	var result Scrubbed
	for _, k := range keys {
		_, err := s.library.examineUntilStable(ctx, k, s.pace)
		if ctx.Err() != nil {
			return result, fmt.Errorf("urza: scrub: %w", ctx.Err())
		}
		result.count(err)
		s.library.counts.scrub.checked.Add(1)
	}
	s.library.counts.scrub.finish(result)
	result.Pruned, err = s.library.Prune(ctx)
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
