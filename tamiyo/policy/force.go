package policy

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Attributes of the envelope of an update that brings no payload and says what is to be
// done with one that was taken in.
const (
	attributeAction = "policy_action"
	attributeTarget = "policy_sha256"
)

// Action is what is to be done with a policy that was taken in.
type Action string

// The actions. A policy is activated only from the shadow.
const (
	ToShadow Action = "shadow"   // it is asked, and told of, beside what decides
	Activate Action = "activate" // it decides
	RollBack Action = "rollback" // what decided before decides again
)

// Attributes are those that the envelope of an action needs; digest is the policy's, none
// with RollBack.
func (a Action) Attributes(digest string) map[string]string {
	attributes := map[string]string{attributeAction: string(a)}
	if digest != "" {
		attributes[attributeTarget] = digest
	}
	return attributes
}

// Force says which policies are in force. Its values are replaced, never changed in place.
type Force struct {
	Active *Update   `json:"active,omitempty"` // decides; nil: the rules alone
	Shadow *Update   `json:"shadow,omitempty"` // is asked beside it
	Before []*Update `json:"before,omitempty"` // decided before, the last one first; nil is the rules alone
	At     position  `json:"at"`               // of the last action
}

// rollbacks bounds how far back a rollback goes.
const rollbacks = 4

// newer says whether an action lies after another.
func (f *Force) newer(than *Force) bool {
	return f != nil && (than == nil || f.At.compare(than.At) > 0)
}

// policies are all that a rollback may bring back, too.
func (f *Force) policies() []*Update {
	if f == nil {
		return nil
	}
	return append([]*Update{f.Active, f.Shadow}, f.Before...)
}

// after is what is in force after an action on a policy, or the reason against it.
func (f *Force) after(action Action, policy *Update, at position) (next *Force, reason string) {
	if f == nil {
		f = &Force{}
	}
	next = &Force{Active: f.Active, Shadow: f.Shadow, Before: f.Before, At: at}
	switch action {
	case ToShadow:
		next.Shadow = policy
	case Activate:
		if f.Shadow == nil || f.Shadow.Digest != policy.Digest {
			return nil, ReasonNotShadowed
		}
		next.Active, next.Shadow = policy, nil
		next.Before = append([]*Update{f.Active}, f.Before[:min(len(f.Before), rollbacks-1)]...)
	case RollBack:
		if len(f.Before) == 0 {
			return nil, ReasonNothingBefore
		}
		next.Active, next.Before = f.Before[0], f.Before[1:]
	default:
		return nil, ReasonInvalid
	}
	return next, ""
}

// act does what an update asks for that brings no policy.
func (s *Store) act(ctx context.Context, update *leyline.PolicyUpdate, attributes map[string]string) error {
	if err := s.judge(update, 0); err != nil {
		return err
	}
	action, digest := Action(attributes[attributeAction]), attributes[attributeTarget]
	refused := func(reason string) error { return &RejectedError{Reason: reason, PolicyID: update.GetPolicyId()} }
	target := s.find(digest)
	switch {
	case len(update.GetPayload()) > 0:
		return refused(ReasonInvalid)
	case target == nil && action != RollBack:
		return refused(ReasonMissing)
	}
	current, _ := s.Force()
	force, reason := current.after(action, target, positionOf(update))
	if reason != "" {
		return refused(reason)
	}
	networks, err := s.read(ctx, force)
	if errors.Is(err, ErrNetwork) {
		return refused(ReasonUnusable)
	}
	if err == nil {
		err = s.share(ctx, force)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.rejection(update, 0, time.Now()); err != nil {
		return err
	}
	if err := s.put(force, networks); err != nil {
		return err
	}
	s.config.Emit(forcePacket(action, force))
	return nil
}

// share lays the payloads in force where the other stores find them.
func (s *Store) share(ctx context.Context, force *Force) error {
	for _, policy := range []*Update{force.Active, force.Shadow} {
		if policy == nil {
			continue
		}
		payload, err := s.payload(ctx, policy)
		if err == nil {
			err = s.config.Share(ctx, payload)
		}
		if err != nil {
			return fmt.Errorf("share payload %s: %w", policy.Digest, err)
		}
	}
	return nil
}

// read reads the networks of what is to be in force, and keeps the payloads that were not
// here.
func (s *Store) read(ctx context.Context, force *Force) (map[string]*Network, error) {
	networks := make(map[string]*Network)
	for _, policy := range []*Update{force.Active, force.Shadow} {
		if policy == nil {
			continue
		}
		payload, err := s.payload(ctx, policy)
		if err == nil {
			networks[policy.Digest], err = ReadNetwork(payload)
		}
		if err == nil {
			err = storePayload(s.config.Dir, *policy, payload)
		}
		if err != nil {
			return nil, fmt.Errorf("policy %q: %w", policy.Metadata.GetPolicyId(), err)
		}
	}
	return networks, nil
}

// put is the moment in which something comes into force.
func (s *Store) put(force *Force, networks map[string]*Network) error {
	next := s.journal.reach(force.At)
	next.Force = force
	if err := s.commit(next); err != nil {
		return err
	}
	s.networks = networks
	return nil
}

// find is the policy of a digest, of those that were taken in.
func (s *Store) find(digest string) *Update {
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, policy := range append([]*Update{s.journal.Stored, s.journal.Elsewhere, s.journal.Previous}, s.journal.Force.policies()...) {
		if policy != nil && policy.Digest == digest {
			return policy
		}
	}
	return nil
}

// payload is that of a policy: from here, or from where all stores share it.
func (s *Store) payload(ctx context.Context, policy *Update) ([]byte, error) {
	path := payloadPath(s.config.Dir, policy.Digest)
	if payload, err := regularfile.Read(path, int64(s.config.MaxPayload)); err == nil && digestOf(payload) == policy.Digest {
		return payload, nil
	}
	return s.fetch(ctx, Reference{Checksum: policy.Digest, Size: policy.Size}, policy.Metadata.GetPolicyId())
}

// Force says which policies are in force; false before the first action.
func (s *Store) Force() (Force, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal.Force == nil {
		return Force{}, false
	}
	return *s.journal.Force, true
}

// LearnForce takes over what another store of the same fleet says is in force, with the
// payloads that this one lacks. What is no newer changes nothing.
func (s *Store) LearnForce(ctx context.Context, force Force) error {
	if known, _ := s.Force(); !force.newer(&known) {
		return nil
	}
	networks, err := s.read(ctx, &force)
	if err != nil {
		return fmt.Errorf("learn what is in force: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !force.newer(s.journal.Force) {
		return nil
	}
	if err := s.put(&force, networks); err != nil {
		return fmt.Errorf("learn what is in force: %w", err)
	}
	return nil
}

// Deciding are the policy that decides and the one in the shadow, nil where there is none.
func (s *Store) Deciding() (active, shadow *Decider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal.Force == nil {
		return nil, nil
	}
	return s.decider(s.journal.Force.Active), s.decider(s.journal.Force.Shadow)
}

func (s *Store) decider(policy *Update) *Decider {
	if policy == nil || s.networks[policy.Digest] == nil {
		return nil
	}
	return &Decider{Network: s.networks[policy.Digest], version: policy.Metadata.GetTamiyoPolicyVersion()}
}

// Decider is a policy that is asked.
type Decider struct {
	*Network
	version string
}

// Version is the policy's, as its update named it.
func (d *Decider) Version() string { return d.version }

// openNetworks reads what is in force. What cannot be read any more decides nothing: the
// rules do.
func (s *Store) openNetworks() {
	if s.journal.Force == nil {
		return
	}
	var err error
	if s.networks, err = s.read(context.Background(), s.journal.Force); err != nil { // a start, which nobody waits to stop
		s.config.Logger.Error("a policy that is in force cannot be read; the rules decide", "error", err)
	}
}

func forcePacket(action Action, force *Force) *leyline.TelemetryPacket {
	name := map[Action]string{
		ToShadow: "policy_shadowed", Activate: "policy_activated", RollBack: "policy_rolled_back",
	}[action]
	describe := func(policy *Update) string {
		if policy == nil {
			return "none"
		}
		return policy.Metadata.GetTamiyoPolicyVersion() + " " + policy.Digest
	}
	return telemetry.New("tamiyo", "tamiyo-policy-force").
		About(name, fmt.Sprint(force.At)).
		Health(leyline.HealthStatus_HEALTH_STATUS_HEALTHY, name).
		WithEvents(telemetry.Event(name, leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO,
			"active", describe(force.Active), "shadow", describe(force.Shadow))).
		Build()
}
