package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/policy/accepted"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Config configures a [Store]. Dir is required.
type Config struct {
	Dir        string        // holds active.json and payloads/; created when missing
	Freshness  time.Duration // oldest accepted issued_at; 0 accepts any age
	ClockSkew  time.Duration // how far in the future issued_at may lie; default 5 s
	MaxPayload int           // bytes; default 32 MiB
	// Now is the time by the clock of the bus [this machine's]. An update that is timely by
	// either is.
	Now func() time.Time
	// Rules is the version by which decisions name the rules. Where it is set, a policy must have
	// one of its own [versions are not looked at].
	Rules string
	// Fetch reads the payload whose hex SHA-256 is sum, no more of it than a limit, for
	// updates that refer to theirs. An error that wraps ErrNoPayload is final. Without it
	// there is none.
	Fetch func(ctx context.Context, sum string, limit int) ([]byte, error)
	// Share lays a payload where Fetch of every store of the fleet finds it [nowhere].
	Share func(ctx context.Context, payload []byte) error
	// Compared says whether a policy of that version was ever asked in the shadow about what
	// another decided; one that was not is activated only uncompared [nobody looks].
	Compared func(ctx context.Context, version string) (bool, error)
	Emit     func(*leyline.TelemetryPacket)
	Logger   *slog.Logger
}

func (c Config) withDefaults() Config {
	c.ClockSkew = cmp.Or(max(c.ClockSkew, 0), 5*time.Second)
	c.MaxPayload = cmp.Or(max(c.MaxPayload, 0), 32<<20)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Fetch == nil {
		c.Fetch = func(context.Context, string, int) ([]byte, error) { return nil, ErrNoPayload }
	}
	if c.Share == nil {
		c.Share = func(context.Context, []byte) error { return nil }
	}
	if c.Compared == nil {
		c.Compared = func(context.Context, string) (bool, error) { return true, nil }
	}
	if c.Emit == nil {
		c.Emit = func(*leyline.TelemetryPacket) {}
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// Store receives policy updates, keeps their payloads by digest and knows which one
// was issued last, and which are in force. A payload is opaque until a [journal.Action] names it:
// then it must be a [network.Network]. It is safe for concurrent use.
type Store struct {
	config Config

	changing sync.Mutex // what one change is decided on, no other may change meanwhile
	shared   time.Time  // when all that is kept here was shared last

	mu       sync.Mutex
	journal  journal.Journal
	folder   os.FileInfo                 // of the payloads, as it was opened
	written  os.FileInfo                 // the journal's file, as it was read or written last; nil before the first
	networks map[string]*network.Network // of the policies in force, by digest; nil: of one that can be none

	accepted, refused atomic.Int64
}

// Open opens the policy store in config.Dir and restores what was accepted. An
// unreadable journal is an error: going on without it would accept every old update
// again.
func Open(config Config) (*Store, error) {
	config = config.withDefaults()
	if err := os.MkdirAll(payloads.Folder(config.Dir), 0o700); err != nil {
		return nil, fmt.Errorf("create policy folder: %w", err)
	}
	if err := atomicfile.Sweep(journal.Path(config.Dir)); err != nil {
		return nil, fmt.Errorf("tidy policy folder: %w", err)
	}
	kept, err := journal.Read(config.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{config: config, journal: kept}
	if s.folder, err = os.Stat(payloads.Folder(config.Dir)); err != nil {
		return nil, fmt.Errorf("look at policy folder: %w", err)
	}
	s.written, err = os.Stat(journal.Path(config.Dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look at policy journal: %w", err)
	}
	if err := s.complete(context.Background()); err != nil { // a start, which nobody waits to stop
		config.Logger.Error("a policy that is in force cannot be read; the rules decide in its place", "error", err)
	}
	return s, nil
}

// InPlace reports the want of the folder, or of the journal, without which the next start
// would accept old updates again. An update that is taken in writes all of the journal anew.
func (s *Store) InPlace() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := regularfile.Still(payloads.Folder(s.config.Dir), s.folder)
	if s.written != nil {
		err = errors.Join(err, regularfile.Still(journal.Path(s.config.Dir), s.written))
	}
	return err
}

// Check asks whether Open could read what an earlier store left in dir, and changes
// nothing.
func Check(dir string) error {
	_, err := journal.Read(dir)
	return err
}

// Accept checks update, and stores its payload, which it has with it or refers to in the
// attributes of its envelope (see [payloads.Reference]); one with neither only announces its
// version, or has a [journal.Action] done. A refused update is a *RejectedError and changes
// nothing: acknowledge it. Any other error means that the disk failed or that the payload
// cannot be fetched now, and that trying again may help.
func (s *Store) Accept(ctx context.Context, update *leyline.PolicyUpdate, attributes map[string]string) error {
	err := s.accept(ctx, update, attributes)
	if stopped := ctx.Err(); stopped != nil && err != nil {
		return fmt.Errorf("accept policy update %q: %w", update.GetPolicyId(), stopped) // it is not this store's to refuse any more
	}
	if rejected, ok := errors.AsType[*RejectedError](err); ok {
		s.refused.Add(1)
		s.config.Emit(rejectedPacket(rejected, accepted.PositionOf(update)))
		return err
	}
	if err != nil {
		return fmt.Errorf("accept policy update %q: %w", update.GetPolicyId(), err)
	}
	s.accepted.Add(1)
	return nil
}

func (s *Store) accept(ctx context.Context, update *leyline.PolicyUpdate, attributes map[string]string) error {
	s.changing.Lock()
	defer s.changing.Unlock() // whoever handed the update over may survive a panic
	if _, _, acts := journal.ReadAction(attributes); acts {
		return s.act(ctx, update, attributes)
	}
	policy, err := s.take(ctx, update, attributes)
	if err == nil {
		s.config.Emit(acceptedPacket(policy))
	}
	return err
}

// Again says whether an update that is delivered again was taken in the first time, here or in
// a store that this one learnt from, and tells of it again: whoever took it in may have been stopped before
// that.
func (s *Store) Again(update *leyline.PolicyUpdate, attributes map[string]string) bool {
	s.mu.Lock()
	kept := s.journal
	s.mu.Unlock()
	packet := told(kept, update, attributes)
	if packet != nil {
		s.config.Emit(packet)
	}
	return packet != nil
}

// told is what was told of an update when it was taken in, nil when it was not.
func told(kept journal.Journal, update *leyline.PolicyUpdate, attributes map[string]string) *leyline.TelemetryPacket {
	at := accepted.PositionOf(update)
	if action, _, acts := journal.ReadAction(attributes); acts {
		if kept.Force == nil || kept.Force.At != at {
			return nil
		}
		return forcePacket(action, kept.Force)
	}
	digest := accepted.New(update, time.Time{}).Digest
	if reference, refers, _ := payloads.Refer(attributes); refers {
		digest = reference.Checksum
	}
	for _, policy := range []*accepted.Update{kept.Newest(), kept.Announced} {
		if policy != nil && policy.Position() == at && policy.Digest == digest {
			return acceptedPacket(*policy)
		}
	}
	return nil
}

// Figures are those of the store.
func (s *Store) Figures() []telemetry.Figure {
	active, shadow := s.Deciding()
	return []telemetry.Figure{
		telemetry.Count("tamiyo.policy.accepted_total", "Policy updates and actions that this instance took in.", s.accepted.Load()),
		telemetry.Count("tamiyo.policy.refused_total", "Policy updates and actions that this instance refused.", s.refused.Load()),
		telemetry.Is("tamiyo.policy.active", "1 while a policy decides, 0 while the rules alone do.", active != nil),
		telemetry.Is("tamiyo.policy.shadow", "1 while a policy is asked in the shadow.", shadow != nil),
	}
}

func (s *Store) take(ctx context.Context, update *leyline.PolicyUpdate, attributes map[string]string) (accepted.Update, error) {
	reference, refers, err := payloads.Refer(attributes)
	if err != nil || refers && len(update.GetPayload()) > 0 {
		return accepted.Update{}, &RejectedError{Reason: ReasonInvalid, PolicyID: update.GetPolicyId()}
	}
	// Nothing is fetched or shared that would be refused anyway.
	if err := s.judge(update, max(reference.Size, len(update.GetPayload()))); err != nil {
		return accepted.Update{}, err
	}
	digest := reference.Checksum
	if !refers && len(update.GetPayload()) > 0 {
		digest = payloads.Digest(update.GetPayload())
	}
	if digest != "" && s.misnamed(update.GetTamiyoPolicyVersion(), digest) {
		return accepted.Update{}, &RejectedError{Reason: ReasonVersion, PolicyID: update.GetPolicyId()}
	}
	if refers {
		payload, err := s.fetch(ctx, reference, update.GetPolicyId())
		if err != nil {
			return accepted.Update{}, err
		}
		update = proto.CloneOf(update)
		update.Payload = payload
	} else if len(update.GetPayload()) > 0 {
		// Whoever is told of it may be asked to have it decide, when this store is gone.
		if err := s.config.Share(ctx, update.GetPayload()); err != nil {
			return accepted.Update{}, fmt.Errorf("share payload: %w", err)
		}
	}
	if err := ctx.Err(); err != nil {
		return accepted.Update{}, err
	}
	return s.store(update)
}

func (s *Store) judge(update *leyline.PolicyUpdate, size int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rejection(update, size, time.Now())
}

func (s *Store) store(update *leyline.PolicyUpdate) (accepted.Update, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if err := s.rejection(update, len(update.GetPayload()), now); err != nil {
		return accepted.Update{}, err
	}
	policy := accepted.New(update, now)
	if err := payloads.Keep(s.config.Dir, policy.Digest, update.GetPayload()); err != nil {
		return accepted.Update{}, err
	}
	if err := s.commit(s.journal.Accept(policy)); err != nil {
		return accepted.Update{}, err
	}
	return policy, nil
}

// commit is the moment of acceptance: memory follows the disk, never leads it.
func (s *Store) commit(next journal.Journal) error {
	if err := next.Write(s.config.Dir); err != nil {
		return fmt.Errorf("write policy journal: %w", err)
	}
	s.journal = next
	if info, err := os.Stat(journal.Path(s.config.Dir)); err == nil { // else it was removed at once, and InPlace says so
		s.written = info
	}
	if err := payloads.KeepOnly(s.config.Dir, next.Digests()); err != nil {
		s.config.Logger.Warn("old policy payloads stay on disk", "dir", s.config.Dir, "error", err)
	}
	return nil
}

// Learn takes note of what another store of the same fleet has accepted; payloads stay where
// they are. What is no newer than what is known changes nothing.
func (s *Store) Learn(recent journal.Recent) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.journal.Learn(recent)
	if next == s.journal {
		return nil
	}
	if err := s.commit(next); err != nil {
		return fmt.Errorf("learn of policies: %w", err)
	}
	return nil
}

// Recent are the updates that were accepted last, here or as [Store.Learn] was told; false
// before the first.
func (s *Store) Recent() (journal.Recent, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	recent := s.journal.Recent()
	return recent, recent != journal.Recent{}
}

func rejectedPacket(rejected *RejectedError, at accepted.Position) *leyline.TelemetryPacket {
	const level = leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING
	return telemetry.New("tamiyo", "tamiyo-policy-update-error").
		Level(level).
		Health(leyline.HealthStatus_HEALTH_STATUS_DEGRADED, rejected.Reason).
		WithEvents(telemetry.Event("policy_update_rejected", level,
			"reason", rejected.Reason, "policy_id", rejected.PolicyID, issuedAt, strconv.FormatInt(at.IssuedAt, 10))).
		Build()
}

// issuedAt is the attribute by which whoever sent an update knows what came of it.
const issuedAt = "issued_at_ns"

func acceptedPacket(policy accepted.Update) *leyline.TelemetryPacket {
	name := "policy_update_stored"
	if policy.Digest == "" {
		name = "policy_update_announced"
	}
	// Two tell of it when one was stopped amid its work and another took that over.
	position := policy.Position()
	return telemetry.New("tamiyo", "tamiyo-policy-update").
		About(position.PolicyID, strconv.FormatInt(position.IssuedAt, 10), strconv.FormatUint(uint64(position.Version), 10), policy.Digest).
		Health(leyline.HealthStatus_HEALTH_STATUS_HEALTHY, name).
		WithEvents(telemetry.Event(name, leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO,
			"policy_id", policy.Metadata.GetPolicyId(), issuedAt, strconv.FormatInt(position.IssuedAt, 10),
			"tamiyo_policy_version", policy.Metadata.GetTamiyoPolicyVersion(),
			"digest", policy.Digest,
			"bytes", strconv.Itoa(policy.Size))).
		Build()
}
