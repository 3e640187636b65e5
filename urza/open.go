package urza

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// OpenArtifact opens an artifact by its announced reference, a path or the URL of
// an object. What is read is checked on the way: instead of io.EOF the last read
// returns ErrChecksumMismatch when the content is not what a content-addressed
// reference promises, and ErrUntrusted when keys are configured and none of them
// signed it. Whoever stops reading before the end has read unchecked bytes.
// Errors: ErrArtifactMissing, ErrUntrusted, ErrUnreadable, ErrUnavailable.
func (l *Library) OpenArtifact(ctx context.Context, ref string) (io.ReadCloser, error) {
	var content io.ReadCloser
	err := l.lookup.open()
	if err == nil {
		content, err = l.store.Open(ctx, ref, artifact.Promised(ref))
	}
	if err != nil {
		return nil, fmt.Errorf("urza: open artifact %s: %w", ref, err)
	}
	return content, nil
}

// Artifacts that the library keeps have one of these, but for a few.
const (
	extensionONNX      = "." + trainer.FormatONNX
	extensionPrototype = "." + FormatPrototype
)

var checksumForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// OpenChecksum opens the artifact whose SHA-256, in lower-case hexadecimal, is sum,
// whichever blueprint or variant it belongs to, and returns its size. It is verified
// like one that is asked for by its blueprint, and checked once more while it is read:
// instead of io.EOF the last read returns an error when it changed meanwhile.
// Errors: ErrNotFound, ErrWithheld, ErrArtifactMissing, ErrChecksumMismatch,
// ErrUntrusted, ErrUnreadable, ErrUnavailable.
func (l *Library) OpenChecksum(ctx context.Context, sum string) (io.ReadCloser, int64, error) {
	var content io.ReadCloser
	var size int64
	err := l.useChecksum(ctx, sum, func(e *entry) error {
		if err := l.lookup.noteUse(ctx, e); err != nil && !errors.Is(err, fault.ErrChanged) {
			return err
		}
		file, err := l.store.Identify(ctx, e.record.ArtifactRef)
		if err != nil {
			return fmt.Errorf("look at artifact: %w", err)
		}
		content, err = l.store.Open(ctx, e.record.ArtifactRef, sum)
		size = file.Size
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("urza: open %.64q: %w", sum, err)
	}
	return content, size, nil
}

// Signature is the text of the minisign signature beside the artifact whose SHA-256,
// in lower-case hexadecimal, is sum. Whether it is a good one is for the reader to find,
// with the keys that it trusts. Errors: those of OpenChecksum; ErrUntrusted when there
// is no signature.
func (l *Library) Signature(ctx context.Context, sum string) ([]byte, error) {
	var text []byte
	err := l.useChecksum(ctx, sum, func(e *entry) (err error) {
		text, err = l.store.Signature(ctx, e.record.ArtifactRef)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("urza: signature of %.64q: %w", sum, err)
	}
	return text, nil
}

// useChecksum calls use with each kernel whose artifact has a checksum, until it
// returns nil, and then with one that was evicted. Without any it fails with
// ErrNotFound, else with the gravest error.
func (l *Library) useChecksum(ctx context.Context, sum string, use func(*entry) error) error {
	if !checksumForm.MatchString(sum) {
		return ErrNotFound
	}
	keys, err := l.withChecksum(ctx, sum)
	if err != nil {
		return err
	}
	refused := ErrNotFound
	for _, k := range keys {
		e, found, err := l.verifier.verified(ctx, k)
		if err == nil && found != sum {
			err = ErrNotFound
		}
		if err == nil {
			err = use(e)
		}
		if err == nil {
			return nil
		}
		refused = graver(refused, err)
	}
	err = l.useEvicted(ctx, sum, use)
	if err == nil {
		return nil
	}
	return graver(refused, err)
}

// useEvicted calls use with a kernel that made room or was replaced, while its file is
// there. Nothing is remembered of what is about to go: it is read each time.
func (l *Library) useEvicted(ctx context.Context, sum string, use func(*entry) error) error {
	e, err := l.lookup.evicted(ctx, sum)
	if err != nil {
		return err
	}
	if err := l.lookup.withheld(ctx, e); err != nil {
		return err
	}
	found, err := l.verifier.read(ctx, e, nil)
	switch {
	case errors.Is(err, fault.ErrChanged):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case err != nil:
		return err
	case found.Sum != sum:
		return ErrChecksumMismatch
	}
	if err := l.verifier.checkSignature(ctx, e, found); err != nil {
		return err
	}
	return use(e)
}

// graver is the one of two errors that says more about a kernel: one that may pass says
// most, then the one that found more of it.
func graver(a, b error) error {
	for _, least := range []error{ErrNotFound, ErrArtifactMissing, ErrChecksumMismatch, ErrWithheld, ErrUnreadable} {
		switch {
		case errors.Is(a, least):
			return b
		case errors.Is(b, least):
			return a
		}
	}
	return a
}

// withChecksum are the kernels whose rows promise an artifact of that checksum.
func (l *Library) withChecksum(ctx context.Context, sum string) ([]catalogue.Key, error) {
	if err := l.lookup.open(); err != nil {
		return nil, err
	}
	keys, err := l.catalogue.WithChecksum(ctx, sum, l.store.Ref(sum, extensionONNX), l.store.Ref(sum, extensionPrototype))
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	return l.elsewhere.find(ctx, sum)
}

// elsewhere remembers the checksums of blueprints whose artifact does not lie where
// the library would put it: the prototype's, which are named after the blueprint, and
// what was saved before the store moved. One reading of the catalogue serves until
// the catalogue changes.
type elsewhere struct {
	lookup *lookup
	store  *artifact.Store

	mu         sync.Mutex
	read       bool
	generation uint64
	keys       map[string][]catalogue.Key
}

func (e *elsewhere) find(ctx context.Context, sum string) ([]catalogue.Key, error) {
	generation, err := e.lookup.changes.Current(ctx, e.lookup.clock.now())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.read && e.generation == generation {
		return e.keys[sum], nil
	}
	keys := map[string][]catalogue.Key{}
	err = e.lookup.catalogue.Each(ctx, func(r catalogue.Row) {
		if found := e.misplaced(r); found != "" {
			keys[found] = append(keys[found], r.Key())
		}
	})
	if err != nil {
		return nil, err
	}
	e.read, e.generation, e.keys = true, generation, keys
	return keys[sum], nil
}

// misplaced is the checksum of a row that is not found by its path, or "".
func (e *elsewhere) misplaced(r catalogue.Row) string {
	if sum := artifact.Promised(r.Path); sum != "" {
		if r.Path == e.store.Ref(sum, extensionONNX) || r.Path == e.store.Ref(sum, extensionPrototype) {
			return ""
		}
		return sum
	}
	if !strings.Contains(r.Metadata, `"checksum"`) {
		return ""
	}
	record, err := decode(r)
	if err != nil {
		return ""
	}
	return record.Checksum
}
