package weatherlight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
)

// policyNoteContext stands before what the signature of a note covers. No envelope
// begins like that, so neither signature can be used for the other.
const policyNoteContext = "weatherlight: policy in force\n"

// policyNote tells the other instances which policy is in force. It is signed: the
// roll can be written by whoever can write to the bus.
type policyNote struct {
	Policy    []byte `json:"policy"` // the JSON of a policy.Update
	Signature string `json:"signature"`
}

func newPolicyNote(keyring *signing.Keyring, inForce policy.Update) (*policyNote, error) {
	content, err := json.Marshal(inForce)
	if err != nil {
		return nil, fmt.Errorf("write note of policy: %w", err)
	}
	return &policyNote{Policy: content, Signature: keyring.SignEnvelope(signedNote(content))}, nil
}

// open checks a note and returns its policy.
func (n *policyNote) open(keyring *signing.Keyring) (told policy.Update, err error) {
	if err := keyring.VerifyEnvelope(signedNote(n.Policy), n.Signature); err != nil {
		return told, fmt.Errorf("note of policy: %w", err)
	}
	if err := json.Unmarshal(n.Policy, &told); err != nil {
		return told, fmt.Errorf("read note of policy: %w", err)
	}
	return told, nil
}

func signedNote(content []byte) []byte { return append([]byte(policyNoteContext), content...) }

// handlePolicy takes an update in. It is settled when all others can know of it:
// whoever leads next goes on with it.
func (s *Service) handlePolicy(ctx context.Context, update *leyline.PolicyUpdate) ([]oona.Message, error) {
	err := s.policies.Accept(ctx, update)
	if _, rejected := errors.AsType[*policy.RejectedError](err); rejected {
		return nil, oona.Permanent(err)
	}
	if err != nil {
		return nil, err
	}
	if err := s.fleet.beat(ctx); err != nil { // The next beat tells them as well.
		s.logger.Debug("the others were not told of a policy at once", "policy", update.GetPolicyId(), "error", err)
	}
	return nil, nil
}

// describePolicy is what the others are told once there is a policy store.
func (s *Service) describePolicy() fleetNote {
	note := fleetNote{Library: s.libraryID()}
	inForce, found := s.policies.InForce()
	if !found {
		return note
	}
	var err error
	if note.Policy, err = newPolicyNote(s.keyring, inForce); err != nil {
		s.logger.Warn("the others are not told of a policy", "policy", inForce.Metadata.GetPolicyId(), "error", err)
	}
	return note
}

// policyLearner takes over what other instances know to be in force. It works
// beside the beat that tells of them: what is learned goes to disk, and a lease must
// not wait for a slow one.
type policyLearner struct {
	rolls chan []fleetMember // the last one that nobody has looked at
	learn func(fleetMember) error
	log   *slog.Logger
}

func newPolicyLearner(learn func(fleetMember) error, log *slog.Logger) *policyLearner {
	return &policyLearner{rolls: make(chan []fleetMember, 1), learn: learn, log: log}
}

// heed is called by one beat at a time, and does not wait.
func (l *policyLearner) heed(members []fleetMember) {
	select {
	case <-l.rolls:
	default:
	}
	l.rolls <- members
}

// Run learns until ctx is done.
func (l *policyLearner) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case members := <-l.rolls:
			l.learnFrom(members)
		}
	}
}

func (l *policyLearner) learnFrom(members []fleetMember) {
	for _, member := range members {
		if err := l.learn(member); err != nil {
			l.log.Debug("policy of another instance not taken over", "instance", member.name, "error", err)
		}
	}
}

// learnPolicy takes over what an instance knows to be in force.
func (s *Service) learnPolicy(member fleetMember) error {
	if member.Policy == nil || member.name == s.instance() {
		return nil
	}
	told, err := member.Policy.open(s.keyring)
	if err != nil {
		return err
	}
	return s.policies.Learn(told)
}
