package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo"
)

// policyNoteContext stands before what the signature of a note covers. No envelope
// begins like that, so neither signature can be used for the other.
const policyNoteContext = "weatherlight: policy in force\n"

// policyNote tells the other instances which policy is in force. It is signed: the
// roll can be written by whoever can write to the bus.
type policyNote struct {
	Policy    []byte `json:"policy"` // the JSON of a tamiyo.Policy
	Signature string `json:"signature"`
}

func newPolicyNote(keyring *signing.Keyring, policy tamiyo.Policy) (*policyNote, error) {
	content, err := json.Marshal(policy)
	if err != nil {
		return nil, fmt.Errorf("write note of policy: %w", err)
	}
	return &policyNote{Policy: content, Signature: keyring.SignEnvelope(signedNote(content))}, nil
}

// open checks a note and returns its policy.
func (n *policyNote) open(keyring *signing.Keyring) (policy tamiyo.Policy, err error) {
	if err := keyring.VerifyEnvelope(signedNote(n.Policy), n.Signature); err != nil {
		return policy, fmt.Errorf("note of policy: %w", err)
	}
	if err := json.Unmarshal(n.Policy, &policy); err != nil {
		return policy, fmt.Errorf("read note of policy: %w", err)
	}
	return policy, nil
}

func signedNote(content []byte) []byte { return append([]byte(policyNoteContext), content...) }

// PolicyStore knows which policy is in force; *tamiyo.Policies is one.
type PolicyStore interface {
	InForce() (policy tamiyo.Policy, found bool)
	// Learn takes a policy over that is in force elsewhere.
	Learn(policy tamiyo.Policy) error
}

// PolicyNotes tell the other instances which policy is in force, and take over what they
// know. It works beside the renewals that tell of it: what is learned goes to disk, and a
// lease must not wait for a slow one.
type PolicyNotes struct {
	fleet   *Fleet
	store   PolicyStore
	keyring *signing.Keyring
	logger  *slog.Logger
}

// NewPolicyNotes tells of the policies of a store from now on, and learns once it runs.
func NewPolicyNotes(fleet *Fleet, store PolicyStore, keyring *signing.Keyring, logger *slog.Logger) *PolicyNotes {
	p := &PolicyNotes{fleet: fleet, store: store, keyring: keyring, logger: logger}
	fleet.setMetadata(p.describe)
	return p
}

func (p *PolicyNotes) describe() metadata {
	told := metadata{Library: p.fleet.config.Library}
	policy, found := p.store.InForce()
	if !found {
		return told
	}
	var err error
	if told.Policy, err = newPolicyNote(p.keyring, policy); err != nil {
		p.logger.Warn("the others are not told of a policy", "policy", policy.Update.GetPolicyId(), "error", err)
	}
	return told
}

// Run learns until ctx is done.
func (p *PolicyNotes) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case members := <-p.fleet.rolls:
			for _, m := range members {
				if err := p.learn(m); err != nil {
					p.logger.Debug("policy of another instance not taken over", "instance", m.name, "error", err)
				}
			}
		}
	}
}

// learn takes over what an instance knows to be in force.
func (p *PolicyNotes) learn(from member) error {
	if from.Policy == nil || from.name == p.fleet.config.Name {
		return nil
	}
	policy, err := from.Policy.open(p.keyring)
	if err != nil {
		return err
	}
	return p.store.Learn(policy)
}
