package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
)

// policyNoteContext stands before what the signature of a note covers. No envelope
// begins like that, so neither signature can be used for the other.
const policyNoteContext = "weatherlight: policy in force\n"

// policyNote tells the other instances which policy is the newest. It is signed: the
// roll can be written by whoever can write to the bus.
type policyNote struct {
	Policy    []byte `json:"policy"` // the JSON of a policy.Update
	Signature string `json:"signature"`
}

func newPolicyNote(keyring *signing.Keyring, newest policy.Update) (*policyNote, error) {
	content, err := json.Marshal(newest)
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

// policyStore knows which policy is the newest; *policy.Store is one.
type policyStore interface {
	Newest() (update policy.Update, found bool)
	// Learn takes note of a policy that was taken in elsewhere.
	Learn(update policy.Update) error
}

// PolicyNotes tell the other instances which policy is the newest, and take over what they
// know. It works beside the renewals that tell of it: what is learned goes to disk, and a
// lease must not wait for a slow one.
type PolicyNotes struct {
	fleet   *Fleet
	store   policyStore
	keyring *signing.Keyring
	logger  *slog.Logger
}

// NewPolicyNotes tells of the policies of a store from now on, and learns once it runs.
func NewPolicyNotes(fleet *Fleet, store policyStore, keyring *signing.Keyring, logger *slog.Logger) *PolicyNotes {
	p := &PolicyNotes{fleet: fleet, store: store, keyring: keyring, logger: logger}
	fleet.setMetadata(p.describe)
	return p
}

func (p *PolicyNotes) describe() metadata {
	told := metadata{Library: p.fleet.config.Library}
	newest, found := p.store.Newest()
	if !found {
		return told
	}
	var err error
	if told.Policy, err = newPolicyNote(p.keyring, newest); err != nil {
		p.logger.Warn("the others are not told of a policy", "policy", newest.Metadata.GetPolicyId(), "error", err)
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

// learn takes over which policy an instance knows of.
func (p *PolicyNotes) learn(from member) error {
	if from.Policy == nil || from.name == p.fleet.config.Name {
		return nil
	}
	learned, err := from.Policy.open(p.keyring)
	if err != nil {
		return err
	}
	return p.store.Learn(learned)
}
