package tezzeret

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
)

// Candidate is a blueprint that can be compiled for a slot, at the midpoints of its
// parameters.
type Candidate struct {
	BlueprintID    string
	ParameterCount int   // trainable elements
	MultiplyAdds   int64 // of one forward pass of one example
}

// Survey tells which of the blueprints can be compiled for the compiler's slot, in
// their order. Each is built and read back once, as Compile would, but not run. Its
// only errors are the context's.
func (c *Compiler) Survey(ctx context.Context, blueprints []*leyline.BlueprintDescriptor) ([]Candidate, error) {
	var candidates []Candidate
	for _, d := range blueprints {
		candidate, err := c.survey(ctx, d)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			candidates = append(candidates, candidate)
		}
	}
	return candidates, nil
}

func (c *Compiler) survey(ctx context.Context, d *leyline.BlueprintDescriptor) (candidate Candidate, err error) {
	if err := c.Compilable(d); err != nil {
		return Candidate{}, err
	}
	defer func() {
		if r := recover(); r != nil {
			err = notCompilable(d, fmt.Sprintf("the compiler failed in the slot %s: %v", c.config.Slot, r))
		}
	}()
	var built proof
	if err := c.produce(ctx, d, Midpoints(d), &built); err != nil {
		if errors.Is(err, kernel.ErrProfile) {
			err = c.tooMuch(d, err)
		}
		return Candidate{}, err
	}
	return Candidate{d.GetBlueprintId(), built.kernel.ParameterCount(), built.kernel.MultiplyAdds()}, nil
}

// surveyedSlots bounds how many slots a Surveyor remembers.
const surveyedSlots = 64

// Surveyor remembers what can be compiled for each slot. It is safe for concurrent use.
type Surveyor struct {
	compiler   *Compiler
	blueprints func() []*leyline.BlueprintDescriptor

	mu    sync.Mutex
	slots map[Slot]*surveyed
}

// surveyed is what is known of one slot.
type surveyed struct {
	mu         sync.Mutex // held by who surveys it
	done       bool
	candidates []Candidate
}

// NewSurveyor surveys blueprints with the permissions of a compiler, each slot when it
// is first asked for.
func NewSurveyor(compiler *Compiler, blueprints func() []*leyline.BlueprintDescriptor) *Surveyor {
	return &Surveyor{compiler: compiler, blueprints: blueprints, slots: map[Slot]*surveyed{}}
}

// Candidates are the blueprints that can be compiled for a slot of these sizes, none
// being the compiler's own. The list must not be changed. Sizes that are no slot have
// no candidates. Its only errors are the context's.
func (s *Surveyor) Candidates(ctx context.Context, sizes ...int) ([]Candidate, error) {
	slot := s.compiler.Slot()
	if len(sizes) > 0 {
		var err error
		if slot, err = NewSlot(sizes...); err != nil {
			return nil, nil //nolint:nilerr // nothing fits what is no slot
		}
	}
	found := s.of(slot)
	found.mu.Lock()
	defer found.mu.Unlock()
	if found.done {
		return found.candidates, nil
	}
	candidates, err := s.compiler.For(slot).Survey(ctx, s.blueprints())
	if err != nil {
		return nil, err
	}
	found.done, found.candidates = true, candidates
	return candidates, nil
}

// of starts over when trainers with ever new slots would fill the memory.
func (s *Surveyor) of(slot Slot) *surveyed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, known := s.slots[slot]; known {
		return found
	}
	if len(s.slots) >= surveyedSlots {
		clear(s.slots)
	}
	found := &surveyed{}
	s.slots[slot] = found
	return found
}
