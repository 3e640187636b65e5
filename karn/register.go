package karn

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

// ErrDescriptor says that a descriptor cannot be registered.
var ErrDescriptor = errors.New("karn: descriptor cannot be registered")

// With returns a catalogue of c's blueprints and the given ones, registered behind
// them in their order; one with the id of another takes its place. It has c's
// configuration, and counts for itself. Faults are ErrDescriptor, all reported
// together.
func (c *Catalog) With(descriptors ...*leyline.BlueprintDescriptor) (*Catalog, error) {
	list := c.List()
	var faults []error
	for _, d := range descriptors {
		if err := checkDescriptor(d); err != nil {
			faults = append(faults, fmt.Errorf("%w: %q: %w", ErrDescriptor, d.GetBlueprintId(), err))
			continue
		}
		same := func(other *leyline.BlueprintDescriptor) bool { return other.GetBlueprintId() == d.GetBlueprintId() }
		if i := slices.IndexFunc(list, same); i >= 0 {
			list[i] = proto.CloneOf(d)
		} else {
			list = append(list, proto.CloneOf(d))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return newCatalog(c.config, list), nil
}

func checkDescriptor(d *leyline.BlueprintDescriptor) error {
	if d.GetBlueprintId() == "" {
		return errors.New("no id")
	}
	tier := d.GetTier()
	if leyline.BlueprintTier_name[int32(tier)] == "" || tier == leyline.BlueprintTier_BLUEPRINT_TIER_UNSPECIFIED {
		return fmt.Errorf("tier %s", tier)
	}
	bounds := d.GetAllowedParameters()
	for _, name := range slices.Sorted(maps.Keys(bounds)) {
		low, high := bounds[name].GetMinValue(), bounds[name].GetMaxValue()
		if !(low <= high) || math.IsInf(low, 0) || math.IsInf(high, 0) {
			return fmt.Errorf("parameter %q: bounds [%v, %v]", name, low, high)
		}
	}
	return nil
}
