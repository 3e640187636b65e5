package alerting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
)

const (
	// leadLife is how long the lead of who fell silent stands, beatPause the pause between two
	// signs of life, and watchPause that between two looks of the others.
	leadLife   = 3 * time.Second
	beatPause  = time.Second
	watchPause = 250 * time.Millisecond
	// savePause is the least pause between two writes of the state, and at most a saveShare of
	// the time is spent on them. That an alert has begun or ended is written at once, so that it
	// nearly always is before anybody is told. What was only counted is written after countPause,
	// or when mostUnsaved entries were judged.
	savePause   = 25 * time.Millisecond
	saveShare   = 10
	countPause  = 30 * time.Second
	mostUnsaved = 2000
	// together is how many entries are judged at a time.
	together = 500
)

// Store is where desks keep one truth; *runstore.Store is one.
type Store interface {
	Head() (int64, <-chan struct{})
	Lead(ctx context.Context) (runstore.Lead, error)
	TakeLead(ctx context.Context, seen runstore.Lead, holder string) (token int64, judged runstore.Judged, err error)
	LeaveLead(ctx context.Context, token int64) error
	Judged(ctx context.Context, known int64) (judged runstore.Judged, newer bool, err error)
	SaveJudged(ctx context.Context, token int64, judged *runstore.Judged) error
	SetAside(ctx context.Context, token int64) error
	Unjudged(ctx context.Context, after int64, most int) ([]runs.Unjudged, error)
	Wish(ctx context.Context, text string) (place int64, err error)
}

// seat is the place of a desk among those that share a store. One of them has the lead: it judges
// and tells, and the others show what it has written.
type seat struct {
	store Store

	// Of the goroutine that attends.
	look   look
	led    bool      // it has had the lead
	saved  time.Time // when the state was written last
	pause  time.Duration
	beaten time.Time // the last sign of life

	// Under the lock of the desk.
	token    int64     // 0: it has not the lead
	sure     time.Time // until then nobody else can have the lead
	caughtUp bool      // what lay there when it took the lead is judged
	version  int64     // of the state that is shown here
	place    int64     // up to which was judged what is shown here
	unsaved  int       // entries that were judged since the last write
}

// look is what was last seen of the lead, and since when it looks like that.
type look struct {
	runstore.Lead

	since time.Time
}

// next is the look at a lead now.
func (l look) next(seen runstore.Lead, now time.Time) look {
	if seen == l.Lead && !l.since.IsZero() {
		return l
	}
	return look{seen, now}
}

// free says that the lead may be taken: nobody has it, who has it gives no sign of life, or it was
// this desk's before it began anew.
func (l look) free(name string, led bool, now time.Time) bool {
	return l.Holder == "" || l.Holder == name && !led || now.Sub(l.since) >= leadLife
}

// Share has the desk share a store with others.
func (d *Desk) Share(store Store) { d.seat = &seat{store: store, version: -1} }

// judges says that this desk judges, and surely no other.
func (d *Desk) judges(now time.Time) bool {
	return d.seat == nil || d.seat.token != 0 && d.seat.caughtUp && now.Before(d.seat.sure)
}

// attend judges what comes, or watches who does, until ctx ends.
func (d *Desk) attend(ctx context.Context) {
	beat := time.NewTicker(watchPause)
	defer beat.Stop()
	failing := false
	for {
		_, came := d.seat.store.Head()
		step := d.judgeAll
		if d.seat.token == 0 {
			step, came = d.watch, nil
		}
		err := step(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			d.logger.Warn("alerts are not looked for while the store is away", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-came:
		case <-d.urgent:
		case <-beat.C:
		}
	}
}

// watch shows what another judges, and takes the lead when nobody does.
func (d *Desk) watch(ctx context.Context) error {
	s := d.seat
	now := time.Now()
	lead, err := s.store.Lead(ctx)
	if err != nil {
		s.look = look{} // an outage is no silence of who leads
		return err
	}
	s.look = s.look.next(lead, now)
	if s.look.free(d.config.Name, s.led, now) {
		return d.takeLead(ctx, now)
	}
	judged, newer, err := s.store.Judged(ctx, s.version)
	if err != nil || !newer {
		return err
	}
	b, err := d.open(judged)
	if err == nil {
		d.mu.Lock()
		d.books, s.version, s.place = b, judged.Version, judged.Place
		d.mu.Unlock()
	}
	return err
}

// open reads what was judged.
func (d *Desk) open(judged runstore.Judged) (*books, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.booksOf(judged.State)
}

// takeLead begins to judge where the last who did has left off. What it has written and nobody can
// read is set aside.
func (d *Desk) takeLead(ctx context.Context, now time.Time) error {
	s := d.seat
	token, judged, err := s.store.TakeLead(ctx, s.look.Lead, d.config.Name)
	if errors.Is(err, runstore.ErrDeposed) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := d.open(judged)
	if err != nil {
		d.logger.Error("what was known of the alerts cannot be read: it is set aside, and all alerts begin anew", "error", err)
		if err := s.store.SetAside(ctx, token); err != nil {
			return err
		}
		if b, err = d.open(runstore.Judged{}); err != nil {
			return err
		}
	}
	d.logger.Info("alerts are judged here", "token", token, "before", s.look.Holder)
	s.led, s.beaten, s.saved, s.pause = true, now, now, savePause
	d.mu.Lock()
	d.books, s.version, s.place = b, judged.Version, judged.Place
	s.token, s.sure, s.caughtUp, s.unsaved = token, now.Add(leadLife), false, 0
	d.mu.Unlock()
	return d.judgeAll(ctx)
}

// judgeAll judges what lies in the store, and writes what became of it.
func (d *Desk) judgeAll(ctx context.Context) error {
	for {
		entries, err := d.seat.store.Unjudged(ctx, d.seat.place, together)
		if err != nil {
			return err
		}
		d.mu.Lock()
		for i := range entries {
			if err := d.take(entries[i].Body, time.Now()); err != nil {
				d.logger.Warn("something is not judged", "place", entries[i].Seq, "error", err)
			}
			d.seat.place = entries[i].Seq
		}
		d.seat.unsaved += len(entries)
		d.seat.caughtUp = d.seat.caughtUp || len(entries) < together
		d.mu.Unlock()
		if err := d.write(ctx); err != nil || d.seat.token == 0 || len(entries) < together {
			return err
		}
	}
}

// write writes the state when it is time to, and gives a sign of life.
func (d *Desk) write(ctx context.Context) error {
	s, now := d.seat, time.Now()
	d.mu.Lock()
	due := d.unsaved && now.Sub(s.saved) >= s.pause || s.unsaved >= mostUnsaved || s.unsaved > 0 && now.Sub(s.saved) >= countPause
	d.mu.Unlock()
	if due {
		return d.save(ctx)
	}
	if now.Sub(s.beaten) < beatPause {
		return nil
	}
	return d.held(s.store.SaveJudged(ctx, s.token, nil), now)
}

// save writes the state.
func (d *Desk) save(ctx context.Context) error {
	s, now := d.seat, time.Now()
	d.mu.Lock()
	kept, place := d.kept(), s.place
	d.unsaved, s.unsaved = false, 0
	d.mu.Unlock()
	text, err := json.Marshal(kept)
	if err == nil {
		judged := &runstore.Judged{Version: s.version + 1, Place: place, State: string(text)}
		err = d.held(s.store.SaveJudged(ctx, s.token, judged), now)
	}
	s.saved = time.Now()
	s.pause = max(savePause, saveShare*s.saved.Sub(now))
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.unsaved = true
		d.figures.unkept.Inc()
		return fmt.Errorf("keep the state of the alerts: %w", err)
	}
	if s.token != 0 {
		s.version++
	}
	return nil
}

// held is what a write under the lead comes to: one that was made proves that nobody else had it
// when it was begun. Who is deposed shows what the other has written.
func (d *Desk) held(err error, begun time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.seat
	switch {
	case err == nil:
		s.beaten, s.sure = begun, begun.Add(leadLife)
	case errors.Is(err, runstore.ErrDeposed):
		d.logger.Info("alerts are judged elsewhere", "token", s.token)
		s.token, s.version, s.look = 0, -1, look{}
		err = nil
	}
	return err
}

// leave writes the state, and leaves the lead to another.
func (d *Desk) leave(ctx context.Context) {
	if d.seat == nil || d.seat.token == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	err := d.save(ctx)
	if err == nil && d.seat.token != 0 {
		err = d.seat.store.LeaveLead(ctx, d.seat.token)
	}
	d.mu.Lock()
	d.seat.token, d.seat.led = 0, false
	d.mu.Unlock()
	if err != nil {
		d.logger.Warn("the lead of the alerts is not left: another takes it when it ends", "error", err)
	}
}
