package assembly

import (
	"context"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza"
)

// Prefetch is how kernel requests are answered: what the library lacks is forged on demand.
func Prefetch(set *settings.Settings, compiler *tezzeret.Compiler, catalog *karn.Catalog) urza.PrefetchConfig {
	forge := variantForge{compiler: compiler, catalog: catalog}
	return urza.PrefetchConfig{
		Slot: compiler.Slot().Shape(), Forge: forge.forge, Current: forge.current, Format: set.Urza.Format,
	}
}

// variantForge makes kernels on demand, with the permissions of the deployment.
type variantForge struct {
	compiler *tezzeret.Compiler
	catalog  *karn.Catalog
}

func (f variantForge) forge(ctx context.Context, id string, variant trainer.Variant) (urza.Forged, error) {
	blueprint, err := f.catalog.Get(id)
	if err != nil {
		return urza.Forged{}, fmt.Errorf("%w: %w", urza.ErrNotFound, err)
	}
	compiled, err := f.compiler.CompileVariant(ctx, blueprint, variant.Slot, variant.Parameters)
	if err != nil {
		return urza.Forged{}, forgeError(err)
	}
	return urza.Forged{
		Descriptor: compiled.Descriptor, Artifact: compiled.Artifact,
		Update: compiled.Update(), Extras: compiled.Extras(),
	}, nil
}

// forgeError tells what is the request's own fault.
func forgeError(err error) error {
	refused, is := errors.AsType[*tezzeret.NotCompilableError](err)
	switch {
	case is && refused.Forbidden:
		return fmt.Errorf("%w: %w", urza.ErrWithheld, err)
	case is:
		return fmt.Errorf("%w: %w", urza.ErrNotCompilable, err)
	case errors.Is(err, tezzeret.ErrParameters):
		return fmt.Errorf("%w: %w", urza.ErrInvalidParameters, err)
	default:
		return err
	}
}

// current says whether a stored variant is what the forge would make now.
func (f variantForge) current(stored *urza.Record, variant trainer.Variant) bool {
	blueprint, err := f.catalog.Get(stored.Descriptor.GetBlueprintId())
	if err != nil {
		return false
	}
	digest, err := f.compiler.VariantDigest(blueprint, variant.Slot, variant.Parameters)
	return err == nil && stored.Extras["build_digest"] == digest
}
