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
	// savePause is the least pause between two writes of the state; it is longer for one that takes
	// long to make up, of which a saveShare-th of the time is spent on it. That an alert has begun or
	// ended is written at once, so that it nearly always is before anybody is told. What was only
	// counted is written after countPause, or when mostUnsaved entries were judged.
	savePause   = 25 * time.Millisecond
	saveShare   = 10
	countPause  = 30 * time.Second
	mostUnsaved = 2000
	// grantTimeout bounds the wait until all see that what somebody wants is granted; it is in
	// the store by then, and will be. heardTimeout is that for what another desk may have shown.
	grantTimeout = 5 * time.Second
	heardTimeout = time.Second
	grantPause   = 10 * time.Millisecond
)

// Store is where desks keep one truth; *runstore.Journal is one.
type Store interface {
	Head() (int64, <-chan struct{})
	Lead(ctx context.Context) (runstore.Lead, error)
	TakeLead(ctx context.Context, seen runstore.Lead, holder string) (token int64, judged runstore.Judged, err error)
	LeaveLead(ctx context.Context, token int64) error
	Judged(ctx context.Context, known int64) (judged runstore.Judged, newer bool, err error)
	SaveJudged(ctx context.Context, token int64, judged *runstore.Judged) error
	SetAside(ctx context.Context, token int64) error
	Unjudged(ctx context.Context, after int64) (entries []runs.Unjudged, more bool, err error)
	Wish(ctx context.Context, wish runs.Message) (place int64, err error)
}

// seat is the place of a desk among those that share a store. One of them has the lead: it judges
// and tells, and the others show what it has written.
type seat struct {
	desk  *Desk
	store Store

	// Of the goroutine that attends.
	look   runstore.Sighting[runstore.Lead]
	led    bool      // it has had the lead
	saved  time.Time // when the state was written last
	pause  time.Duration
	beaten time.Time // the last sign of life

	// Under the lock of the desk.
	token    int64     // 0: it has not the lead
	sure     time.Time // until then nobody else can have the lead
	caughtUp bool      // what lay there when it took the lead is judged
	behind   bool      // more lies there than could be judged at once
	version  int64     // of the state that is shown here
	place    int64     // up to which was judged what is shown here
	unsaved  int       // entries that were judged since the last write
	written  int64     // the place up to which all can see what was judged
}

// free says that the lead may be taken: nobody has it, who has it gives no sign of life, or it was
// this desk's before it began anew.
func (s *seat) free(now time.Time) bool {
	holder := s.look.Beat.Holder
	return holder == "" || holder == s.desk.config.Name && !s.led || now.Sub(s.look.Since) >= leadLife
}

// Share has the desk share a store with others.
func (d *Desk) Share(store Store) { d.seat = &seat{desk: d, store: store, version: -1} }

// judges says that this desk judges, and surely no other.
func (d *Desk) judges() bool {
	return d.seat == nil || d.seat.token != 0 && d.seat.caughtUp && time.Now().Before(d.seat.sure)
}

// attend judges what comes, or watches who does, until ctx ends.
func (s *seat) attend(ctx context.Context) {
	beat := time.NewTicker(watchPause)
	defer beat.Stop()
	failing := false
	for {
		_, came := s.store.Head()
		step := s.judgeAll
		if s.token == 0 {
			step, came = s.watch, nil
		}
		err := step(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			s.desk.logger.Warn("alerts wait for the store", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-came:
		case <-s.desk.urgent:
		case <-beat.C:
		}
	}
}

// watch shows what another judges, and takes the lead when nobody does.
func (s *seat) watch(ctx context.Context) error {
	now := time.Now()
	lead, err := s.store.Lead(ctx)
	if err != nil {
		s.look = runstore.Sighting[runstore.Lead]{} // an outage is no silence of who leads
		return err
	}
	s.look = s.look.Next(lead, now)
	if s.free(now) {
		return s.takeLead(ctx, now)
	}
	judged, newer, err := s.store.Judged(ctx, s.version)
	if err != nil || !newer {
		return err
	}
	return s.adopt(judged)
}

// adopt shows what was judged.
func (s *seat) adopt(judged runstore.Judged) error {
	s.desk.mu.Lock()
	defer s.desk.mu.Unlock()
	b, err := s.desk.booksOf(judged.State)
	if err == nil {
		s.desk.books, s.version, s.place, s.written = b, judged.Version, judged.Place, judged.Place
	}
	return err
}

// takeLead begins to judge where the last who did has left off. What it has written and nobody can
// read is set aside.
func (s *seat) takeLead(ctx context.Context, now time.Time) error {
	token, judged, err := s.store.TakeLead(ctx, s.look.Beat, s.desk.config.Name)
	if errors.Is(err, runstore.ErrDeposed) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.adopt(judged); err != nil {
		s.desk.logger.Error("what was known of the alerts cannot be read: it is set aside, and all alerts begin anew", "error", err)
		err = s.store.SetAside(ctx, token)
		if judged.State = ""; err == nil {
			err = s.adopt(judged)
		}
		if err != nil {
			return err
		}
	}
	s.desk.logger.Info("alerts are judged here", "token", token, "before", s.look.Beat.Holder)
	s.led, s.beaten, s.saved, s.pause = true, now, now, savePause
	s.desk.mu.Lock()
	s.token, s.sure, s.caughtUp, s.unsaved = token, now.Add(leadLife), false, 0
	s.desk.settle(s.desk.now())
	s.desk.mu.Unlock()
	return s.judgeAll(ctx)
}

// judgeAll judges what lies in the store, and writes what became of it.
func (s *seat) judgeAll(ctx context.Context) error {
	for {
		entries, more, err := s.store.Unjudged(ctx, s.place)
		if err != nil {
			return err
		}
		s.desk.mu.Lock()
		for i := range entries {
			if err := s.desk.take(entries[i].Body, s.desk.now()); err != nil {
				s.desk.logger.Warn("something is not judged", "place", entries[i].Seq, "error", err)
			}
			s.place = entries[i].Seq
		}
		s.unsaved += len(entries)
		s.caughtUp, s.behind = s.caughtUp || !more, more
		s.desk.mu.Unlock()
		if err := s.write(ctx); err != nil || s.token == 0 || !more {
			return err
		}
	}
}

// write writes the state when it is time to, and gives a sign of life.
func (s *seat) write(ctx context.Context) error {
	now := time.Now()
	s.desk.mu.Lock()
	due := s.desk.unsaved && now.Sub(s.saved) >= s.pause || s.unsaved >= mostUnsaved || s.unsaved > 0 && now.Sub(s.saved) >= countPause
	s.desk.mu.Unlock()
	if due {
		return s.save(ctx)
	}
	if now.Sub(s.beaten) < beatPause {
		return nil
	}
	return s.held(s.store.SaveJudged(ctx, s.token, nil), now)
}

// save writes the state.
func (s *seat) save(ctx context.Context) error {
	d, now := s.desk, time.Now()
	d.mu.Lock()
	s.version++ // also when nobody knows whether it was written
	kept, judged := d.kept(), runstore.Judged{Version: s.version, Place: s.place}
	d.unsaved, s.unsaved = false, 0
	d.mu.Unlock()
	text, err := json.Marshal(kept)
	s.pause = max(savePause, saveShare*time.Since(now))
	if judged.State = string(text); err == nil {
		err = s.held(s.store.SaveJudged(ctx, s.token, &judged), now)
	}
	s.saved = time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && s.token != 0 {
		s.written = judged.Place
	}
	if err == nil {
		return nil
	}
	d.figures.unkept.Inc()
	d.unsaved = true
	return fmt.Errorf("keep the state of the alerts: %w", err)
}

// held is what a write under the lead comes to: one that was made proves that nobody else had it
// when it was begun. Who is deposed shows what the other has written.
func (s *seat) held(err error, begun time.Time) error {
	s.desk.mu.Lock()
	defer s.desk.mu.Unlock()
	switch {
	case err == nil:
		s.beaten, s.sure = begun, begun.Add(leadLife)
	case errors.Is(err, runstore.ErrDeposed):
		s.desk.logger.Info("alerts are judged elsewhere", "token", s.token)
		s.token, s.version, s.look = 0, -1, runstore.Sighting[runstore.Lead]{}
		err = nil
	}
	return err
}

// leave writes the state, and leaves the lead to another.
func (s *seat) leave(ctx context.Context) {
	if s.token == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	err := s.save(ctx)
	if err == nil && s.token != 0 {
		err = s.store.LeaveLead(ctx, s.token)
	}
	s.desk.mu.Lock()
	s.token, s.led = 0, false
	s.desk.mu.Unlock()
	if err != nil {
		s.desk.logger.Warn("the lead of the alerts is not left: another takes it when it ends", "error", err)
	}
}

// await waits, for a while, until something holds that is looked at under the lock of the desk.
func (s *seat) await(ctx context.Context, patience time.Duration, holds func() bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	look := time.NewTicker(grantPause)
	defer look.Stop()
	for {
		s.desk.mu.Lock()
		is := holds()
		s.desk.mu.Unlock()
		if is {
			return
		}
		nudge(s.desk.urgent)
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}
