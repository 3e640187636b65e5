package weatherlight

import (
	"errors"
	"fmt"
	"time"
)

const (
	// toldMost is how often stores may be told of within toldSpan: more than a trainer
	// that raises signals has to tell, and beyond it polling costs much less.
	toldMost = 500
	toldSpan = time.Second
)

// errTooOften says why the stores of a writer are not told of any more.
var errTooOften = fmt.Errorf("more than %d stores in %v", toldMost, toldSpan)

// rate counts what happens within a span of time.
type rate struct {
	since time.Time
	count int
}

func (r *rate) tooOften(now time.Time) bool {
	if now.Sub(r.since) >= toldSpan {
		*r = rate{since: now}
	}
	r.count++
	return r.count > toldMost
}

// findStores has the processor tell of stores, once those who make them are
// found.
func (s *segment) findStores(now time.Time) error {
	w := &s.writers
	found, failure := w.hunt.step(now, s.hunts)
	if failure != nil {
		w.why = failure
	}
	if found == nil {
		return nil
	}
	if err := s.bell.tellStores(w.watch, found); err != nil {
		return errors.Join(err, found.Close())
	}
	w.stores, w.heard, w.why = found, heardStores, nil
	return nil
}

// reconsiderStores begins anew when who stores, or how often, has changed.
func (s *segment) reconsiderStores(now time.Time) error {
	w := &s.writers
	if !w.doubted {
		return nil
	}
	err := s.forgetStores()
	if w.rests {
		w.hunt.rest(now)
	}
	w.doubted, w.rests = false, false
	return err
}

// wasStored asks the processor whether there was a store since the last question:
// it may be on its way to be told.
func (s *segment) wasStored() bool { return s.writers.stores != nil && s.writers.stores.Counted() }

// forgetStores stops to tell of stores, and to hunt.
func (s *segment) forgetStores() error {
	w := &s.writers
	w.hunt.end()
	if w.stores == nil {
		return nil
	}
	s.bell.silenceStores(w.watch)
	err := w.stores.Close()
	w.stores, w.told = nil, rate{}
	return err
}
