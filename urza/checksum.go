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
	content, size, err := l.openChecksum(ctx, sum)
	if err != nil {
		return nil, 0, fmt.Errorf("urza: open %.64q: %w", sum, err)
	}
	return content, size, nil
}

func (l *Library) openChecksum(ctx context.Context, sum string) (io.ReadCloser, int64, error) {
	if !checksumForm.MatchString(sum) {
		return nil, 0, ErrNotFound
	}
	keys, err := l.withChecksum(ctx, sum)
	if err != nil {
		return nil, 0, err
	}
	err = ErrNotFound
	for _, k := range keys {
		var content io.ReadCloser
		var size int64
		if content, size, err = l.openKernel(ctx, k, sum); err == nil {
			return content, size, nil
		}
	}
	return nil, 0, err
}

// openKernel opens the artifact of one kernel, provided that sum is what it holds.
func (l *Library) openKernel(ctx context.Context, k key, sum string) (io.ReadCloser, int64, error) {
	e, found, err := l.verified(ctx, k)
	if err != nil {
		return nil, 0, err
	}
	if found != sum {
		return nil, 0, ErrNotFound
	}
	if err := l.touch(ctx, e); err != nil && !errors.Is(err, errChanged) {
		return nil, 0, err
	}
	file, err := l.stores.identify(ctx, e.record.ArtifactRef)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: look at artifact: %w", ErrUnavailable, err)
	}
	content, err := l.openArtifact(ctx, e.record.ArtifactRef, sum)
	return content, file.size, err
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
	own, err := c.texts(ctx, selectByPath, onnx, pt)
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
