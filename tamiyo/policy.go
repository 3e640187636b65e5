package tamiyo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/leyline"
)

// ErrNoPreviousPolicy is returned by Rollback when there is nothing to go back to.
var ErrNoPreviousPolicy = errors.New("no previous policy to roll back to")

// ErrNoActivePolicy is returned by Payload before the first activation.
var ErrNoActivePolicy = errors.New("no policy is active")

// PolicyConfig configures a [Policies].
type PolicyConfig struct {
	Dir        string        // holds active.json and payloads/; created when missing
	Freshness  time.Duration // oldest accepted issued_at; 0 accepts any age
	ClockSkew  time.Duration // how far in the future issued_at may lie; default 5 s
	MaxPayload int           // bytes; default 1 MiB
	MaxHistory int           // updates remembered by History; default 64
	Emit       func(*leyline.TelemetryPacket)
	Logger     *slog.Logger
}

func (c PolicyConfig) withDefaults() PolicyConfig {
	c.ClockSkew = cmp.Or(max(c.ClockSkew, 0), 5*time.Second)
	c.MaxPayload = cmp.Or(max(c.MaxPayload, 0), 1<<20)
	c.MaxHistory = cmp.Or(max(c.MaxHistory, 0), 64)
	if c.Emit == nil {
		c.Emit = func(*leyline.TelemetryPacket) {}
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// Policies receives policy updates, keeps their payloads by digest and knows
// which one is active. Payloads are opaque: they are stored and handed on,
// never interpreted. It is safe for concurrent use.
type Policies struct {
	config PolicyConfig

	mu      sync.Mutex
	journal policyJournal
	history []Policy
}

// NewPolicies opens the policy store in config.Dir and restores what was
// active. An unreadable journal is an error: going on without it would accept
// every old update again.
func NewPolicies(config PolicyConfig) (*Policies, error) {
	config = config.withDefaults()
	if err := os.MkdirAll(filepath.Join(config.Dir, payloadFolder), 0o700); err != nil {
		return nil, fmt.Errorf("create policy folder: %w", err)
	}
	if err := atomicfile.Sweep(filepath.Join(config.Dir, journalName)); err != nil {
		return nil, fmt.Errorf("tidy policy folder: %w", err)
	}
	journal, err := readPolicyJournal(filepath.Join(config.Dir, journalName))
	if err != nil {
		return nil, fmt.Errorf("read policy journal: %w", err)
	}
	return &Policies{config: config, journal: journal}, nil
}

// HandleUpdate checks update, stores its payload and makes it the active
// policy; an update without payload only announces its version. A refused
// update is a *RejectedError and changes nothing: acknowledge it. Any other
// error means that the disk failed and that trying again may help.
func (p *Policies) HandleUpdate(ctx context.Context, update *leyline.PolicyUpdate) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("handle policy update: %w", err)
	}
	policy, err := p.accept(update)
	if rejected, ok := errors.AsType[*RejectedError](err); ok {
		p.config.Emit(rejectedPacket(rejected))
		return err
	}
	if err != nil {
		return fmt.Errorf("activate policy %q: %w", update.GetPolicyId(), err)
	}
	p.config.Emit(acceptedPacket(policy))
	return nil
}

func (p *Policies) accept(update *leyline.PolicyUpdate) (Policy, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if reason := p.refusal(update, now); reason != "" {
		return Policy{}, &RejectedError{Reason: reason, PolicyID: update.GetPolicyId()}
	}
	policy := newPolicy(update, p.journal.next(now))
	if err := storePayload(p.config.Dir, policy, update.GetPayload()); err != nil {
		return Policy{}, err
	}
	next := p.journal.accept(policy)
	if err := p.commit(next); err != nil {
		return Policy{}, err
	}
	p.remember(policy)
	return policy, nil
}

// commit is the moment of activation: memory follows the disk, never leads it.
func (p *Policies) commit(next policyJournal) error {
	if err := next.write(filepath.Join(p.config.Dir, journalName)); err != nil {
		return fmt.Errorf("write policy journal: %w", err)
	}
	p.journal = next
	if err := removePayloadsBut(p.config.Dir, next.digests()); err != nil {
		p.config.Logger.Warn("old policy payloads stay on disk", "dir", p.config.Dir, "error", err)
	}
	return nil
}

func (p *Policies) remember(policy Policy) {
	p.history = append(p.history, policy)
	if surplus := len(p.history) - p.config.MaxHistory; surplus > 0 {
		p.history = slices.Delete(p.history, 0, surplus)
	}
}

// Rollback makes the policy active that was active before the current one. The
// policy left behind cannot come back by replaying its old update.
func (p *Policies) Rollback(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("roll back policy: %w", err)
	}
	policy, err := p.rollback()
	if err != nil {
		return fmt.Errorf("roll back policy: %w", err)
	}
	p.config.Emit(policyPacket("policy_rolled_back", policy))
	return nil
}

func (p *Policies) rollback() (Policy, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.journal.Previous == nil {
		return Policy{}, ErrNoPreviousPolicy
	}
	again := *p.journal.Previous
	again.AppliedAt = p.journal.next(time.Now())
	next := p.journal
	next.Active, next.Previous = &again, nil
	if err := p.commit(next); err != nil {
		return Policy{}, err
	}
	return again, nil
}

// Learn takes note of a policy that another store of the same fleet has made
// active. The one that was activated last is in force, wherever that was; its
// payload stays where it is. What is known already changes nothing.
func (p *Policies) Learn(policy Policy) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := p.journal.inForce(); last != nil && !policy.AppliedAt.After(last.AppliedAt) {
		return nil
	}
	if err := p.commit(p.journal.learn(policy)); err != nil {
		return fmt.Errorf("learn of policy %q: %w", policy.Update.GetPolicyId(), err)
	}
	return nil
}

// InForce returns the policy that was activated last, here or as [Policies.Learn]
// was told; false before the first.
func (p *Policies) InForce() (Policy, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return valueOf(p.journal.inForce())
}

// Active returns the policy of which this store has the payload, the last one
// activated here; false before the first.
func (p *Policies) Active() (Policy, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return valueOf(p.journal.Active)
}

// Announced returns the newest policy that was accepted, with or without
// payload; false before the first.
func (p *Policies) Announced() (Policy, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return valueOf(p.journal.Announced)
}

// History returns the updates accepted since the start, oldest first, without
// their payloads.
func (p *Policies) History() []Policy {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.history)
}

// ActiveVersion returns the version in force, or empty before the first.
func (p *Policies) ActiveVersion() string {
	policy, _ := p.InForce()
	return policy.Update.GetTamiyoPolicyVersion()
}

// Payload returns the active payload, verified against its digest.
func (p *Policies) Payload() ([]byte, error) {
	active, found := p.Active()
	if !found {
		return nil, ErrNoActivePolicy
	}
	return readPayload(p.config.Dir, active.Digest)
}

func valueOf(policy *Policy) (Policy, bool) {
	if policy == nil {
		return Policy{}, false
	}
	return *policy, true
}
