package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo/policy/accepted"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
)

// These stand before what the signature of a note covers. No envelope begins like that, nor
// does one like the other, so that no signature can be used for another.
const (
	policyNoteContext = "weatherlight: policy in force\n" // the newest, as the release before calls it
	forceNoteContext  = "weatherlight: what is in force\n"
)

// policyNote tells the other instances which policy is the newest, or which are in force.
// It is signed: the roll can be written by whoever can write to the bus.
type policyNote struct {
	Policy    []byte `json:"policy"` // the JSON of a accepted.Update, or of a journal.Force
	Signature string `json:"signature"`
}

// errNote is told of a note that cannot be trusted, or not be read.
var errNote = errors.New("note of a policy")

func newPolicyNote(keyring *signing.Keyring, newest accepted.Update) (*policyNote, error) {
	return newNote(keyring, policyNoteContext, newest)
}

func newNote(keyring *signing.Keyring, context string, told any) (*policyNote, error) {
	content, err := json.Marshal(told)
	if err != nil {
		return nil, fmt.Errorf("write note of policy: %w", err)
	}
	return &policyNote{Policy: content, Signature: keyring.SignEnvelope(append([]byte(context), content...))}, nil
}

// open checks a note and reads what it tells.
func (n *policyNote) open(keyring *signing.Keyring, context string, told any) error {
	if err := keyring.VerifyEnvelope(append([]byte(context), n.Policy...), n.Signature); err != nil {
		return fmt.Errorf("%w: %w", errNote, err)
	}
	if err := json.Unmarshal(n.Policy, told); err != nil {
		return fmt.Errorf("%w: %w", errNote, err)
	}
	return nil
}

// policyStore knows which policy is the newest and which are in force; *policy.Store is
// one.
type policyStore interface {
	Newest() (update accepted.Update, found bool)
	// Learn takes note of a policy that was taken in elsewhere.
	Learn(update accepted.Update) error
	Force() (force journal.Force, found bool)
	// LearnForce takes over what is in force elsewhere.
	LearnForce(ctx context.Context, force journal.Force) error
	// Complete reads what is in force and could not be read yet.
	Complete(ctx context.Context) error
}

// inbox has what each instance told last, until somebody looks. An instance may be gone by then.
type inbox struct {
	news chan struct{} // one is waiting when there is any

	mu      sync.Mutex
	members map[string]member
}

func newInbox() *inbox { return &inbox{news: make(chan struct{}, 1), members: make(map[string]member)} }

// put does not wait.
func (i *inbox) put(members []member) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, m := range members {
		i.members[m.name] = m
	}
	select {
	case i.news <- struct{}{}:
	default:
	}
}

func (i *inbox) take() map[string]member {
	i.mu.Lock()
	defer i.mu.Unlock()
	taken := i.members
	i.members = make(map[string]member)
	return taken
}

// PolicyNotes tell the other instances which policy is the newest and which are in force, and
// take over what they know. It works beside the renewals that tell of it: what is learned goes to disk, and a
// lease must not wait for a slow one.
type PolicyNotes struct {
	fleet   *Fleet
	store   policyStore
	keyring *signing.Keyring
	logger  *slog.Logger

	learning sync.Mutex
	left     map[string]member // what they told and was not to be learned yet, by their names
}

// NewPolicyNotes tells of the policies of a store from now on, and learns once it runs.
func NewPolicyNotes(fleet *Fleet, store policyStore, keyring *signing.Keyring, logger *slog.Logger) *PolicyNotes {
	p := &PolicyNotes{fleet: fleet, store: store, keyring: keyring, logger: logger}
	fleet.setMetadata(p.describe)
	return p
}

func (p *PolicyNotes) describe() metadata {
	told := metadata{Library: p.fleet.config.Library}
	var errs [2]error
	if newest, found := p.store.Newest(); found {
		told.Policy, errs[0] = newPolicyNote(p.keyring, newest)
	}
	if force, found := p.store.Force(); found {
		told.Force, errs[1] = newNote(p.keyring, forceNoteContext, force)
	}
	if err := errors.Join(errs[:]...); err != nil {
		p.logger.Warn("the others are not told of a policy", "error", err)
	}
	return told
}

// Run learns until ctx is done.
func (p *PolicyNotes) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.fleet.told.news:
			if err := p.CatchUp(ctx); err != nil {
				p.logger.Debug("policy of another instance not taken over", "error", err)
			}
			if err := p.store.Complete(ctx); err != nil {
				p.logger.Debug("policy in force not read", "error", err)
			}
		}
	}
}

// CatchUp learns all that the others have told, those that are gone by now, too. An error
// says that some of it could not be learned yet.
func (p *PolicyNotes) CatchUp(ctx context.Context) error {
	p.learning.Lock()
	defer p.learning.Unlock()
	news := p.fleet.told.take()
	for name, earlier := range p.left {
		if _, again := news[name]; !again {
			news[name] = earlier
		}
	}
	p.left = make(map[string]member)
	var failures []error
	for _, name := range slices.Sorted(maps.Keys(news)) {
		err := errors.Join(p.learn(news[name]), p.learnForce(ctx, news[name]))
		switch {
		case errors.Is(err, errNote):
			p.logger.Debug("what an instance told of policies is not believed", "instance", name, "error", err)
		case err != nil:
			failures = append(failures, fmt.Errorf("from %s: %w", name, err))
			p.left[name] = news[name]
		}
	}
	return errors.Join(failures...)
}

// learn takes over which policy an instance knows of.
func (p *PolicyNotes) learn(from member) error {
	if from.Policy == nil || from.name == p.fleet.config.Name {
		return nil
	}
	var learned accepted.Update
	if err := from.Policy.open(p.keyring, policyNoteContext, &learned); err != nil {
		return err
	}
	return p.store.Learn(learned)
}

// learnForce takes over what an instance says is in force.
func (p *PolicyNotes) learnForce(ctx context.Context, from member) error {
	if from.Force == nil || from.name == p.fleet.config.Name {
		return nil
	}
	var learned journal.Force
	if err := from.Force.open(p.keyring, forceNoteContext, &learned); err != nil {
		return err
	}
	return p.store.LearnForce(ctx, learned)
}
