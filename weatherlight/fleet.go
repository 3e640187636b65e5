package weatherlight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/oona/lease"
	"github.com/esper-lite/weatherlight/supervise"
)

const (
	// leaseTTL is how long an instance that fell silent still counts, and still
	// leads: with the beat it bounds how long nobody leads.
	leaseTTL  = 3 * time.Second
	leaseBeat = 500 * time.Millisecond
	// leadBeat is the pause of a leader whose lease was just renewed: nobody waits
	// for the lead of one who has it.
	leadBeat = time.Second
)

// fleetNote is what an instance tells the others of itself.
type fleetNote struct {
	Library string      `json:"library,omitempty"` // which kernel library it works on
	Policy  *policyNote `json:"policy,omitempty"`  // in force as far as it knows, none before the first
}

// fleetMember is a live instance.
type fleetMember struct {
	name string
	fleetNote
}

// roster is the lease as the fleet needs it.
type roster interface {
	Renew(ctx context.Context, note []byte) (lease.Roll, error)
	Confirm(ctx context.Context, token int64) (bool, error)
	Release(ctx context.Context) error
}

// fleet is this instance's view of the instances on the bus: who lives, on which
// library and policy they work, and which of them leads. The leader does the jobs that are to be
// done once.
type fleet struct {
	self   string
	lease  roster
	logger *slog.Logger
	rhythm cadence.Phase

	// departed, when set, hears of an instance that is no longer on the roll.
	departed func(name string)

	beating   sync.Mutex // one beat at a time, or an older roll could be seen last
	mu        sync.Mutex
	describe  func() fleetNote
	heed      func([]fleetMember)
	members   []fleetMember
	leader    string
	token     int64         // of our lead; 0: another leads, or we do not know
	until     time.Time     // our lead holds no longer without another beat
	changed   chan struct{} // closed when we begin or cease to lead
	takeovers int64
	failures  int64
	absence
}

func newFleet(self string, lease roster, library string, logger *slog.Logger) *fleet {
	return &fleet{
		self: self, lease: lease, logger: logger,
		describe: func() fleetNote { return fleetNote{Library: library} },
		heed:     func([]fleetMember) {},
		changed:  make(chan struct{}),
	}
}

func names(members []fleetMember) []string {
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = m.name
	}
	return list
}

// join takes a place in the fleet. A name that a process before us left behind
// comes free when its lease ends, so that is waited for.
func (f *fleet) join(ctx context.Context) error {
	deadline := time.Now().Add(leaseTTL + leaseBeat)
	for {
		err := f.beat(ctx)
		if !errors.Is(err, lease.ErrNameTaken) || time.Now().After(deadline) {
			return err
		}
		if !cadence.Sleep(ctx, leaseBeat) {
			return err
		}
	}
}

// Run keeps the place until ctx is done. A bus that is down costs the lead and
// nothing else: this worker goes on.
func (f *fleet) Run(ctx context.Context) error {
	pause := leaseBeat
	for cadence.Sleep(ctx, f.rhythm.Until(pause)) {
		err := f.beat(ctx)
		pause = leaseBeat
		if err != nil && ctx.Err() == nil {
			f.logger.Debug("lease not renewed", "error", err)
		} else if f.leads() {
			pause = leadBeat
		}
	}
	return nil
}

// beat renews the lease once, and tells the others what there is to tell now.
func (f *fleet) beat(ctx context.Context) error {
	f.beating.Lock()
	defer f.beating.Unlock()
	sent := time.Now()
	ctx, cancel := context.WithDeadline(ctx, f.patience(sent))
	defer cancel()
	note, err := json.Marshal(f.note())
	if err != nil {
		return fmt.Errorf("describe this instance: %w", err)
	}
	roll, err := f.lease.Renew(ctx, note)
	if err != nil {
		f.missed(time.Now())
		return err
	}
	f.see(roll, sent, time.Now())
	return nil
}

// patience is until when a beat may take: a leader that hears nothing must not
// lead for longer than the others wait.
func (f *fleet) patience(now time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.token != 0 && f.until.After(now) {
		return f.until
	}
	return now.Add(leaseTTL)
}

func (f *fleet) note() fleetNote {
	f.mu.Lock()
	describe := f.describe
	f.mu.Unlock()
	return describe()
}

// tell changes what the next beats say of this instance, and who hears what the
// others say.
func (f *fleet) tell(describe func() fleetNote, heed func([]fleetMember)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.describe, f.heed = describe, heed
}

// missed ends a lead that could not be renewed in time.
func (f *fleet) missed(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures++
	f.interrupted = true
	if f.token != 0 && !now.Before(f.until) {
		f.setToken(0)
	}
}

func (f *fleet) see(roll lease.Roll, sent, answered time.Time) {
	members := make([]fleetMember, 0, len(roll.Members))
	for _, m := range roll.Members {
		member := fleetMember{name: m.Name}
		if err := json.Unmarshal(m.Note, &member.fleetNote); err != nil {
			f.logger.Debug("note of an instance cannot be read", "instance", m.Name, "error", err)
		}
		members = append(members, member)
	}
	f.mu.Lock()
	gone := f.gone(names(f.members), names(members), answered)
	f.members, f.leader, f.until = members, roll.Leader, sent.Add(leaseTTL)
	f.setToken(roll.Token)
	heed := f.heed
	f.mu.Unlock()
	heed(members)
	for _, name := range gone {
		f.bury(name)
	}
}

func (f *fleet) bury(name string) {
	f.logger.Info("instance is gone", "instance", name)
	if f.departed != nil && name != f.self {
		f.departed(name)
	}
}

// setToken notes a change of our lead.
func (f *fleet) setToken(token int64) {
	if token == f.token {
		return
	}
	if token != 0 {
		f.takeovers++
	}
	f.logger.Info("leadership", "leads", token != 0, "token", token, "leader", f.leader)
	f.token = token
	close(f.changed)
	f.changed = make(chan struct{})
}

// lead is the token of our lead, 0 without one, and the end of that state.
func (f *fleet) lead() (token int64, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.token, f.changed
}

func (f *fleet) leads() bool {
	token, _ := f.lead()
	return token != 0
}

// confirm asks the bus whether our lead still stands: to be asked before a
// write that would undo one of our successor.
func (f *fleet) confirm(ctx context.Context) error {
	token, _ := f.lead()
	if held, err := f.lease.Confirm(ctx, token); err != nil || held {
		return err
	}
	return fmt.Errorf("lead with token %d is over", token)
}

// leave gives the place and the lead up.
func (f *fleet) leave(ctx context.Context) error {
	f.mu.Lock()
	f.setToken(0)
	f.mu.Unlock()
	return f.lease.Release(ctx)
}

// whileLeading makes a worker that does its work only while this instance
// leads: the context of run ends with the lead. Between two leads it is ready.
func (f *fleet) whileLeading(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for ctx.Err() == nil {
			token, changed := f.lead()
			if token != 0 {
				if err := reign(ctx, changed, run); err != nil {
					return err
				}
				continue
			}
			supervise.Ready(ctx)
			select {
			case <-ctx.Done():
			case <-changed:
			}
		}
		return nil
	}
}

// reign runs until the lead is lost or ctx is done.
func reign(ctx context.Context, lost <-chan struct{}, run func(context.Context) error) error {
	leading, end := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-lost:
			end()
		case <-leading.Done():
		}
	})
	defer watching.Wait()
	defer end()
	if err := run(leading); err != nil {
		return err
	}
	<-leading.Done()
	return nil
}

// keeps reports whether this instance looks after a kernel library: of those
// that work on it the leader, or else the first by name.
func (f *fleet) keeps(library string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	keeper := ""
	for _, m := range f.members {
		if m.Library == library && (keeper == "" || m.name == f.leader) {
			keeper = m.name
		}
	}
	return keeper == "" || keeper == f.self
}
