package urza

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"unicode/utf8"

	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// lookups bounds how often a variant that keeps changing is looked up again.
const lookups = 5

// findVariant is the kernel of a variant, forged when the library does not hold it, or
// not as it should be.
func (p *Prefetcher) findVariant(
	ctx context.Context, id string, variant trainer.Variant, format string,
) (settled, error) {
	if format == FormatPrototype {
		return settled{}, fmt.Errorf("%w: kernels for a slot or for parameters are %s", errFormat, trainer.FormatONNX)
	}
	if len(variant.Slot) == 0 {
		variant.Slot = p.config.Slot
	}
	k := catalogue.Key{ID: id, Variant: variant.Key()}
	if k.Variant == "" {
		return settled{}, fmt.Errorf("%w: the slot of the library is not known", errFormat)
	}
	for range lookups {
		found, err := p.current(ctx, k, variant)
		if forgeable(err) && p.config.Forge != nil {
			if err := p.forge(ctx, k, variant); err != nil {
				return settled{}, err
			}
			found, err = p.stored(ctx, k)
		}
		if !errors.Is(err, fault.ErrChanged) {
			return found, err
		}
	}
	return settled{}, fmt.Errorf("%w: variant %s keeps changing", ErrUnavailable, k)
}

// errOutdated: what is stored is not what would be made now.
var errOutdated = fmt.Errorf("%w: the stored variant is out of date", ErrNotFound)

// forgeable says that forging is the answer to what a look-up found.
func forgeable(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrArtifactMissing) || errors.Is(err, ErrChecksumMismatch)
}

// stored is the variant as the library holds it, noted as used.
func (p *Prefetcher) stored(ctx context.Context, k catalogue.Key) (settled, error) {
	e, sum, err := p.library.verifier.verified(ctx, k)
	if err != nil {
		return settled{}, err
	}
	return settled{e, sum}, p.library.lookup.noteUse(ctx, e)
}

// current is stored, unless the forge would make something else now.
func (p *Prefetcher) current(ctx context.Context, k catalogue.Key, variant trainer.Variant) (settled, error) {
	found, err := p.stored(ctx, k)
	if err != nil || p.config.Current == nil || p.config.Forge == nil {
		return found, err
	}
	if !p.config.Current(found.entry.record, variant) {
		return settled{}, errOutdated
	}
	return found, nil
}

// forge makes a variant. Requests for the same one at the same time share one forging.
func (p *Prefetcher) forge(ctx context.Context, k catalogue.Key, variant trainer.Variant) error {
	for {
		_, err, _ := p.forging.Do(k.Unique(), func() (any, error) { return nil, p.forgeInTurn(ctx, k, variant) })
		// Whoever was forging for us may have given up; we have not.
		if err == nil || !fault.OfContext(err) || ctx.Err() != nil {
			return err
		}
	}
}

func (p *Prefetcher) forgeInTurn(ctx context.Context, k catalogue.Key, variant trainer.Variant) error {
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	case <-ctx.Done():
		return ctx.Err()
	}
	// Somebody may have made it since we looked.
	if _, err := p.current(ctx, k, variant); err == nil || !forgeable(err) {
		return err
	}
	err := p.forgeOnce(ctx, k, variant)
	if err != nil {
		p.refusedForge.Add(1)
		return err
	}
	p.forged.Add(1)
	return nil
}

func (p *Prefetcher) forgeOnce(ctx context.Context, k catalogue.Key, variant trainer.Variant) error {
	if err := p.library.mayForge(ctx, k); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, p.config.ForgeTimeout)
	defer cancel()
	forged, err := p.config.Forge(bounded, k.ID, variant)
	if err != nil && ctx.Err() == nil && fault.OfContext(err) {
		// Not the caller's deadline: nobody may take it for one.
		return fmt.Errorf("%s not forged within %s: %v", k, p.config.ForgeTimeout, err) //nolint:errorlint // see above
	}
	if err != nil {
		return fmt.Errorf("forge %s: %w", k, err)
	}
	if made := forged.Descriptor.GetBlueprintId(); made != k.ID {
		return fmt.Errorf("forge %s: made a kernel of %q", k, made)
	}
	if _, err := p.library.SaveVariant(ctx, variant, forged); err != nil {
		return err
	}
	return nil
}

// madeWith says whether a kernel was made with these values of its parameters; those
// that are not given may be any.
func (r *Record) madeWith(parameters map[string]float64) bool {
	own := map[string]float64{}
	for name, bounds := range r.Descriptor.GetAllowedParameters() {
		own[name] = (bounds.GetMinValue() + bounds.GetMaxValue()) / 2 // what a forge chooses
	}
	noted, _ := r.Extras["parameters"].(map[string]any)
	for name, value := range noted {
		if number, is := value.(float64); is {
			own[name] = number
		}
	}
	for name, value := range parameters {
		if made, declared := own[name]; !declared || made != value {
			return false
		}
	}
	return true
}

// attributesFor are those of an answer: the format, and the variant that was asked for.
func (a answer) attributesFor(variant trainer.Variant) map[string]string {
	if variant.Key() == "" {
		return a.attributes
	}
	asked := variant.Attributes()
	maps.Copy(asked, a.attributes)
	return asked
}

// maxDetail bounds what a refusal says.
const maxDetail = 300

func detail(err error) string {
	text := err.Error()
	if len(text) <= maxDetail {
		return text
	}
	for len(text) > maxDetail {
		_, size := utf8.DecodeLastRuneInString(text[:maxDetail])
		text = text[:maxDetail-size]
	}
	return text
}
