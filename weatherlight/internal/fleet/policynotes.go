package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
)

// These stand before what the signature of a note covers. No envelope begins like that, nor
// does one like the other, so that no signature can be used for another.
const (
	policyNoteContext = "weatherlight: policy in force\n" // the newest, as the release before calls it
	recentNoteContext = "weatherlight: policies accepted last\n"
	forceNoteContext  = "weatherlight: what is in force\n"
)

// policyNote tells the other instances which policies were accepted last, or which are in force.
// It is signed: the roll can be written by whoever can write to the bus.
type policyNote struct {
	Policy    []byte `json:"policy"` // the JSON of an accepted.Update, a journal.Recent or a journal.Force
	Signature string `json:"signature"`
}

// errNote is told of a note that cannot be trusted, or not be read.
var errNote = errors.New("note of a policy")

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

// policyStore knows which policies were accepted last and which are in force; *policy.Store is
// one.
type policyStore interface {
	Recent() (recent journal.Recent, found bool)
	// Learn takes note of what was accepted elsewhere.
	Learn(recent journal.Recent) error
	Force() (force journal.Force, found bool)
	// LearnForce takes over what is in force elsewhere.
	LearnForce(ctx context.Context, force journal.Force) error
	// Complete reads what is in force and could not be read yet.
	Complete(ctx context.Context) error
}

// inbox has what each instance told last, until somebody looks. An instance may be gone by then.
type inbox struct {
	news chan struct{} // one is waiting when there is any

	mu         sync.Mutex
	members    map[string]member // that without a name is who proclaimed last
	proclaimed []byte            // as it was last seen
}

func newInbox() *inbox { return &inbox{news: make(chan struct{}, 1), members: make(map[string]member)} }

// put does not wait.
func (i *inbox) put(members []member, proclaimed []byte, told metadata) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, m := range members {
		i.members[m.name] = m
	}
	if i.proclaimed = proclaimed; proclaimed != nil {
		i.members[""] = member{metadata: told}
	}
	select {
	case i.news <- struct{}{}:
	default:
	}
}

// heard is what was proclaimed, as it was last seen.
func (i *inbox) heard() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.proclaimed
}

func (i *inbox) take() map[string]member {
	i.mu.Lock()
	defer i.mu.Unlock()
	taken := i.members
	i.members = make(map[string]member)
	return taken
}

// PolicyNotes tell the other instances which policies were accepted last and which are in force,
// and take over what they know. It works beside the renewals that tell of it: what is learned goes
// to disk, and a lease must not wait for a slow one.
type PolicyNotes struct {
	fleet   *Fleet
	store   policyStore
	keyring *signing.Keyring
	logger  *slog.Logger

	learning sync.Mutex
	left     map[string]member // what they told and was not to be learned yet, by their names

	proclaiming sync.Mutex
}

// NewPolicyNotes tells of the policies of a store from now on, and learns once it runs.
func NewPolicyNotes(fleet *Fleet, store policyStore, keyring *signing.Keyring, logger *slog.Logger) *PolicyNotes {
	p := &PolicyNotes{fleet: fleet, store: store, keyring: keyring, logger: logger}
	fleet.setMetadata(p.describe)
	return p
}

func (p *PolicyNotes) describe() metadata {
	told, err := p.tell()
	if err != nil {
		p.logger.Warn("the others are not told of a policy", "error", err)
	}
	return told
}

// tell is what there is to tell now.
func (p *PolicyNotes) tell() (told metadata, err error) {
	told = metadata{Library: p.fleet.config.Library}
	var errs [3]error
	if recent, found := p.store.Recent(); found {
		told.Recent, errs[0] = newNote(p.keyring, recentNoteContext, recent)
		if recent.Newest != nil {
			told.Policy, errs[1] = newNote(p.keyring, policyNoteContext, recent.Newest)
		}
	}
	if force, found := p.store.Force(); found {
		told.Force, errs[2] = newNote(p.keyring, forceNoteContext, force)
	}
	return told, errors.Join(errs[:]...)
}

// Run learns until ctx is done, and as the leader sees to it that what is known here is
// proclaimed: a bus may forget it, and a secret that it was signed with may go.
func (p *PolicyNotes) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.fleet.told.news:
			p.keep(ctx)
		}
	}
}

func (p *PolicyNotes) keep(ctx context.Context) {
	token, _ := p.fleet.lead()
	err := p.learnAll(ctx)
	if err == nil && p.fleet.Leads() && p.unproclaimed() {
		err = p.proclaim(ctx, token)
	}
	if err != nil {
		p.logger.Debug("policy of another instance not taken over, or own one not proclaimed", "error", err)
	}
	if err := p.store.Complete(ctx); err != nil {
		p.logger.Debug("policy in force not read", "error", err)
	}
}

// unproclaimed says whether there is something to tell that is not what was proclaimed last.
func (p *PolicyNotes) unproclaimed() bool {
	told, err := p.tell()
	if err != nil || told.Recent == nil && told.Force == nil {
		return false
	}
	note, err := encode(told)
	return err == nil && !bytes.Equal(note, p.fleet.told.heard())
}

// CatchUp learns all that the others have told, those that are gone by now, too. An error
// says that some of it could not be learned yet. What is accepted then is proclaimed with
// what it returns, if the lead still stands that it was learned under: it is where whoever leads
// next finds it. One of the release before looks among the notes of renewals alone.
func (p *PolicyNotes) CatchUp(ctx context.Context) (proclaim func(context.Context) error, err error) {
	token, _ := p.fleet.lead()
	if err := p.learnAll(ctx); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if err := p.proclaim(ctx, token); err != nil {
			return err
		}
		return p.fleet.Renew(ctx)
	}, nil
}

func (p *PolicyNotes) proclaim(ctx context.Context, token int64) error {
	p.proclaiming.Lock() // or an older note could be sent after a newer one
	defer p.proclaiming.Unlock()
	told, err := p.tell()
	if err != nil {
		return err
	}
	note, err := encode(told)
	if err != nil {
		return err
	}
	return p.fleet.proclaim(ctx, token, note)
}

func (p *PolicyNotes) learnAll(ctx context.Context) error {
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

// learn takes over which policies an instance knows of. One of the release before tells of the
// newest alone.
func (p *PolicyNotes) learn(from member) error {
	if from.name == p.fleet.config.Name {
		return nil
	}
	var learned journal.Recent
	switch {
	case from.Recent != nil:
		if err := from.Recent.open(p.keyring, recentNoteContext, &learned); err != nil {
			return err
		}
	case from.Policy != nil:
		if err := from.Policy.open(p.keyring, policyNoteContext, &learned.Newest); err != nil {
			return err
		}
	default:
		return nil
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
