package urza

import (
	"context"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
)

// Forged is a kernel that was just made for a variant.
type Forged struct {
	Descriptor *leyline.BlueprintDescriptor
	Artifact   []byte
	Update     *leyline.KernelCatalogUpdate // what Save takes, without the reference
	Extras     map[string]any               // stored beside the descriptor
}

// SaveVariant stores a kernel of a blueprint for a slot or for parameters of its own,
// as Save stores the blueprint's own kernel, which it leaves alone. Beyond
// Config.MaxVariants the variants of the blueprint that were not used for the longest
// time make room. Errors: those of Save, and ErrTooManyVariants when all of them were
// used within the last hour.
func (l *Library) SaveVariant(
	ctx context.Context, variant trainer.Variant, forged Forged,
) (*leyline.KernelCatalogUpdate, error) {
	k := catalogue.Key{ID: forged.Descriptor.GetBlueprintId(), Variant: variant.Key()}
	announced, err := l.announcement(forged.Descriptor, forged.Artifact, forged.Update)
	if err == nil && (k.Variant == "" || !catalogue.Storable(k.Variant)) {
		err = fmt.Errorf("variant %q names no slot and no parameters", k.Variant)
	}
	if err == nil {
		err = l.saveUntilStable(ctx, forged.Artifact, announced, func(ctx context.Context) error {
			return l.catalogue.SaveVariant(ctx, k, announced.GetChecksum(), func(ctx context.Context) (catalogue.Row, error) {
				return l.newRow(ctx, forged.Descriptor, announced, forged.Extras, nil)
			})
		})
	}
	if errors.Is(err, ErrTooManyVariants) {
		err = errors.Join(err, l.catalogue.Refused(ctx, announced.GetArtifactRef()))
	}
	if err != nil {
		return nil, fmt.Errorf("urza: save variant %s: %w", k, err)
	}
	l.lookup.forget(k)
	return announced, nil
}
