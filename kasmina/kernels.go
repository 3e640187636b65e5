package kasmina

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/kasmina/internal/gate"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	prefetchAttempts   = 2 // the request and one more with a new id
	maxPrefetchTimeout = time.Minute
	latencyMargin      = 4 // timeout in units of the smoothed latency
	maxRefBytes        = 4096
)

// Ends of a prefetch request, as the requests_total metric names them.
const (
	prefetchScheduled = "scheduled"
	prefetchReady     = "ready"
	prefetchError     = "error"
	prefetchTimeout   = "timeout"
	prefetchCanceled  = "canceled"
)

// requestKernel asks the library for a seed's kernel. Each attempt has an id and
// a deadline of its own; an answer to any of them is an answer as long as the
// seed waits.
func (st *step) requestKernel(s *seed) {
	if s.Wait == nil {
		s.Wait = &wait{Nonce: st.nextNumber()}
	}
	s.Wait.Issued = appended(s.Wait.Issued, st.now, prefetchAttempts)
	s.Wait.Deadline = st.now.plus(st.prefetchTimeout())
	id := st.requestID(s)
	variant := trainer.Variant{Slot: s.Shape, Parameters: exact(s.Parameters)}
	st.d.Requests = append(st.d.Requests, KernelRequest{
		Request: &leyline.KernelPrefetchRequest{
			RequestId: id, BlueprintId: s.Blueprint, TrainingRunId: st.r.Run, IssuedAt: timestamppb.New(st.at),
		},
		Attributes: variant.Attributes(),
	})
	st.countPrefetch(prefetchScheduled, nil)
	st.seedEvent(s, "prefetch_requested", levelInfo, "blueprint_id", s.Blueprint, "request_id", id)
}

// exact are parameters as the decimal numbers that they were written as.
func exact(parameters map[string]float32) map[string]float64 {
	if len(parameters) == 0 {
		return nil
	}
	numbers := make(map[string]float64, len(parameters))
	for name, value := range parameters {
		numbers[name], _ = strconv.ParseFloat(strconv.FormatFloat(float64(value), 'g', -1, 32), 64)
	}
	return numbers
}

// requestID names the last request of a seed that waits.
func (st *step) requestID(s *seed) string {
	return requestName{run: st.r.Run, seed: s.ID, nonce: s.Wait.Nonce, attempt: len(s.Wait.Issued)}.String()
}

// prefetchTimeout is the configured one, or more when answers are known to take long.
func (st *step) prefetchTimeout() time.Duration {
	base := st.config.PrefetchTimeout
	if st.r.Latency == nil {
		return base
	}
	measured := time.Duration(latencyMargin * *st.r.Latency * float64(time.Millisecond))
	return min(max(base, measured), max(base, maxPrefetchTimeout))
}

func (st *step) countPrefetch(status string, latencyMS *float64) {
	st.d.Stats.Prefetches = append(st.d.Stats.Prefetches, PrefetchEnd{Status: status, LatencyMS: latencyMS})
}

// waiter finds the seed that waits for an answer, and how long it has waited.
func (st *step) waiter(requestID string) (s *seed, latencyMS float64) {
	name, ok := readRequestName(requestID)
	if ok {
		s = st.r.find(name.seed)
	}
	if s == nil || s.Wait == nil || s.Wait.Nonce != name.nonce || name.attempt > len(s.Wait.Issued) {
		st.d.Stats.Unknown = 1
		return nil, 0
	}
	latencyMS = milliseconds(st.now.since(s.Wait.Issued[name.attempt-1]))
	smoothed := latencyMS
	if known := st.r.Latency; known != nil {
		smoothed = *known + (latencyMS-*known)/8
	}
	st.r.Latency = &smoothed
	return s, latencyMS
}

// ready takes an announced kernel for the seed that waits for it. Everything
// that was announced is compared before the trainer hears of it.
func (st *step) ready(m Ready) {
	s, latencyMS := st.waiter(m.Ready.GetRequestId())
	if s == nil {
		return
	}
	st.countPrefetch(prefetchReady, &latencyMS)
	if warm := float64(m.Ready.GetPrewarmP50Ms()); warm > 0 && warm < math.MaxFloat32 {
		st.warmMS = &warm
	}
	if reason := unfit(s, m); reason != "" {
		st.r.Breaker.fail(st.now)
		st.seedEvent(s, "prefetch_attach_failed", levelWarning, "reason", reason)
		st.failPrefetch(s, reason)
		return
	}
	s.Kernel = kernelState{
		Ref: m.Ready.GetArtifactRef(), Checksum: strings.ToLower(m.Ready.GetChecksum()),
		Guard: strings.ToLower(m.Ready.GetGuardDigest()), LatencyMS: &latencyMS,
	}
	st.seedEvent(s, "prefetch_ready", levelInfo,
		"blueprint_id", s.Blueprint, "request_id", bounded(m.Ready.GetRequestId()), "latency_ms", hundredths(latencyMS),
		"training_run_id", st.r.Run, "artifact_ref", bounded(s.Kernel.Ref), "checksum", s.Kernel.Checksum)
	s.Wait = nil
	if s.Kernel.Ref == "" && st.config.ArtifactURL == "" {
		st.failPrefetch(s, reasonUnreadable)
		return
	}
	if st.passGate(s, gate.Interface) {
		st.askStage(s, lifecycle.Training, pending{Reason: "germinated"})
		s.AttachOrder = s.Order
	}
}

// unfit says why an announced kernel is not the one that was asked for; empty is
// a fit. A library that does not know the inputs of a kernel, because it was
// imported or is the prototype's, gives a guard digest of the blueprint alone: the
// trainer then finds out whether the kernel fits.
func unfit(s *seed, m Ready) string {
	format, told := m.Attributes[trainer.AttributeFormat]
	digest := m.Ready.GetGuardDigest()
	switch {
	case m.Ready.GetBlueprintId() != s.Blueprint:
		return reasonBlueprint
	case !isSHA256(m.Ready.GetChecksum()):
		return reasonChecksum
	case told && format != trainer.FormatONNX:
		return reasonFormat
	case len(m.Ready.GetArtifactRef()) > maxRefBytes:
		return reasonUnreadable
	case strings.EqualFold(digest, guardDigest(s.Shape)):
		return ""
	case isFallbackGuard(digest, s.Blueprint):
		return ""
	default:
		return reasonGuard
	}
}

func isSHA256(text string) bool {
	digest, err := hex.DecodeString(text)
	return err == nil && len(digest) == 32
}

// misfit says why a seed's kernel does not fit the slot that it is meant for;
// empty is a fit.
func (st *step) misfit(s *seed) string {
	shape, ok := st.r.Trainer.Slots[s.Slot]
	switch {
	case s.attached() && s.Shape == nil: // taken in with a record that was rebuilt
		return ""
	case !ok:
		return fmt.Sprintf("no slot %q", s.Slot)
	case !slices.Equal(shape, s.Shape):
		return fmt.Sprintf("slot %q is %v, the kernel was asked for %v", s.Slot, shape, s.Shape)
	default:
		return ""
	}
}

// refusal takes the library's word that there is no kernel: the library works,
// so the breaker is content.
func (st *step) refusal(refusal *leyline.KernelArtifactError) {
	s, latencyMS := st.waiter(refusal.GetRequestId())
	if s == nil {
		return
	}
	st.r.Breaker.succeed()
	st.countPrefetch(prefetchError, &latencyMS)
	reason := bounded(refusal.GetReason())
	if reason == "" {
		reason = "unspecified"
	}
	st.seedEvent(s, "prefetch_error", levelWarning, "blueprint_id", s.Blueprint, "reason", reason,
		"request_id", bounded(refusal.GetRequestId()), "latency_ms", hundredths(latencyMS))
	st.failPrefetch(s, reason)
}

// failPrefetch ends a wait without a kernel: the seed does not stay behind.
func (st *step) failPrefetch(s *seed, reason string) {
	s.Wait = nil
	st.settleGate(s, gate.Failed(gate.Gradient, reason, "error", "kernel not attached"))
}

// cancelWait ends the wait of a seed that leaves.
func (st *step) cancelWait(s *seed, reason string) {
	if s.Wait == nil {
		return
	}
	st.countPrefetch(prefetchCanceled, nil)
	st.r.Breaker.abandon()
	if reason == reasonRetired {
		reason = "seed_retired"
	}
	st.seedEvent(s, "prefetch_canceled", levelWarning,
		"blueprint_id", s.Blueprint, "request_id", st.requestID(s), "reason", reason)
	s.Wait = nil
}

// timeOut asks once more when no answer came, and gives up after that.
func (st *step) timeOut(s *seed) {
	final := len(s.Wait.Issued) >= prefetchAttempts
	level := levelWarning
	if final {
		level = levelCritical
	}
	st.countPrefetch(prefetchTimeout, nil)
	waited := milliseconds(st.now.since(s.Wait.Issued[0]))
	st.seedEvent(s, reasonPrefetchTimeout, level, "blueprint_id", s.Blueprint, "request_id", st.requestID(s),
		"training_run_id", st.r.Run, "attempt", number(len(s.Wait.Issued)), "latency_ms", hundredths(waited))
	if !final {
		st.requestKernel(s)
		return
	}
	st.r.Breaker.fail(st.now)
	st.failPrefetch(s, reasonPrefetchTimeout)
}

// attachConfirmed notes that a trainer has loaded a kernel and tried it.
func (st *step) attachConfirmed(s *seed) {
	st.r.Breaker.succeed()
	s.Kernel.Ref, s.Kernel.Guard = "", ""
	st.noteGate(s, gate.Evaluate(gate.Gradient, st.subject(s)))
	if s.Paused&pausedByEmergency == 0 && st.r.Emergency.Level >= pausingLevel {
		s.Paused |= pausedByEmergency
	}
}

// attachFailed ends a seed whose kernel the trainer could not attach. The
// blueprint is written off only where the kernel itself is at fault.
func (st *step) attachFailed(s *seed, failure trainer.AttachFailure) {
	reason := failure.Reason()
	if failure.OfKernel() {
		rest := without(st.r.WrittenOff, func(id string) bool { return id == s.Blueprint })
		st.r.WrittenOff = appended(rest, s.Blueprint, maxWrittenOff)
	}
	if failure.OfKernel() || failure == trainer.AttachMismatch {
		st.r.Breaker.fail(st.now)
	}
	st.seedEvent(s, "prefetch_attach_failed", levelWarning, "reason", reason, "blueprint_id", s.Blueprint)
	result := gate.Failed(gate.Gradient, reason, "error", "kernel not attached")
	switch failure {
	case trainer.AttachMisfit, trainer.AttachBlend, trainer.AttachNoRoom:
		result = gate.Failed(gate.Interface, reason, "error", "interface checks incomplete")
	}
	st.settleGate(s, result)
}

// WrittenOff are the blueprints whose kernels were at fault in a run: they did
// not load, did not fit or did not run.
func WrittenOff(r *Record) []string {
	if r == nil {
		return nil
	}
	return slices.Clone(r.WrittenOff)
}

// guardBatch is the batch that a kernel is compiled for.
const guardBatch = 8

// guardDigest is the digest of a kernel's inputs for one slot: the SHA-256 of
// the list of its input tensors in the JSON that Python writes.
func guardDigest(slotShape []int) string {
	shape := append([]int{guardBatch}, slotShape...)
	strides := make([]int, len(shape))
	for i, stride := len(shape)-1, 1; i >= 0; i-- {
		strides[i] = stride
		stride *= shape[i]
	}
	text := `[{"dtype": "float32", "index": 0, "requires_grad": false, "shape": ` + spaced(shape) +
		`, "stride": ` + spaced(strides) + `}]`
	return digestOf(text)
}

func spaced(numbers []int) string { return strings.ReplaceAll(fmt.Sprint(numbers), " ", ", ") }

// highestTier is the largest number of a BlueprintTier.
const highestTier = 3

// isFallbackGuard says whether a digest is the one that a library gives which
// does not know a kernel's inputs: of the blueprint's id and tier.
func isFallbackGuard(digest, blueprintID string) bool {
	for tier := range highestTier + 1 {
		if strings.EqualFold(digest, digestOf(fmt.Sprintf("%s:%d", blueprintID, tier))) {
			return true
		}
	}
	return false
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
