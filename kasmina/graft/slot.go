package graft

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
)

// Slot is one place of the network where seeds grow, one behind the other in
// the order of their attachment.
type Slot struct {
	graft   *Graft
	name    string
	index   int
	shape   shape
	seeds   []*seed
	watched []*kernel.Parameter

	// entries are where the passes since the last Step entered blends: what
	// reaches them in Backward came through a blend.
	entries []entry
}

// maxEntries bounds what is remembered when nobody calls Step.
const maxEntries = 64

type entry struct {
	value kernel.Value
	seeds []*seed
}

var errNotFinite = errors.New("the seed's output is not finite")

// Shape is that of one example.
func (s *Slot) Shape() []int { return slices.Clone(s.shape) }

// Seeds are the slot's, in the order of their attachment.
func (s *Slot) Seeds() []Seed {
	seeds := make([]Seed, len(s.seeds))
	for i, seed := range s.seeds {
		seeds[i] = seed.public()
	}
	return seeds
}

// Watch names parameters of the host in front of the slot, so that a seed that
// has one in common with it is found and told of.
func (s *Slot) Watch(parameters ...*kernel.Parameter) { s.watched = slices.Clone(parameters) }

// Parameters are those of a seed that may train now; nil when it rests, or is
// not attached here.
func (s *Slot) Parameters(seedID string) []*kernel.Parameter {
	seed := s.find(seedID)
	if seed == nil || !seed.learns() {
		return nil
	}
	return seed.instance.Parameters()
}

// Output is what the model sees at the slot: host with its seeds put on one
// after the other, in host's own shape. Without a seed that takes part it is
// host itself.
//
// host is a batch of the slot's shape, or of its examples flattened row by row.
// A seed that fails is left out of this pass.
func (s *Slot) Output(t *kernel.Tape, host kernel.Value) (kernel.Value, error) {
	return s.chain(t, host, route{watched: true})
}

// Without is Output without one seed.
func (s *Slot) Without(t *kernel.Tape, seedID string, host kernel.Value) (kernel.Value, error) {
	return s.chain(t, host, route{without: seedID})
}

// Kept is Output with the seeds that are kept and no others.
func (s *Slot) Kept(t *kernel.Tape, host kernel.Value) (kernel.Value, error) {
	return s.chain(t, host, route{kept: true})
}

// With is Output with one seed fully in, whatever its stage.
func (s *Slot) With(t *kernel.Tape, seedID string, host kernel.Value) (kernel.Value, error) {
	return s.chain(t, host, route{full: seedID})
}

// Isolated is what a seed in TRAINING learns on: the detached output that
// reaches it with the seed fully in, and without the seeds behind it. The
// gradient reaches the seed's parameters and nothing else. For a seed that has
// left it is the detached host: a trainer that has not heard yet goes on
// unharmed.
func (s *Slot) Isolated(t *kernel.Tape, seedID string, host kernel.Value) (kernel.Value, error) {
	return s.chain(t, host, route{full: seedID, until: seedID, watched: true, detached: true})
}

// route is which way a pass takes through the seeds.
type route struct {
	full, without string // seeds that are in at a share of 1, or out
	until         string // the last seed of the way
	kept          bool   // no seed but those that are kept
	watched       bool   // gradients are measured where it enters
	detached      bool   // the host has no gradient in any case
	open          bool   // gradients flow to the host through every seed
}

func (r *route) share(seed *seed) float64 {
	switch {
	case seed.id == r.without, r.kept && !seed.kept():
		return 0
	case seed.id == r.full:
		return 1
	}
	return seed.share()
}

// chain takes host along a route.
func (s *Slot) chain(t *kernel.Tape, host kernel.Value, r route) (kernel.Value, error) {
	if !host.Valid() {
		return kernel.Value{}, fmt.Errorf("slot %s: %w", s.name, ErrForeignValue)
	}
	running, blending := host, false
	for _, seed := range s.seeds {
		blending = blending || !seed.kept() && r.share(seed) > 0
	}
	if r.watched && blending {
		running = s.enter(t, host, r)
	}
	for _, seed := range s.seeds {
		if share := r.share(seed); share > 0 {
			if r.detached && seed.id == r.full {
				running = t.Detach(running)
			}
			running = s.through(t, seed, share, running, r.open)
		}
		if r.until != "" && seed.id == r.until {
			return running, nil
		}
	}
	if r.detached {
		return t.Detach(running), nil
	}
	return running, nil
}

// enter puts a value of its own where blends begin, which the gradient of
// nothing but them reaches.
func (s *Slot) enter(t *kernel.Tape, host kernel.Value, r route) kernel.Value {
	if host.Grad() == nil {
		return host
	}
	alias, err := t.Reshape(host, host.Shape()...)
	if err != nil {
		return host
	}
	if len(s.entries) == maxEntries {
		s.entries = s.entries[:0]
	}
	e := entry{value: alias}
	for _, seed := range s.seeds {
		if !seed.kept() && r.share(seed) > 0 {
			e.seeds = append(e.seeds, seed)
		}
	}
	s.entries = append(s.entries, e)
	return alias
}

// through puts a seed on the output before it, or leaves it out when it fails. open
// lets gradients through that do not flow through a blend.
func (s *Slot) through(t *kernel.Tape, seed *seed, share float64, running kernel.Value, open bool) kernel.Value {
	base := running
	open = open || seed.kept()
	if !open {
		base = t.Detach(running)
	}
	joined, err := s.run(t, seed, share, base, open)
	if err == nil {
		joined, err = shapedLike(t, joined, running)
	}
	if err == nil {
		return joined
	}
	if finite(running.Tensor().Data) { // otherwise the fault is the host's
		seed.meters.countFault(err)
	}
	return running
}

func (s *Slot) run(t *kernel.Tape, seed *seed, share float64, base kernel.Value, open bool) (kernel.Value, error) {
	host, err := s.shape.shaped(t, base)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("run: %w", err)
	}
	out, err := seed.forward(t, host, open)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("run: %w", err)
	}
	if !finite(out.Tensor().Data) {
		return kernel.Value{}, errNotFinite
	}
	return seed.join(t, share, host, out)
}

// forward is the seed's own output. One whose weights rest runs in inference
// mode, or its running statistics would move; and it has no gradient, unless
// the way through it is open.
func (s *seed) forward(t *kernel.Tape, host kernel.Value, open bool) (kernel.Value, error) {
	started := time.Now()
	var out kernel.Value
	var err error
	if s.learns() {
		out, err = s.instance.Forward(t, host)
	} else {
		t.Inference(func() { out, err = s.instance.Forward(t, host) })
	}
	if err != nil {
		return kernel.Value{}, err
	}
	s.meters.timed(time.Since(started))
	if !s.learns() && !open {
		return t.Detach(out), nil
	}
	return out, nil
}

func (s *Slot) find(seedID string) *seed { return find(s.seeds, seedID) }

func find(seeds []*seed, id string) *seed {
	for _, seed := range seeds {
		if seed.id == id {
			return seed
		}
	}
	return nil
}
