package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Config configures a [Store]. Dir is required.
type Config struct {
	Dir        string        // holds active.json and payloads/; created when missing
	Freshness  time.Duration // oldest accepted issued_at; 0 accepts any age
	ClockSkew  time.Duration // how far in the future issued_at may lie; default 5 s
	MaxPayload int           // bytes; default 1 MiB
	// Fetch reads the payload whose hex SHA-256 is sum, no more of it than a limit, for
	// updates that refer to theirs. An error that wraps ErrNoPayload is final. Without it
	// there is none.
	Fetch  func(ctx context.Context, sum string, limit int) ([]byte, error)
	Emit   func(*leyline.TelemetryPacket)
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.ClockSkew = cmp.Or(max(c.ClockSkew, 0), 5*time.Second)
	c.MaxPayload = cmp.Or(max(c.MaxPayload, 0), 1<<20)
	if c.Fetch == nil {
		c.Fetch = func(context.Context, string, int) ([]byte, error) { return nil, ErrNoPayload }
	}
	if c.Emit == nil {
		c.Emit = func(*leyline.TelemetryPacket) {}
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// Store receives policy updates, keeps their payloads by digest and knows which one
// was issued last. Payloads are opaque: they are stored, and nothing evaluates them, so
// that no decision is made under any. It is safe for concurrent use.
type Store struct {
	config Config

	mu      sync.Mutex
	journal journal
	folder  os.FileInfo // of the payloads, as it was opened
	written os.FileInfo // the journal's file, as it was read or written last; nil before the first
}

// Open opens the policy store in config.Dir and restores what was accepted. An
// unreadable journal is an error: going on without it would accept every old update
// again.
func Open(config Config) (*Store, error) {
	config = config.withDefaults()
	if err := os.MkdirAll(PayloadFolder(config.Dir), 0o700); err != nil {
		return nil, fmt.Errorf("create policy folder: %w", err)
	}
	if err := atomicfile.Sweep(filepath.Join(config.Dir, journalName)); err != nil {
		return nil, fmt.Errorf("tidy policy folder: %w", err)
	}
	journal, err := readJournal(filepath.Join(config.Dir, journalName))
	if err != nil {
		return nil, err
	}
	s := &Store{config: config, journal: journal}
	if s.folder, err = os.Stat(PayloadFolder(config.Dir)); err != nil {
		return nil, fmt.Errorf("look at policy folder: %w", err)
	}
	s.written, err = os.Stat(s.journalPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look at policy journal: %w", err)
	}
	return s, nil
}

func (s *Store) journalPath() string { return filepath.Join(s.config.Dir, journalName) }

// InPlace reports the want of the folder, or of the journal, without which the next start
// would accept old updates again. An update that is taken in writes all of the journal anew.
func (s *Store) InPlace() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := regularfile.Still(PayloadFolder(s.config.Dir), s.folder)
	if s.written != nil {
		err = errors.Join(err, regularfile.Still(s.journalPath(), s.written))
	}
	return err
}

// PayloadFolder is where the payloads lie, in the folder of a store.
func PayloadFolder(dir string) string { return filepath.Join(dir, payloadFolder) }

// Check asks whether Open could read what an earlier store left in dir, and changes
// nothing.
func Check(dir string) error {
	_, err := readJournal(filepath.Join(dir, journalName))
	return err
}

// Accept checks update, and stores its payload, which it has with it or refers to in the
// attributes of its envelope (see [ReferTo]); one with neither only announces its
// version. A refused update is a *RejectedError and changes nothing: acknowledge it. Any
// other error means that the disk failed or that the payload cannot be fetched now, and
// that trying again may help.
func (s *Store) Accept(ctx context.Context, update *leyline.PolicyUpdate, attributes map[string]string) error {
	policy, err := s.take(ctx, update, attributes)
	if rejected, ok := errors.AsType[*RejectedError](err); ok {
		s.config.Emit(rejectedPacket(rejected))
		return err
	}
	if err != nil {
		return fmt.Errorf("accept policy update %q: %w", update.GetPolicyId(), err)
	}
	s.config.Emit(acceptedPacket(policy))
	return nil
}

func (s *Store) take(ctx context.Context, update *leyline.PolicyUpdate, attributes map[string]string) (Update, error) {
	reference, refers, err := readReference(attributes)
	if err != nil || refers && len(update.GetPayload()) > 0 {
		return Update{}, &RejectedError{Reason: ReasonInvalid, PolicyID: update.GetPolicyId()}
	}
	if refers {
		// Nothing is fetched that would be refused anyway.
		if err := s.judge(update, reference.size); err != nil {
			return Update{}, err
		}
		payload, err := s.fetch(ctx, reference, update.GetPolicyId())
		if err != nil {
			return Update{}, err
		}
		update = proto.CloneOf(update)
		update.Payload = payload
	}
	if err := ctx.Err(); err != nil {
		return Update{}, err
	}
	return s.store(update)
}

func (s *Store) judge(update *leyline.PolicyUpdate, size int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rejection(update, size, time.Now())
}

func (s *Store) store(update *leyline.PolicyUpdate) (Update, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if err := s.rejection(update, len(update.GetPayload()), now); err != nil {
		return Update{}, err
	}
	policy := newUpdate(update, now)
	if err := storePayload(s.config.Dir, policy, update.GetPayload()); err != nil {
		return Update{}, err
	}
	if err := s.commit(s.journal.accept(policy)); err != nil {
		return Update{}, err
	}
	return policy, nil
}

// commit is the moment of acceptance: memory follows the disk, never leads it.
func (s *Store) commit(next journal) error {
	if err := next.write(s.journalPath()); err != nil {
		return fmt.Errorf("write policy journal: %w", err)
	}
	s.journal = next
	if info, err := os.Stat(s.journalPath()); err == nil { // else it was removed at once, and InPlace says so
		s.written = info
	}
	if err := removePayloadsBut(s.config.Dir, next.digests()); err != nil {
		s.config.Logger.Warn("old policy payloads stay on disk", "dir", s.config.Dir, "error", err)
	}
	return nil
}

// Learn takes note of a policy that another store of the same fleet has taken in; its
// payload stays where it is. One that is no newer than what is known changes nothing.
func (s *Store) Learn(policy Update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.journal.newer(policy.Metadata) {
		return nil
	}
	if err := s.commit(s.journal.learn(policy)); err != nil {
		return fmt.Errorf("learn of policy %q: %w", policy.Metadata.GetPolicyId(), err)
	}
	return nil
}

// Newest returns the policy that was issued last of those taken in, here or as
// [Store.Learn] was told; false before the first.
func (s *Store) Newest() (Update, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	policy := s.journal.newest()
	if policy == nil {
		return Update{}, false
	}
	return *policy, true
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
	name := "policy_update_stored"
	if policy.Digest == "" {
		name = "policy_update_announced"
	}
	// Two tell of it when one was stopped amid its work and another took that over.
	position := positionOf(policy.Metadata)
	return telemetry.New("tamiyo", "tamiyo-policy-update").
		About(position.PolicyID, strconv.FormatInt(position.IssuedAt, 10), strconv.FormatUint(uint64(position.Version), 10), policy.Digest).
		Health(leyline.HealthStatus_HEALTH_STATUS_HEALTHY, name).
		WithEvents(telemetry.Event(name, leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO,
			"policy_id", policy.Metadata.GetPolicyId(),
			"tamiyo_policy_version", policy.Metadata.GetTamiyoPolicyVersion(),
			"digest", policy.Digest,
			"bytes", strconv.Itoa(policy.Size))).
		Build()
}
