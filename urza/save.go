package urza

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
	"github.com/esper-lite/weatherlight/urza/internal/metadata"
)

// saveAttempts bounds how often a file is written again because it was moved away
// before its row was committed.
const saveAttempts = 5

// Save stores an artifact and its row, replacing the row there was, and returns
// the update to announce: the caller's, with blueprint id, checksum and the
// artifact_ref (absolute path, or URL) filled in. The file's extension follows update.artifact_ref
// (default .onnx), so that an imported file keeps its kind.
//
// extras are stored beside the descriptor; checksum and guard_digest are the
// library's own and cannot be set through them. NaN and infinities become null.
// When Save returns nil, file and row are on disk. An update whose checksum is not
// the artifact's is refused with ErrChecksumMismatch.
func (l *Library) Save(
	ctx context.Context, descriptor *leyline.BlueprintDescriptor, content []byte,
	update *leyline.KernelCatalogUpdate, extras map[string]any,
) (*leyline.KernelCatalogUpdate, error) {
	k := catalogue.Key{ID: descriptor.GetBlueprintId()}
	forged := Forged{Descriptor: descriptor, Artifact: content, Update: update, Extras: extras}
	announced, err := l.save(ctx, k, forged, func(ctx context.Context, announced *leyline.KernelCatalogUpdate) error {
		return l.catalogue.Save(ctx, k.ID, func(ctx context.Context, previous string) (catalogue.Row, error) {
			return l.newRow(ctx, forged, announced, metadata.StoredSamples(previous))
		})
	})
	if err != nil {
		return nil, fmt.Errorf("urza: save %q: %w", k.ID, err)
	}
	return announced, nil
}

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
	if k.Variant == "" || !catalogue.Storable(k.Variant) {
		return nil, fmt.Errorf("urza: save variant %s: %q names no slot and no parameters", k, k.Variant)
	}
	announced, err := l.save(ctx, k, forged, func(ctx context.Context, announced *leyline.KernelCatalogUpdate) error {
		return l.catalogue.SaveVariant(ctx, k, announced.GetChecksum(), func(ctx context.Context) (catalogue.Row, error) {
			return l.newRow(ctx, forged, announced, nil)
		})
	})
	if errors.Is(err, ErrTooManyVariants) {
		err = errors.Join(err, l.catalogue.Refused(ctx, announced.GetArtifactRef()))
	}
	if err != nil {
		return nil, fmt.Errorf("urza: save variant %s: %w", k, err)
	}
	return announced, nil
}

// announcement checks what is to be saved and completes the update.
func (l *Library) announcement(forged Forged) (*leyline.KernelCatalogUpdate, error) {
	descriptor, content, update := forged.Descriptor, forged.Artifact, forged.Update
	id := descriptor.GetBlueprintId()
	if err := l.lookup.open(); err != nil {
		return nil, err
	}
	switch {
	case id == "":
		return nil, errors.New("descriptor without blueprint id")
	case !catalogue.Storable(id):
		return nil, fmt.Errorf("blueprint id %q is not plain text", id)
	case len(content) == 0:
		return nil, errors.New("empty artifact")
	case leyline.BlueprintTier_name[int32(descriptor.GetTier())] == "":
		return nil, fmt.Errorf("unknown tier %d", descriptor.GetTier())
	case update.GetBlueprintId() != "" && update.GetBlueprintId() != id:
		return nil, fmt.Errorf("update is for blueprint %q", update.GetBlueprintId())
	}
	sum := artifact.Checksum(content)
	if promised := update.GetChecksum(); promised != "" && promised != sum {
		return nil, fmt.Errorf("%w: update promises %s, artifact is %s", ErrChecksumMismatch, promised, sum)
	}
	announced := &leyline.KernelCatalogUpdate{}
	if update != nil {
		announced = proto.CloneOf(update)
	}
	announced.BlueprintId = id
	announced.Checksum = sum
	announced.ArtifactRef = l.store.Ref(sum, update.GetArtifactRef())
	return announced, nil
}

// save makes the file durable, then commits the row. The row is only committed while the
// file is in place; nobody moves files aside during a transaction, so a committed row has
// its file. What is announced is returned with an error of commit, too.
func (l *Library) save(
	ctx context.Context, k catalogue.Key, forged Forged, commit func(context.Context, *leyline.KernelCatalogUpdate) error,
) (*leyline.KernelCatalogUpdate, error) {
	announced, err := l.announcement(forged)
	if err != nil {
		return nil, err
	}
	for range saveAttempts {
		if err := ctx.Err(); err != nil {
			return announced, err
		}
		err := l.store.Put(ctx, announced.GetArtifactRef(), announced.GetChecksum(), forged.Artifact)
		if err != nil && !fault.OfContext(err) {
			return announced, fmt.Errorf("%w: store artifact: %w", ErrUnavailable, err)
		}
		if err != nil {
			return announced, err
		}
		err = commit(ctx, announced)
		if err == nil {
			l.lookup.forget(k)
		}
		if !errors.Is(err, fault.ErrChanged) {
			return announced, err
		}
	}
	return announced, fmt.Errorf("%w: artifact keeps disappearing", ErrUnavailable)
}

// newRow is the row of a kernel that is being saved; ErrChanged when the artifact was
// moved away since it was written.
func (l *Library) newRow(
	ctx context.Context, forged Forged, announced *leyline.KernelCatalogUpdate, previous []float64,
) (catalogue.Row, error) {
	ref := announced.GetArtifactRef()
	file, err := l.store.Identify(ctx, ref)
	if errors.Is(err, fs.ErrNotExist) {
		return catalogue.Row{}, fmt.Errorf("%w: %w", fault.ErrChanged, err)
	}
	if err != nil {
		return catalogue.Row{}, fmt.Errorf("look at artifact: %w", err)
	}
	descriptor := forged.Descriptor
	text, err := metadata.Encode(descriptor, storedExtras(announced, forged.Extras, previous, file))
	return catalogue.Row{
		ID: descriptor.GetBlueprintId(), Name: descriptor.GetName(), Tier: descriptor.GetTier().String(),
		Path: ref, Metadata: text,
	}, err
}

// storedExtras are the caller's extras with the library's own on top or below:
// what the library measured itself may be refined by the caller, what identifies
// the artifact may not.
func storedExtras(
	announced *leyline.KernelCatalogUpdate, extras map[string]any, previous []float64, file artifact.Identity,
) map[string]any {
	stored := map[string]any{
		"artifact_mtime": float64(file.Modified) / 1e9,
		"compile_ms":     float64(announced.GetCompileMs()),
		"prewarm_ms":     float64(announced.GetPrewarmMs()),
	}
	maps.Copy(stored, extras)
	fresh := metadata.Samples([]float64{float64(announced.GetPrewarmMs())})
	if announced.GetPrewarmMs() == 0 { // not measured
		fresh = nil
	}
	if given, found := extras["prewarm_samples"]; found {
		fresh = metadata.Samples(given)
	}
	stored["prewarm_samples"] = metadata.Samples(append(append([]float64{}, previous...), fresh...))
	stored["checksum"] = announced.GetChecksum()
	stored["guard_digest"] = nil
	if digest := announced.GetGuardDigest(); digest != "" {
		stored["guard_digest"] = digest
	}
	return stored
}

// MergeCapabilities records which parameters of a blueprint each seed may use, as
// graph_metadata.capabilities.allowed_parameters_by_seed_id, replaced whole: a seed
// that is not in bySeed loses its entry. Names that the blueprint's graph metadata
// does not know are left out; when it knows none, all are kept. It reports whether
// the row changed. A row without graph metadata has nothing to restrict and stays.
// Errors: ErrNotFound, ErrUnavailable.
func (l *Library) MergeCapabilities(ctx context.Context, blueprintID string, bySeed map[string][]string) (bool, error) {
	if err := l.lookup.open(); err != nil {
		return false, fmt.Errorf("urza: merge capabilities: %w", err)
	}
	changed, err := l.catalogue.Amend(ctx, blueprintID, func(old catalogue.Row) (string, error) {
		text, err := metadata.Allow(old.Metadata, bySeed)
		if err != nil {
			return "", &RowError{blueprintID, err.Error()}
		}
		return text, nil
	})
	if err != nil {
		return false, fmt.Errorf("urza: merge capabilities of %q: %w", blueprintID, err)
	}
	if changed {
		l.lookup.forget(catalogue.Key{ID: blueprintID})
	}
	return changed, nil
}
