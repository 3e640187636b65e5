package weatherlight

import (
	"errors"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/weatherlight/internal/storewatch"
)

const (
	// vainMost is how often stores may be told of for nothing within vainSpan: less
	// often than the segment would be looked at.
	vainMost = 50
	vainSpan = time.Second
)

// errToldInVain says why the stores of a writer are not told of any more.
var errToldInVain = fmt.Errorf("more than %d stores in %v raised nothing", vainMost, vainSpan)

// toldInVain says that something was told of, and nothing was raised. A writer that
// goes on like that costs less when it is polled.
func (w *writers) toldInVain(now time.Time) {
	if w.stores != nil && w.vain.tooOften(now) {
		w.silent, w.crowded = true, true
	}
}

// vain counts what was told for nothing.
type vain struct {
	since time.Time
	count int
}

func (v *vain) tooOften(now time.Time) bool {
	if now.Sub(v.since) >= vainSpan {
		*v = vain{since: now}
	}
	v.count++
	return v.count > vainMost
}

// findStores has the processor tell of stores, once those who make them are
// found.
func (s *segment) findStores(now time.Time) error {
	w := &s.writers
	found := w.hunt.step(now, storewatch.File{Device: s.device, Inode: s.inode})
	if found == nil {
		return nil
	}
	if err := s.bell.tellStores(w.watch, found); err != nil {
		return errors.Join(err, found.Close())
	}
	w.stores, w.silent = found, false
	return nil
}

// reconsiderStores forgets them when there is a reason.
func (s *segment) reconsiderStores(now time.Time) error {
	w := &s.writers
	if !w.stale && !w.crowded {
		return nil
	}
	crowded := w.crowded
	err := s.forgetStores()
	if crowded {
		w.hunt.rest(now, errToldInVain)
	}
	return err
}

// forgetStores stops to tell of stores, and to hunt.
func (s *segment) forgetStores() error {
	w := &s.writers
	err := w.hunt.end()
	if w.stores != nil {
		s.bell.silenceStores(w.watch)
		err = errors.Join(err, w.stores.Close())
		w.stores = nil
	}
	w.stale, w.crowded, w.vain = false, false, vain{}
	return err
}
