package tezzeret

import (
	"context"
	"fmt"

	"github.com/esper-lite/weatherlight/leyline"
)

// For is a compiler for another slot with the same permissions.
func (c *Compiler) For(slot Slot) *Compiler {
	config := c.config
	config.Slot = slot
	return &Compiler{config: config}
}

// CompileVariant builds the kernel of a blueprint for a slot of these sizes, none being
// the compiler's own, with the given parameters and the midpoints of the others. Equal
// requests give equal bytes, and those of Compile. It measures once. Errors are those
// of Compile; sizes that are no slot, and a network on which the compiler fails, are a
// *NotCompilableError.
func (c *Compiler) CompileVariant(ctx context.Context, d *leyline.BlueprintDescriptor,
	sizes []int, given map[string]float64) (compiled *Compiled, err error) {
	own, params, err := c.variant(d, sizes, given)
	if err != nil {
		return nil, err
	}
	// The slot comes from outside: whatever it sets off ends here.
	defer func() {
		if r := recover(); r != nil {
			compiled, err = nil, notCompilable(d, fmt.Sprintf("the compiler failed in the slot %s: %v", own.Slot(), r))
		}
	}()
	return own.CompileConservative(ctx, d, params)
}

// VariantDigest is the build digest of what CompileVariant would build; errors as there.
func (c *Compiler) VariantDigest(d *leyline.BlueprintDescriptor, sizes []int,
	given map[string]float64) (string, error) {
	own, params, err := c.variant(d, sizes, given)
	if err != nil {
		return "", err
	}
	return own.BuildDigest(d, params), nil
}

func (c *Compiler) variant(d *leyline.BlueprintDescriptor, sizes []int,
	given map[string]float64) (*Compiler, map[string]float64, error) {
	slot := c.config.Slot
	if len(sizes) > 0 {
		var err error
		if slot, err = NewSlot(sizes...); err != nil {
			return nil, nil, notCompilable(d, err.Error())
		}
	}
	own := c.For(slot)
	if err := own.buildable(d); err != nil {
		return nil, nil, err
	}
	params, err := Complete(d, given)
	return own, params, err
}
