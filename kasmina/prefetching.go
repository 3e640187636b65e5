package kasmina

import (
	"context"
	"errors"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
)

// requestKernel publishes a registered request in a task of its own, so that a
// slow bus holds nobody up.
func (m *Manager) requestKernel(s *seed, request *leyline.KernelPrefetchRequest) {
	s.events.add("prefetch_requested", levelInfo,
		"seed_id", s.id, "blueprint_id", s.blueprintID, "request_id", request.GetRequestId())
	work, publisher, timeout := m.work, m.config.Requests, m.config.PrefetchTimeout
	m.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(work, timeout)
		defer cancel()
		if err := publisher.PublishKernelPrefetchRequest(ctx, request); err != nil {
			m.post(work, unpublished{request.GetRequestId(), err}, func(error) {})
		}
	})
}

// unpublished tells that a request did not reach the bus.
type unpublished struct {
	requestID string
	err       error
}

func (r unpublished) handle(m *Manager, done func(error)) {
	m.config.Logger.Warn("kernel request not published", "part", "kasmina", "request", r.requestID, "error", r.err)
	m.prefetch.withdraw(r.requestID, time.Now())
	done(nil)
}

type readyRequest struct{ ready *leyline.KernelArtifactReady }

func (r readyRequest) handle(m *Manager, done func(error)) {
	s, request := m.waiter(r.ready.GetRequestId())
	if s == nil || s.wait.loading {
		m.unchanged = s == nil
		done(nil)
		return
	}
	m.prefetch.answered(request, prefetchReady, time.Now())
	if r.ready.GetBlueprintId() != s.blueprintID {
		m.failPrefetch(s, "blueprint_mismatch")
		done(nil)
		return
	}
	s.wait.loading = true
	result := artifactRead{seed: s, wait: s.wait, ready: r.ready, issued: request.issued, answer: done}
	work, open := m.work, m.config.Open
	m.tasks.Go(func() {
		result.kernel, result.err = loadArtifact(work, open, r.ready)
		m.post(work, result, done)
	})
}

// waiter finds the seed that still waits for an answer.
func (m *Manager) waiter(requestID string) (*seed, issuedRequest) {
	request, ok := m.prefetch.lookup(requestID)
	if !ok {
		return nil, issuedRequest{}
	}
	s := m.find(request.prefetch.seedID)
	if s == nil || s.wait != request.prefetch {
		return nil, issuedRequest{}
	}
	return s, request
}

// artifactRead is the end of reading an announced artifact.
type artifactRead struct {
	seed   *seed
	wait   *prefetch
	ready  *leyline.KernelArtifactReady
	issued time.Time
	kernel *kernel.Kernel
	err    error
	answer func(error) // to the one who brought the announcement
}

func (r artifactRead) handle(m *Manager, done func(error)) {
	done(nil)
	if r.seed.wait != r.wait { // culled or cancelled meanwhile
		r.answer(nil)
		return
	}
	r.wait.loading = false
	if m.work.Err() != nil {
		r.answer(ErrStopped)
		return
	}
	r.settle(m)
	r.answer(nil)
}

func (r artifactRead) settle(m *Manager) {
	s := r.seed
	if r.err != nil {
		m.breaker.fail(time.Now())
		m.config.Logger.Warn("kernel not taken", "part", "kasmina", "seed", s.id,
			"blueprint", s.blueprintID, "error", r.err)
		s.events.add("prefetch_attach_failed", levelWarning, "seed_id", s.id, "reason", r.err.Error())
		m.failPrefetch(s, reasonOf(r.err))
		return
	}
	m.breaker.succeed()
	s.latency = time.Since(r.issued)
	s.events.add("prefetch_ready", levelInfo,
		"seed_id", s.id, "blueprint_id", s.blueprintID, "request_id", r.ready.GetRequestId(),
		"latency_ms", decimalMS(s.latency), "training_run_id", s.runID,
		"artifact_ref", r.ready.GetArtifactRef(), "checksum", r.ready.GetChecksum())
	m.endPrefetch(s)
	m.attach(s, r.kernel)
}

func reasonOf(err error) string {
	if artifact, ok := errors.AsType[*artifactError](err); ok {
		return artifact.reason
	}
	return "artifact_unreadable"
}

// attach puts a seed with its own instance of the kernel beside the host and
// lets it train.
func (m *Manager) attach(s *seed, k *kernel.Kernel) {
	if m.host != nil {
		s.misfit = slot(m.host.Slot()).misfit(k)
	}
	result := evaluateGate(gateInterface, m.subject(s))
	if result.Passed {
		if err := m.host.Attach(s.id, k.Instantiate(), s.blend); err != nil {
			result = failed(gateInterface, "interface checks incomplete", "error", err.Error())
		}
		s.attached = result.Passed
	}
	if !m.settleGate(s, result) || !m.passGate(s, gateGradient) {
		return
	}
	if s.paused {
		m.host.SetPaused(s.id, true)
	}
	m.move(s, stageTraining)
}

type refusalRequest struct{ refusal *leyline.KernelArtifactError }

// handle takes an error answer: the library works, so the breaker is content.
func (r refusalRequest) handle(m *Manager, done func(error)) {
	defer done(nil)
	s, request := m.waiter(r.refusal.GetRequestId())
	if s == nil || s.wait.loading {
		return
	}
	m.breaker.succeed()
	m.prefetch.answered(request, prefetchError, time.Now())
	reason := r.refusal.GetReason()
	if reason == "" {
		reason = "unspecified"
	}
	s.events.add("prefetch_error", levelWarning, "seed_id", s.id, "blueprint_id", s.blueprintID, "reason", reason,
		"request_id", r.refusal.GetRequestId(), "latency_ms", decimalMS(time.Since(request.issued)))
	m.failPrefetch(s, reason)
}

// failPrefetch ends a wait without a kernel: the seed does not stay behind.
func (m *Manager) failPrefetch(s *seed, reason string) {
	m.endPrefetch(s)
	m.settleGate(s, failed(gateGradient, reason, "error", "kernel not attached"))
}

func (m *Manager) endPrefetch(s *seed) {
	m.prefetch.end(s.wait)
	s.wait = nil
}

// cancelPrefetch ends the wait of a seed that leaves.
func (m *Manager) cancelPrefetch(s *seed, reason string) {
	if s.wait == nil {
		return
	}
	m.prefetch.counts[prefetchCanceled]++
	m.breaker.abandon()
	if reason == reasonRetired {
		reason = "seed_retired"
	}
	s.events.add("prefetch_canceled", levelWarning,
		"seed_id", s.id, "blueprint_id", s.blueprintID, "request_id", lastOf(s.wait.ids), "reason", reason)
	m.endPrefetch(s)
}

// sweepPrefetches publishes again what did not reach the bus, asks once more
// when no answer came, and gives up after that.
func (m *Manager) sweepPrefetches(now time.Time) {
	for _, p := range m.prefetch.expired(now) {
		m.timeOut(m.find(p.seedID), now)
	}
	for _, p := range m.prefetch.unsent(now) {
		m.requestKernel(m.find(p.seedID), m.prefetch.issue(p, now))
	}
}

func (m *Manager) timeOut(s *seed, now time.Time) {
	final := s.wait.attempts >= prefetchAttempts
	level := levelWarning
	if final {
		level = levelCritical
	}
	m.prefetch.counts[prefetchTimeout]++
	s.events.add(reasonPrefetchTimeout, level, "seed_id", s.id, "blueprint_id", s.blueprintID,
		"request_id", lastOf(s.wait.ids), "training_run_id", s.runID, "attempt", number(s.wait.attempts))
	if !final {
		m.requestKernel(s, m.prefetch.attempt(s.wait, now))
		return
	}
	m.breaker.fail(now)
	m.failPrefetch(s, reasonPrefetchTimeout)
}

func lastOf(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return ids[len(ids)-1]
}
