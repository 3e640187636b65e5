package policy

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/policy/accepted"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
	"github.com/esper-lite/weatherlight/telemetry"
)

// rollbacks bounds how far back a rollback goes.
const rollbacks = 4

// after is what is in force after an action on a policy, when f was before, or the reason against it.
func after(f *journal.Force, action journal.Action, policy *accepted.Update, at accepted.Position) (next *journal.Force, reason string) {
	if f == nil {
		f = &journal.Force{}
	}
	next = &journal.Force{Active: f.Active, Shadow: f.Shadow, Before: f.Before, At: at}
	switch action {
	case journal.ToShadow:
		next.Shadow = policy
	case journal.Activate, journal.ActivateUncompared:
		if f.Shadow == nil || f.Shadow.Digest != policy.Digest {
			return nil, ReasonNotShadowed
		}
		next.Active, next.Shadow = policy, nil
		if f.Active != nil && f.Active.Digest == policy.Digest {
			break // it decides already, and what decided before it is what decided before
		}
		next.Before = append([]*accepted.Update{f.Active}, f.Before[:min(len(f.Before), rollbacks-1)]...)
	case journal.RollBack:
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
	action, digest, _ := journal.ReadAction(attributes)
	refused := func(reason string) error { return &RejectedError{Reason: reason, PolicyID: update.GetPolicyId()} }
	target := s.find(digest)
	switch {
	case len(update.GetPayload()) > 0:
		return refused(ReasonInvalid)
	case target == nil && action != journal.RollBack:
		return refused(ReasonMissing)
	case target != nil && s.config.Rules != "" && target.Metadata.GetTamiyoPolicyVersion() == "":
		return refused(ReasonVersion)
	}
	current, _ := s.Force()
	force, reason := after(&current, action, target, accepted.PositionOf(update))
	if reason != "" {
		return refused(reason)
	}
	if action == journal.Activate {
		if err := s.insistCompared(ctx, update, target); err != nil {
			return err
		}
	}
	networks, err := s.prepare(ctx, action, force, target)
	if errors.Is(err, network.ErrUnusable) {
		return refused(ReasonUnusable)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = s.enter(update, force, networks)
	}
	if err == nil {
		s.config.Emit(forcePacket(action, force))
	}
	return err
}

// insistCompared refuses a policy that was never asked in the shadow about what another decided.
func (s *Store) insistCompared(ctx context.Context, update *leyline.PolicyUpdate, policy *accepted.Update) error {
	compared, err := s.config.Compared(ctx, policy.Metadata.GetTamiyoPolicyVersion())
	if err != nil {
		return fmt.Errorf("find out whether it was compared: %w", err)
	}
	if !compared {
		return &RejectedError{Reason: ReasonNotCompared, PolicyID: update.GetPolicyId()}
	}
	return nil
}

// enter brings into force what an update asks for, unless time has made it one to refuse.
func (s *Store) enter(update *leyline.PolicyUpdate, force *journal.Force, networks map[string]*network.Network) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.rejection(update, 0, time.Now()); err != nil {
		return err
	}
	return s.put(force, networks)
}

// prepare reads the networks of what is to be in force, and has the others find them.
func (s *Store) prepare(
	ctx context.Context, action journal.Action, force *journal.Force, target *accepted.Update,
) (map[string]*network.Network, error) {
	if action == journal.RollBack {
		return s.goBack(ctx, force), nil
	}
	networks, err := s.read(ctx, force, target)
	if err == nil {
		err = s.share(ctx, force, networks)
	}
	return networks, err
}

// goBack has the next one decide that can be read now, at last the rules alone: a rollback is asked
// for in need, and waits for nothing. What was shared once is shared again later.
func (s *Store) goBack(ctx context.Context, force *journal.Force) map[string]*network.Network {
	s.shared = time.Time{}
	networks := make(map[string]*network.Network)
	read := func(policy *accepted.Update) bool {
		found, err := s.open(ctx, policy)
		if err != nil {
			s.config.Logger.Error("a policy cannot be read, and is left out", "error", err)
			return false
		}
		networks[policy.Digest] = found
		return true
	}
	for force.Active != nil && !read(force.Active) {
		force.Active = nil
		if len(force.Before) > 0 {
			force.Active, force.Before = force.Before[0], force.Before[1:]
		}
	}
	if force.Shadow != nil {
		read(force.Shadow)
	}
	return networks
}

// share lays the payloads in force where the other stores find them.
func (s *Store) share(ctx context.Context, force *journal.Force, networks map[string]*network.Network) error {
	for _, policy := range []*accepted.Update{force.Active, force.Shadow} {
		if policy == nil || networks[policy.Digest] == nil {
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

// read reads the networks of what is to be in force. Without that of target, if any, nothing
// is; others are left out when they cannot be read for good, and told of: the rules decide in
// their place.
func (s *Store) read(ctx context.Context, force *journal.Force, target *accepted.Update) (map[string]*network.Network, error) {
	networks := make(map[string]*network.Network)
	for _, policy := range []*accepted.Update{force.Active, force.Shadow} {
		if policy == nil {
			continue
		}
		read, err := s.open(ctx, policy)
		switch {
		case err == nil:
			networks[policy.Digest] = read
		case policy == target || !final(err):
			return nil, err
		default:
			s.config.Logger.Error("a policy that is in force cannot be read; the rules decide in its place", "error", err)
		}
	}
	return networks, nil
}

// final says whether trying again now does not help.
func final(err error) bool {
	_, rejected := errors.AsType[*RejectedError](err)
	return rejected || errors.Is(err, network.ErrUnusable)
}

// open reads the network of a policy.
func (s *Store) open(ctx context.Context, policy *accepted.Update) (read *network.Network, err error) {
	payload, err := s.payload(ctx, policy)
	if err == nil {
		read, err = network.Read(payload)
	}
	if err != nil {
		return nil, fmt.Errorf("policy %q: %w", policy.Metadata.GetPolicyId(), err)
	}
	return read, nil
}

// shareEvery is the pause between two times that all is shared: who keeps it for the others
// may remove what is old.
const shareEvery = time.Hour

// Complete reads what is in force and could not be read yet, and now and then, or when something
// else came into force, has here what is kept, and shares it anew.
func (s *Store) Complete(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return errors.Join(s.complete(ctx), s.shareAll(ctx))
}

func (s *Store) shareAll(ctx context.Context) error {
	if time.Since(s.shared) < shareEvery {
		return nil
	}
	s.mu.Lock()
	known := s.journal.Known()
	s.mu.Unlock()
	for _, policy := range known {
		// Whoever kept it for this store may go, and it may have to come into force here then.
		payload, err := s.payload(ctx, policy)
		if err == nil {
			err = s.config.Share(ctx, payload)
		}
		if err != nil && !final(err) {
			return fmt.Errorf("share payload %s: %w", policy.Digest, err)
		}
	}
	s.shared = time.Now()
	return nil
}

func (s *Store) complete(ctx context.Context) error {
	force, _ := s.Force()
	var failures []error
	for _, policy := range []*accepted.Update{force.Active, force.Shadow} {
		if policy == nil || s.knows(policy.Digest) {
			continue
		}
		read, err := s.open(ctx, policy)
		if failures = append(failures, err); err != nil && !errors.Is(err, network.ErrUnusable) {
			continue
		}
		s.mu.Lock()
		next := maps.Clone(s.networks)
		if next == nil {
			next = make(map[string]*network.Network)
		}
		next[policy.Digest] = read
		s.networks = next
		s.mu.Unlock()
	}
	return errors.Join(failures...)
}

// knows says whether a payload was read, or is known to be no network.
func (s *Store) knows(digest string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.networks[digest]
	return known
}

// put is the moment in which something comes into force.
func (s *Store) put(force *journal.Force, networks map[string]*network.Network) error {
	next := s.journal.Reach(force.At)
	next.Force = force
	if err := s.commit(next); err != nil {
		return err
	}
	s.networks = networks
	return nil
}

// find is the policy of a digest, of those that were taken in.
func (s *Store) find(digest string) *accepted.Update {
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, policy := range s.journal.Known() {
		if policy.Digest == digest {
			return policy
		}
	}
	return nil
}

// payload is that of a policy: from here, or from where all stores share it. Then it is here, too.
func (s *Store) payload(ctx context.Context, policy *accepted.Update) ([]byte, error) {
	payload, err := payloads.Read(s.config.Dir, policy.Digest, int64(s.config.MaxPayload))
	if err == nil {
		return payload, nil
	}
	payload, err = s.fetch(ctx, payloads.Reference{Checksum: policy.Digest, Size: policy.Size}, policy.Metadata.GetPolicyId())
	if err == nil {
		err = payloads.Keep(s.config.Dir, policy.Digest, payload)
	}
	return payload, err
}

// Force says which policies are in force; false before the first action.
func (s *Store) Force() (journal.Force, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal.Force == nil {
		return journal.Force{}, false
	}
	return *s.journal.Force, true
}

// LearnForce takes over what another store of the same fleet says is in force, with the
// payloads that this one lacks. What is no newer changes nothing.
func (s *Store) LearnForce(ctx context.Context, force journal.Force) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if known, _ := s.Force(); !force.Newer(&known) {
		return nil
	}
	networks, err := s.read(ctx, &force, nil)
	if err == nil {
		s.shared = time.Time{}
		s.mu.Lock()
		defer s.mu.Unlock()
		err = s.put(&force, networks)
	}
	if err != nil {
		return fmt.Errorf("learn what is in force: %w", err)
	}
	return nil
}

// Deciding are the policy that decides and the one in the shadow, nil where there is none.
func (s *Store) Deciding() (active, shadow *network.Decider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal.Force == nil {
		return nil, nil
	}
	return s.decider(s.journal.Force.Active), s.decider(s.journal.Force.Shadow)
}

func (s *Store) decider(policy *accepted.Update) *network.Decider {
	if policy == nil || s.networks[policy.Digest] == nil {
		return nil
	}
	return network.Named(s.networks[policy.Digest], policy.Metadata.GetTamiyoPolicyVersion())
}

func forcePacket(action journal.Action, force *journal.Force) *leyline.TelemetryPacket {
	name := map[journal.Action]string{
		journal.ToShadow: "policy_shadowed", journal.RollBack: "policy_rolled_back",
		journal.Activate: "policy_activated", journal.ActivateUncompared: "policy_activated",
	}[action]
	describe := func(policy *accepted.Update) string {
		if policy == nil {
			return "none"
		}
		return policy.Metadata.GetTamiyoPolicyVersion() + " " + policy.Digest
	}
	told := []string{"active", describe(force.Active), "shadow", describe(force.Shadow), issuedAt, strconv.FormatInt(force.At.IssuedAt, 10)}
	if action == journal.ActivateUncompared {
		told = append(told, "uncompared", "true")
	}
	return telemetry.New("tamiyo", "tamiyo-policy-force").
		About(name, fmt.Sprint(force.At)).
		Health(leyline.HealthStatus_HEALTH_STATUS_HEALTHY, name).
		WithEvents(telemetry.Event(name, leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, told...)).
		Build()
}
