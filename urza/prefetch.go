package urza

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

// Reasons of a KernelArtifactError, as the prototype's seeds know them.
const (
	reasonMissing  = "missing_artifact"   // no such kernel in the catalogue, or none for use
	reasonNotFound = "artifact_not_found" // catalogued, but its file is gone
	reasonMismatch = "checksum_mismatch"  // its file is damaged
)

// Prefetcher answers kernel requests. It is safe for concurrent use: the bus
// consumer calls it from as many handlers as it likes.
type Prefetcher struct {
	library              *Library
	hits, misses, errors atomic.Int64
	latency              reservoir
}

// NewPrefetcher answers from the library.
func NewPrefetcher(library *Library) *Prefetcher { return &Prefetcher{library: library} }

// Answer returns the reply to one request: a *leyline.KernelArtifactReady whose
// checksum the file has now, or a *leyline.KernelArtifactError. It returns an error
// only when nothing can be said now and the request is to be tried again.
func (p *Prefetcher) Answer(ctx context.Context, request *leyline.KernelPrefetchRequest) (proto.Message, error) {
	started := time.Now()
	defer func() { p.latency.add(time.Since(started)) }()
	e, sum, err := p.library.verified(ctx, request.GetBlueprintId())
	if err != nil {
		return p.refusal(request, err)
	}
	p.hits.Add(1)
	return &leyline.KernelArtifactReady{
		RequestId:    request.GetRequestId(),
		BlueprintId:  request.GetBlueprintId(),
		ArtifactRef:  e.record.ArtifactRef,
		Checksum:     sum,
		GuardDigest:  e.answer.guardDigest,
		PrewarmP50Ms: e.answer.p50,
		PrewarmP95Ms: e.answer.p95,
	}, nil
}

func (p *Prefetcher) refusal(request *leyline.KernelPrefetchRequest, err error) (proto.Message, error) {
	count, reason := &p.errors, ""
	switch {
	case errors.Is(err, ErrNotFound) || errors.Is(err, ErrWithheld):
		count, reason = &p.misses, reasonMissing
	case errors.Is(err, ErrArtifactMissing):
		reason = reasonNotFound
	case errors.Is(err, ErrChecksumMismatch):
		reason = reasonMismatch
	}
	count.Add(1)
	if reason == "" {
		return nil, fmt.Errorf("urza: answer request %q: %w", request.GetRequestId(), err)
	}
	return &leyline.KernelArtifactError{
		RequestId:   request.GetRequestId(),
		BlueprintId: request.GetBlueprintId(),
		Reason:      reason,
	}, nil
}

// Metrics is a snapshot under the prototype's names, which its summary packet
// prefixes with "urza.prefetch.": hits, misses, errors, latency_ms (the last
// request), and two of our own over the last 1024: latency_p50_ms, latency_p95_ms.
func (p *Prefetcher) Metrics() map[string]float64 {
	sorted := p.latency.sorted()
	return map[string]float64{
		"hits":       float64(p.hits.Load()),
		"misses":     float64(p.misses.Load()),
		"errors":     float64(p.errors.Load()),
		"latency_ms": milliseconds(p.latency.last()),

		"latency_p50_ms": percentile(sorted, 0.50),
		"latency_p95_ms": percentile(sorted, 0.95),
	}
}

// Latency is the median and the 99th percentile, in milliseconds, of the last
// 1024 requests; 0 before the first.
func (p *Prefetcher) Latency() (p50, p99 float64) {
	sorted := p.latency.sorted()
	return percentile(sorted, 0.50), percentile(sorted, 0.99)
}
