// Package fleet is the instances that share a bus, as one of them sees them.
//
// A [Fleet] keeps this instance's place among them by a lease: it knows who lives, which of
// them leads and who looks after a kernel library, and detects who has died. [PolicyNotes]
// tell the others which policies were accepted last and which are in force, and learn it from
// them. The service runs both; what is to be done once asks the Fleet.
package fleet

import (
	"cmp"
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
	// TTL is how long an instance that fell silent still counts, and still
	// leads: with the pause between renewals it bounds how long nobody leads.
	TTL = 3 * time.Second
	// renewal is the pause between two renewals of the lease.
	renewal = 500 * time.Millisecond
	// leaderRenewal is the pause of a leader whose lease was just renewed: nobody waits
	// for the lead of one who has it.
	leaderRenewal = time.Second
)

// errSilent: the lease ran out before a renewal was answered.
var errSilent = errors.New("lease not renewed in time")

// metadata is what an instance tells the others of itself.
type metadata struct {
	Library string      `json:"library,omitempty"` // which kernel library it works on
	Policy  *policyNote `json:"policy,omitempty"`  // the newest that it knows of, none before the first
	Recent  *policyNote `json:"recent,omitempty"`  // the same and those beside it, none before the first
	Force   *policyNote `json:"force,omitempty"`   // which are in force, none before the first
}

func encode(told metadata) ([]byte, error) {
	note, err := json.Marshal(told)
	if err != nil {
		return nil, fmt.Errorf("describe this instance: %w", err)
	}
	return note, nil
}

// member is a live instance.
type member struct {
	name string
	metadata
}

// membership is a place among the instances; *lease.Lease is one.
type membership interface {
	// Renew tells the others a note, and returns what they tell.
	Renew(ctx context.Context, note []byte) (lease.Roll, error)
	// Confirm reports whether a lead still stands.
	Confirm(ctx context.Context, token int64) (bool, error)
	// Proclaim leaves a note for whoever leads next, while a lead still stands.
	Proclaim(ctx context.Context, token int64, note []byte) (bool, error)
	Release(ctx context.Context) error
}

// Config is what a Fleet is made from.
type Config struct {
	Name    string     // of this instance
	Library string     // the kernel library that it works on
	Lease   membership // that ends TTL after its last renewal
	// Departed hears of another instance that has died, and for how long at least it has been
	// silent.
	Departed func(name string, silent time.Duration)
	Clock    cadence.Clock
	Logger   *slog.Logger
}

// Fleet is this instance's view of the instances on the bus: who lives, on which
// library and policy they work, and which of them leads. The leader does the jobs that are to be
// done once.
type Fleet struct {
	config Config
	told   *inbox

	renewing  sync.Mutex // one renewal at a time, or older members could be seen last
	mu        sync.Mutex
	describe  func() metadata
	members   []member
	leader    string
	token     int64         // of our lead; 0: another leads, or we do not know
	until     time.Time     // our place and our lead hold no longer without another renewal
	changed   chan struct{} // closed when we begin or cease to lead
	tried     chan struct{} // closed when a renewal has ended
	failure   error         // of the last renewal
	takeovers int64
	failures  int64
	failureDetector
}

// New has no place yet.
func New(config Config) *Fleet {
	return &Fleet{
		config: config, told: newInbox(), changed: make(chan struct{}), tried: make(chan struct{}),
		describe: func() metadata { return metadata{Library: config.Library} },
	}
}

func names(members []member) []string {
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = m.name
	}
	return list
}

// Join takes a place in the fleet. A name that a process before us left behind comes free
// when its lease ends, and so does a lead under a secret that is no longer in use: that is
// waited for. A name that is in use by another is lease.ErrNameTaken, a secret that is not
// that of the others lease.ErrStranger.
func (f *Fleet) Join(ctx context.Context) error {
	deadline := time.Now().Add(TTL + renewal)
	for {
		err := f.Renew(ctx)
		ends := errors.Is(err, lease.ErrNameTaken) || errors.Is(err, lease.ErrStranger)
		if !ends || time.Now().After(deadline) {
			return err
		}
		if !cadence.Sleep(ctx, renewal) {
			return err
		}
	}
}

// Run keeps the place until ctx is done. A bus that is down costs the lead and
// nothing else: this worker goes on. Once another has the name the process cannot: it
// was stopped for longer than its lease, and what it is about to do is the other's. One of
// its own identity keeps it from its place, and it waits until that has gone: were it to
// end, whoever starts it again would have the two displace each other.
func (f *Fleet) Run(ctx context.Context) error {
	pause := renewal
	for cadence.Sleep(ctx, f.config.Clock.Until(pause)) {
		err := f.Renew(ctx)
		pause = renewal
		if errors.Is(err, lease.ErrNameTaken) {
			f.config.Logger.Error("another instance has taken this one's name while it was stopped: it touches nothing any more",
				"instance", f.config.Name)
			return supervise.Fatal(err)
		}
		if err != nil && ctx.Err() == nil {
			f.config.Logger.Debug("lease not renewed", "error", err)
		} else if f.Leads() {
			pause = leaderRenewal
		}
	}
	return nil
}

// Renew renews the lease once, and tells the others what there is to tell now.
func (f *Fleet) Renew(ctx context.Context) error {
	f.renewing.Lock()
	defer f.renewing.Unlock()
	sent := time.Now()
	ctx, cancel := context.WithDeadline(ctx, f.patience(sent))
	defer cancel()
	f.mu.Lock()
	describe := f.describe
	f.mu.Unlock()
	note, err := encode(describe())
	if err != nil {
		return err
	}
	roll, err := f.config.Lease.Renew(ctx, note)
	if errors.Is(err, lease.ErrDisplaced) {
		err = fmt.Errorf("another process runs from a copy of this one's data folder, or from the folder without its lock: %w", err)
	}
	if err != nil {
		f.missed(err, time.Now())
		return err
	}
	f.see(roll, sent, time.Now())
	return nil
}

// patience is until when a renewal may take: a leader that hears nothing must not
// lead for longer than the others wait.
func (f *Fleet) patience(now time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.token != 0 && f.until.After(now) {
		return f.until
	}
	return now.Add(TTL)
}

// setMetadata changes what the next renewals say of this instance.
func (f *Fleet) setMetadata(describe func() metadata) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.describe = describe
}

// missed ends a lead that could not be renewed in time.
func (f *Fleet) missed(err error, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures++
	f.interrupted = true
	f.ended(err)
	if errors.Is(err, lease.ErrNameTaken) || errors.Is(err, lease.ErrDisplaced) || errors.Is(err, lease.ErrStranger) {
		f.until = time.Time{} // it is not ours any more, whatever time it had left
	}
	if f.token != 0 && !now.Before(f.until) {
		f.setToken(0)
	}
}

func (f *Fleet) see(roll lease.Roll, sent, answered time.Time) {
	members := make([]member, 0, len(roll.Members))
	for _, m := range roll.Members {
		members = append(members, member{name: m.Name, metadata: f.read(m.Name, m.Note)})
	}
	// Before it can be known that we lead: whoever begins to must find what was told before.
	f.told.put(members, roll.Proclaimed, f.read("", roll.Proclaimed))
	f.mu.Lock()
	dead := f.detect(names(f.members), names(members), answered)
	f.members, f.leader, f.until = members, roll.Leader, sent.Add(TTL)
	f.setToken(roll.Token)
	f.ended(nil)
	f.mu.Unlock()
	for _, name := range dead {
		f.config.Logger.Info("instance is gone", "instance", name)
		if name != f.config.Name {
			// It was last alive a renewal before its lease began to run out.
			f.config.Departed(name, TTL-leaderRenewal)
		}
	}
}

// read is what a note says, as far as it can be read.
func (f *Fleet) read(name string, note []byte) (told metadata) {
	if len(note) == 0 {
		return told
	}
	if err := json.Unmarshal(note, &told); err != nil {
		f.config.Logger.Debug("note of an instance cannot be read", "instance", name, "error", err)
	}
	return told
}

// ended tells whoever waits for it what came of a renewal. The caller holds mu.
func (f *Fleet) ended(err error) {
	f.failure = err
	close(f.tried)
	f.tried = make(chan struct{})
}

// holds reports whether the place is still ours at a time, without another renewal. Both
// clocks must say so: one stands still while the machine sleeps, the other may be set.
// The caller holds mu.
func (f *Fleet) holds(now time.Time) bool {
	return now.Before(f.until) && now.Round(0).Before(f.until.Round(0))
}

// Hold returns nil while this instance has its place among the others. When it may have
// lost it, as after it was stopped, it waits for what comes of the next renewal. To be
// asked before anything is taken in or committed under this instance's name.
func (f *Fleet) Hold(ctx context.Context) error {
	for {
		f.mu.Lock()
		held, tried := f.holds(time.Now()), f.tried
		f.mu.Unlock()
		if held {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tried:
		}
		// A renewal that was answered late is of a place that is over by now.
		f.mu.Lock()
		failure := f.failure
		f.mu.Unlock()
		if failure != nil {
			return fmt.Errorf("no place among the instances: %w", failure)
		}
	}
}

// Trouble is why this instance has no place among the others, nil when it has one: that a
// stranger leads, which is a lease.ErrStranger, or that its lease was not renewed.
func (f *Fleet) Trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.holds(time.Now()) {
		return nil
	}
	return cmp.Or(f.failure, errSilent)
}

// Leave gives the place and the lead up.
func (f *Fleet) Leave(ctx context.Context) error {
	f.mu.Lock()
	f.setToken(0)
	f.mu.Unlock()
	return f.config.Lease.Release(ctx)
}

// KeepsLibrary reports whether this instance looks after its kernel library: of those
// that work on it the leader, or else the first by name.
func (f *Fleet) KeepsLibrary() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	keeper := ""
	for _, m := range f.members {
		if m.Library == f.config.Library && (keeper == "" || m.name == f.leader) {
			keeper = m.name
		}
	}
	return keeper == "" || keeper == f.config.Name
}
