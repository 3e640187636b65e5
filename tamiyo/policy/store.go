package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Config configures a [Store]. Dir is required.
type Config struct {
	Dir        string        // holds active.json and payloads/; created when missing
	Freshness  time.Duration // oldest accepted issued_at; 0 accepts any age
	ClockSkew  time.Duration // how far in the future issued_at may lie; default 5 s
	MaxPayload int           // bytes; default 1 MiB
	Emit       func(*leyline.TelemetryPacket)
	Logger     *slog.Logger
}

func (c Config) withDefaults() Config {
	c.ClockSkew = cmp.Or(max(c.ClockSkew, 0), 5*time.Second)
	c.MaxPayload = cmp.Or(max(c.MaxPayload, 0), 1<<20)
	if c.Emit == nil {
		c.Emit = func(*leyline.TelemetryPacket) {}
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// Store receives policy updates, keeps their payloads by digest and knows
// which one is active. Payloads are opaque: they are stored and handed on,
// never interpreted. It is safe for concurrent use.
type Store struct {
	config Config

	mu      sync.Mutex
	journal journal
}

// Open opens the policy store in config.Dir and restores what was active. An
// unreadable journal is an error: going on without it would accept every old update
// again.
func Open(config Config) (*Store, error) {
	config = config.withDefaults()
	if err := os.MkdirAll(filepath.Join(config.Dir, payloadFolder), 0o700); err != nil {
		return nil, fmt.Errorf("create policy folder: %w", err)
	}
	if err := atomicfile.Sweep(filepath.Join(config.Dir, journalName)); err != nil {
		return nil, fmt.Errorf("tidy policy folder: %w", err)
	}
	journal, err := readJournal(filepath.Join(config.Dir, journalName))
	if err != nil {
		return nil, fmt.Errorf("read policy journal: %w", err)
	}
	return &Store{config: config, journal: journal}, nil
}

// Accept checks update, stores its payload and makes it the active policy; an update
// without payload only announces its version. A refused update is a *RejectedError
// and changes nothing: acknowledge it. Any other error means that the disk failed and
// that trying again may help.
func (s *Store) Accept(ctx context.Context, update *leyline.PolicyUpdate) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("accept policy update: %w", err)
	}
	policy, err := s.activate(update)
	if rejected, ok := errors.AsType[*RejectedError](err); ok {
		s.config.Emit(rejectedPacket(rejected))
		return err
	}
	if err != nil {
		return fmt.Errorf("activate policy %q: %w", update.GetPolicyId(), err)
	}
	s.config.Emit(acceptedPacket(policy))
	return nil
}

func (s *Store) activate(update *leyline.PolicyUpdate) (Update, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if reason := s.refusal(update, now); reason != "" {
		return Update{}, &RejectedError{Reason: reason, PolicyID: update.GetPolicyId()}
	}
	policy := newUpdate(update, s.journal.next(now))
	if err := storePayload(s.config.Dir, policy, update.GetPayload()); err != nil {
		return Update{}, err
	}
	if err := s.commit(s.journal.accept(policy)); err != nil {
		return Update{}, err
	}
	return policy, nil
}

// commit is the moment of activation: memory follows the disk, never leads it.
func (s *Store) commit(next journal) error {
	if err := next.write(filepath.Join(s.config.Dir, journalName)); err != nil {
		return fmt.Errorf("write policy journal: %w", err)
	}
	s.journal = next
	if err := removePayloadsBut(s.config.Dir, next.digests()); err != nil {
		s.config.Logger.Warn("old policy payloads stay on disk", "dir", s.config.Dir, "error", err)
	}
	return nil
}

// Learn takes note of a policy that another store of the same fleet has made
// active. The one that was activated last is in force, wherever that was; its
// payload stays where it is. What is known already changes nothing.
func (s *Store) Learn(policy Update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := s.journal.inForce(); last != nil && !policy.AppliedAt.After(last.AppliedAt) {
		return nil
	}
	if err := s.commit(s.journal.learn(policy)); err != nil {
		return fmt.Errorf("learn of policy %q: %w", policy.Metadata.GetPolicyId(), err)
	}
	return nil
}

// InForce returns the policy that was activated last, here or as [Store.Learn]
// was told; false before the first.
func (s *Store) InForce() (Update, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	policy := s.journal.inForce()
	if policy == nil {
		return Update{}, false
	}
	return *policy, true
}

// Version returns the version in force, or empty before the first.
func (s *Store) Version() string {
	policy, _ := s.InForce()
	return policy.Metadata.GetTamiyoPolicyVersion()
}

func rejectedPacket(rejected *RejectedError) *leyline.TelemetryPacket {
	const level = leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING
	return telemetry.New("tamiyo", "tamiyo-policy-update-error").
		Level(level).
		Health(leyline.HealthStatus_HEALTH_STATUS_DEGRADED, rejected.Reason).
		WithEvents(telemetry.Event("policy_update_rejected", level,
			"reason", rejected.Reason, "policy_id", rejected.PolicyID)).
		Build()
}

func acceptedPacket(policy Update) *leyline.TelemetryPacket {
	name := "policy_update_applied"
	if policy.Digest == "" {
		name = "policy_update_announced"
	}
	return telemetry.New("tamiyo", "tamiyo-policy-update").
		Health(leyline.HealthStatus_HEALTH_STATUS_HEALTHY, name).
		WithEvents(telemetry.Event(name, leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO,
			"policy_id", policy.Metadata.GetPolicyId(),
			"tamiyo_policy_version", policy.Metadata.GetTamiyoPolicyVersion(),
			"digest", policy.Digest,
			"bytes", strconv.Itoa(policy.Size))).
		Build()
}
