package urza

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
)

const (
	selectByPath     = `SELECT blueprint_id FROM blueprints WHERE artifact_path IN ($1, $2) ORDER BY blueprint_id`
	selectByChecksum = `SELECT blueprint_id, variant FROM urza_variants WHERE checksum = $1 ORDER BY blueprint_id, variant`
)

var checksumForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// OpenChecksum opens the artifact whose SHA-256, in lower-case hexadecimal, is sum,
// whichever blueprint or variant it belongs to, and returns its size. It is verified
// like one that is asked for by its blueprint, and checked once more while it is read:
// instead of io.EOF the last read returns an error when it changed meanwhile.
// Errors: ErrNotFound, ErrWithheld, ErrArtifactMissing, ErrChecksumMismatch,
// ErrUntrusted, ErrUnavailable.
func (l *Library) OpenChecksum(ctx context.Context, sum string) (io.ReadCloser, int64, error) {
	var content io.ReadCloser
	var size int64
	err := l.useChecksum(ctx, sum, func(e *entry) error {
		if err := l.touch(ctx, e); err != nil && !errors.Is(err, errChanged) {
			return err
		}
		file, err := l.stores.identify(ctx, e.record.ArtifactRef)
		if err != nil {
			return fmt.Errorf("%w: look at artifact: %w", ErrUnavailable, err)
		}
		content, err = l.openArtifact(ctx, e.record.ArtifactRef, sum)
		size = file.size
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
		text, err = l.stores.signature(ctx, e.record.ArtifactRef)
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
		e, found, err := l.verified(ctx, k)
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

// graver is the one of two errors that says more about a kernel: one that may pass says
// most, then the one that found more of it.
func graver(a, b error) error {
	for _, least := range []error{ErrNotFound, ErrArtifactMissing, ErrChecksumMismatch, ErrWithheld} {
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
func (l *Library) withChecksum(ctx context.Context, sum string) (keys []key, err error) {
	if l.closed.Load() {
		return nil, fmt.Errorf("%w: library closed", ErrUnavailable)
	}
	err = l.breaker.guard(func() error {
		bounded, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		keys, err = l.catalogue.withChecksum(bounded, sum, l.stores.ref(sum, ".onnx"), l.stores.ref(sum, prototypeExtension))
		return err
	})
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	return l.elsewhere.find(ctx, l, sum)
}

func (c *catalogue) withChecksum(ctx context.Context, sum, onnx, pt string) (keys []key, err error) {
	own, err := texts(ctx, c.db, selectByPath, onnx, pt)
	if err != nil {
		return nil, err
	}
	for _, id := range own {
		keys = append(keys, key{id: id})
	}
	rows, err := c.db.QueryContext(ctx, selectByChecksum, sum)
	if err != nil {
		return nil, fmt.Errorf("%w: find checksum: %w", ErrUnavailable, err)
	}
	defer rows.Close()
	for rows.Next() {
		var k key
		if err := rows.Scan(&k.id, &k.variant); err != nil {
			return nil, fmt.Errorf("%w: find checksum: %w", ErrUnavailable, err)
		}
		keys = append(keys, k)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%w: find checksum: %w", ErrUnavailable, err)
	}
	return keys, nil
}

// elsewhere remembers the checksums of blueprints whose artifact does not lie where
// the library would put it: the prototype's, which are named after the blueprint, and
// what was saved before the store moved. One reading of the catalogue serves until
// the catalogue changes.
type elsewhere struct {
	mu         sync.Mutex
	read       bool
	generation uint64
	keys       map[string][]key
}

func (e *elsewhere) find(ctx context.Context, l *Library, sum string) ([]key, error) {
	generation, err := l.watch.current(ctx, l.clock.now())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.read && e.generation == generation {
		return e.keys[sum], nil
	}
	keys := map[string][]key{}
	err = l.catalogue.each(ctx, func(r row) {
		if found := l.misplaced(r); found != "" {
			keys[found] = append(keys[found], r.key())
		}
	})
	if err != nil {
		return nil, err
	}
	e.read, e.generation, e.keys = true, generation, keys
	return keys[sum], nil
}

// misplaced is the checksum of a row that withChecksum does not find by its path, or "".
func (l *Library) misplaced(r row) string {
	if sum := promised(r.path); sum != "" {
		if r.path == l.stores.ref(sum, ".onnx") || r.path == l.stores.ref(sum, prototypeExtension) {
			return ""
		}
		return sum
	}
	if !strings.Contains(r.metadata, `"checksum"`) {
		return ""
	}
	record, err := r.decode()
	if err != nil {
		return ""
	}
	return record.Checksum
}
