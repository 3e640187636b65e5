package tezzeret

import (
	"context"
	"errors"
	"fmt"

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
