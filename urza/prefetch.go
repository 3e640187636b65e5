package urza

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
)

// Reasons of a KernelArtifactError, as the prototype's seeds know them.
const (
	reasonMissing  = "missing_artifact"   // no such kernel in the catalogue, or none for use
	reasonNotFound = "artifact_not_found" // catalogued, but its file is gone or cannot be read
	reasonMismatch = "checksum_mismatch"  // its file is damaged
)

// Reasons of our own, of requests that name a slot, parameters or a format.
const (
	ReasonFormatUnavailable = "format_unavailable" // there is no artifact of the wanted format
	ReasonNotCompilable     = "not_compilable"     // no such network for that slot
	ReasonInvalidSlot       = "invalid_slot"       // no shape of an example
	ReasonInvalidParameters = "invalid_parameters" // not those of the blueprint, or out of bounds
	ReasonTooManyVariants   = "too_many_variants"  // all that are kept are in use
)

// AttributeDetail is the attribute of a refusal that says more than its reason.
const AttributeDetail = "detail"

// PrefetchConfig says what a Prefetcher does for requests that name a slot, parameters
// or a format. The zero value answers them from what is stored.
type PrefetchConfig struct {
	// Slot is the shape of one example that the blueprints' own kernels are made for. A
	// request that names it, and no parameters but theirs, gets the blueprint's own.
	Slot []int

	// Forge makes the kernel of a variant; its slot is never nil when Slot is set. A
	// request's fault is ErrNotFound, ErrWithheld, ErrNotCompilable or
	// ErrInvalidParameters; any other error brings the request back later. Nil forges
	// nothing.
	Forge func(ctx context.Context, blueprintID string, variant trainer.Variant) (Forged, error)

	// Current says whether a stored variant is what Forge would make now. Nil: always.
	Current func(stored *Record, variant trainer.Variant) bool

	// Format is the only one that is served, "onnx" or "pt"; with "pt" nothing is forged.
	// Empty serves what is there.
	Format string

	// Forgings bounds how many kernels are forged at a time. Default 2.
	Forgings int

	// ForgeTimeout bounds one forging. Default 1 minute.
	ForgeTimeout time.Duration
}

// Prefetcher answers kernel requests. It is safe for concurrent use: the bus
// consumer calls it from as many handlers as it likes.
type Prefetcher struct {
	library              *Library
	config               PrefetchConfig
	forging              singleflight.Group
	places               chan struct{} // one for each kernel that is being forged
	hits, misses, errors atomic.Int64
	forged, refusedForge atomic.Int64
	latency              reservoir
	late                 atomic.Int64
}

// NewPrefetcher answers from the library, and forges what the configuration says.
func NewPrefetcher(library *Library, config PrefetchConfig) *Prefetcher {
	config.Slot = slices.Clone(config.Slot)
	config.Forgings = cmp.Or(config.Forgings, 2)
	config.ForgeTimeout = cmp.Or(config.ForgeTimeout, time.Minute)
	return &Prefetcher{library: library, config: config, places: make(chan struct{}, config.Forgings)}
}

// Answer returns the reply to one request with the attributes of its envelope: a
// *leyline.KernelArtifactReady whose checksum the file has now, or a
// *leyline.KernelArtifactError. The attributes of the reply tell the format of the
// artifact and repeat the variant that was asked for; a refusal's may hold a detail.
// They must not be changed. Answer returns an error only when nothing can be said now
// and the request is to be tried again.
func (p *Prefetcher) Answer(
	ctx context.Context, request *leyline.KernelPrefetchRequest, attributes map[string]string,
) (proto.Message, map[string]string, error) {
	started := time.Now()
	defer func() { p.answered(time.Since(started)) }()
	variant, err := trainer.ReadVariant(attributes)
	if err != nil {
		return p.refusal(request, err)
	}
	found, err := p.find(ctx, request.GetBlueprintId(), variant, attributes[trainer.AttributeFormat])
	if err != nil {
		return p.refusal(request, err)
	}
	p.hits.Add(1)
	e := found.entry
	return &leyline.KernelArtifactReady{
		RequestId:    request.GetRequestId(),
		BlueprintId:  request.GetBlueprintId(),
		ArtifactRef:  e.record.ArtifactRef,
		Checksum:     found.sum,
		GuardDigest:  e.answer.guardDigest,
		PrewarmP50Ms: e.answer.p50,
		PrewarmP95Ms: e.answer.p95,
	}, e.answer.attributesFor(variant), nil
}

// late is from when on an answer took long.
const late = 50 * time.Millisecond

func (p *Prefetcher) answered(after time.Duration) {
	p.latency.add(after)
	if after > late {
		p.late.Add(1)
	}
}

// find is the kernel that a request wants.
func (p *Prefetcher) find(ctx context.Context, id string, variant trainer.Variant, asked string) (settled, error) {
	format, err := p.wanted(asked)
	if err != nil {
		return settled{}, err
	}
	own, err := p.isOwn(ctx, id, variant)
	if err != nil {
		return settled{}, err
	}
	if own {
		e, sum, err := p.library.verifier.verified(ctx, catalogue.Key{ID: id})
		switch {
		case err == nil && (format == "" || format == e.answer.format):
			return settled{e, sum}, nil
		case err == nil && !p.forges(format):
			return settled{}, fmt.Errorf("%w: the artifact is of format %q", errFormat, e.answer.format)
		case err != nil && (variant.Key() == "" || !forgeable(err) || !p.forges(format)):
			return settled{}, err
		}
	}
	return p.findVariant(ctx, id, variant, format)
}

// forges says whether kernels of a format are made on demand.
func (p *Prefetcher) forges(format string) bool {
	return p.config.Forge != nil && format != FormatPrototype
}

// isOwn says whether a variant is the blueprint's own kernel by another name. What
// the library does not hold at all is its own only when nothing else was asked for.
func (p *Prefetcher) isOwn(ctx context.Context, id string, variant trainer.Variant) (bool, error) {
	if variant.Key() == "" {
		return true, nil
	}
	if len(variant.Slot) > 0 && !slices.Equal(variant.Slot, p.config.Slot) {
		return false, nil
	}
	e, err := p.library.lookup.entry(ctx, catalogue.Key{ID: id})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return e.record.madeWith(variant.Parameters), nil
}

func (p *Prefetcher) refusal(
	request *leyline.KernelPrefetchRequest, err error,
) (proto.Message, map[string]string, error) {
	count, reason := &p.errors, refusalReason(err)
	if reason == reasonMissing {
		count = &p.misses
	}
	count.Add(1)
	if reason == "" {
		return nil, nil, fmt.Errorf("urza: answer request %q: %w", request.GetRequestId(), err)
	}
	return &leyline.KernelArtifactError{
		RequestId:   request.GetRequestId(),
		BlueprintId: request.GetBlueprintId(),
		Reason:      reason,
	}, map[string]string{AttributeDetail: detail(err)}, nil
}

// refusalReason is what a request is refused with, or "" when it is to be tried again.
func refusalReason(err error) string {
	if field, wrong := errors.AsType[*trainer.FieldError](err); wrong {
		if field.Name == trainer.AttributeSlot {
			return ReasonInvalidSlot
		}
		return ReasonInvalidParameters
	}
	switch {
	case errors.Is(err, ErrNotFound) || errors.Is(err, ErrWithheld):
		return reasonMissing
	case errors.Is(err, ErrArtifactMissing) || errors.Is(err, ErrUnreadable):
		return reasonNotFound
	case errors.Is(err, ErrChecksumMismatch):
		return reasonMismatch
	case errors.Is(err, errFormat):
		return ReasonFormatUnavailable
	case errors.Is(err, ErrNotCompilable):
		return ReasonNotCompilable
	case errors.Is(err, ErrInvalidParameters):
		return ReasonInvalidParameters
	case errors.Is(err, ErrTooManyVariants):
		return ReasonTooManyVariants
	default:
		return ""
	}
}

// PrefetchStats are what a Prefetcher has answered since it was made.
type PrefetchStats struct {
	Hits, Misses, Errors int64 // requests with a kernel, of a blueprint that there is not, and that failed otherwise
	Forged, Refused      int64 // kernels that were asked for and made; forgings that failed
	Answers, Late        int64 // all of them, and those that took more than 50 ms to find

	LastMS, P50MS, P95MS float64 // of answers: the last one, and of the last 1024
}

// Stats counts the requests.
func (p *Prefetcher) Stats() PrefetchStats {
	sorted := p.latency.sorted()
	return PrefetchStats{
		Hits: p.hits.Load(), Misses: p.misses.Load(), Errors: p.errors.Load(),
		Forged: p.forged.Load(), Refused: p.refusedForge.Load(),
		Answers: int64(p.latency.added.Load()), Late: p.late.Load(),
		LastMS: milliseconds(p.latency.last()), P50MS: percentile(sorted, 0.50), P95MS: percentile(sorted, 0.95),
	}
}

// Figures are the same as series.
func (s PrefetchStats) Figures() []telemetry.Figure {
	return []telemetry.Figure{
		telemetry.Count("urza.prefetch.hits", "Kernel requests answered with a kernel.", s.Hits),
		telemetry.Count("urza.prefetch.misses",
			"Kernel requests answered with missing_artifact: no such kernel, or none that may be used.", s.Misses),
		telemetry.Count("urza.prefetch.errors",
			"Kernel requests whose file was gone, damaged or unreadable, and tries that failed because the library was away.", s.Errors),
		telemetry.Count("urza.prefetch.forged",
			"Kernels made on demand, for a slot or for parameters that were not in the library.", s.Forged),
		telemetry.Count("urza.prefetch.forge_failures", "Attempts at that which failed or were refused.", s.Refused),
		telemetry.Count("urza.prefetch.answers", "Answers to kernel requests, refusals and failures too.", s.Answers),
		telemetry.Count("urza.prefetch.answers_late", "Those that took more than 50 ms to find.", s.Late),
		telemetry.Measure("urza.prefetch.latency_ms", "ms", "Time that the last answer took to find.", s.LastMS),
		telemetry.Measure("urza.prefetch.latency_p50_ms", "ms", "Median of the last 1024.", s.P50MS),
		telemetry.Measure("urza.prefetch.latency_p95_ms", "ms", "95th percentile of the last 1024.", s.P95MS),
	}
}
