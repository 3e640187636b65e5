package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
)

// errFollows: this instance does not lead, or no more.
var errFollows = errors.New("this instance does not lead")

// setToken notes a change of our lead.
func (f *Fleet) setToken(token int64) {
	if token == f.token {
		return
	}
	if token != 0 {
		f.takeovers++
	}
	f.config.Logger.Info("leadership", "leads", token != 0, "token", token, "leader", f.leader)
	f.token = token
	close(f.changed)
	f.changed = make(chan struct{})
}

// lead is the token of our lead, 0 without one, and the end of that state.
func (f *Fleet) lead() (token int64, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.token, f.changed
}

// Leads reports whether this instance leads.
func (f *Fleet) Leads() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.token != 0 && f.holds(time.Now())
}

// HoldLead returns nil while this instance leads. As Hold it waits while it cannot know.
func (f *Fleet) HoldLead(ctx context.Context) error {
	if err := f.Hold(ctx); err != nil {
		return err
	}
	if !f.Leads() {
		return errFollows
	}
	return nil
}

// Confirm asks the bus whether our lead still stands: to be asked before a
// write that would undo one of our successor.
func (f *Fleet) Confirm(ctx context.Context) error {
	token, _ := f.lead()
	if held, err := f.config.Lease.Confirm(ctx, token); err != nil || held {
		return err
	}
	return fmt.Errorf("lead with token %d is over", token)
}

// proclaim leaves a note for whoever leads next, if the lead of a token still stands.
func (f *Fleet) proclaim(ctx context.Context, token int64, note []byte) error {
	if token == 0 {
		return errFollows
	}
	if held, err := f.config.Lease.Proclaim(ctx, token, note); err != nil || held {
		return err
	}
	return fmt.Errorf("lead with token %d is over", token)
}

// WhileLeader makes a worker that does its work only while this instance
// leads. At a stop work outlives ctx until what is in hand is done; at the end of the lead both
// end. Between two leads the worker is ready.
func (f *Fleet) WhileLeader(run func(ctx, work context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for ctx.Err() == nil {
			token, changed := f.lead()
			if token != 0 {
				if err := runWhileLeader(ctx, changed, run); err != nil {
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

// runWhileLeader runs until the lead is lost or ctx is done.
func runWhileLeader(ctx context.Context, lost <-chan struct{}, run func(ctx, work context.Context) error) error {
	leading, end := context.WithCancel(ctx)
	defer end()
	work, endWork := context.WithCancel(supervise.Work(ctx))
	defer endWork()
	var watching sync.WaitGroup
	defer watching.Wait()
	over := make(chan struct{})
	defer close(over)
	watching.Go(func() {
		select {
		case <-lost:
			end()
			endWork()
		case <-over:
		}
	})
	if err := run(leading, work); err != nil {
		return err
	}
	<-leading.Done()
	return nil
}
