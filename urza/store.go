package urza

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
)

// store keeps artifacts. References are absolute paths, or URLs, that mean the same
// to every process. What is not there is fs.ErrNotExist.
type store interface {
	// ref is where an artifact belongs: named by its checksum, with the extension of
	// the file it came from.
	ref(checksum, source string) string
	// put makes the content durable in one step, whatever was there before.
	put(ctx context.Context, ref string, content []byte) error
	open(ctx context.Context, ref string) (io.ReadCloser, error)
	// identify costs one question and reads nothing.
	identify(ctx context.Context, ref string) (identity, error)
	// setAside moves a damaged artifact to the quarantine and returns where it is
	// now; "" when it is not the store's to move.
	setAside(ctx context.Context, ref, sum string) (string, error)
	// remove deletes an artifact, or does nothing when there is none.
	remove(ctx context.Context, ref string) error
	// list visits the content-addressed artifacts, and nothing else.
	list(ctx context.Context, visit func(ref string)) error
	// sweep removes what crashed saves left behind.
	sweep(now time.Time) (int, error)
	close()
}

// stores finds the store of a reference: rows may point at files and at objects,
// wherever new artifacts go.
type stores struct {
	store                // of new artifacts
	folder  store        // of paths
	objects *objectStore // of URLs; nil when none is configured
	hashed  bool         // reading prepares for the check of a signature
}

// sizes are those of all objects of the store, in one listing instead of a question
// for each; empty when there is no object store. What is missing in it may still be
// asked for.
func (s stores) sizes(ctx context.Context) (map[string]int64, error) {
	if s.objects == nil {
		return nil, nil //nolint:nilnil // no objects, no sizes
	}
	sizes := map[string]int64{}
	err := s.objects.visit(ctx, func(ref string, size int64) { sizes[ref] = size })
	return sizes, err
}

// openStores opens the folder, and the object store when one is configured. The
// folder of new artifacts must be writable; beside an object store it need not exist.
func openStores(ctx context.Context, cfg Config, files files) (stores, error) {
	dir, err := filepath.Abs(cfg.ArtifactDir)
	if err != nil {
		return stores{}, fmt.Errorf("artifact folder: %w", err)
	}
	folder := folderStore{dir: dir, owned: []string{dir, filepath.Dir(dir)}, files: files}
	if cfg.ArtifactURL == "" {
		if err := writableFolder(dir); err != nil {
			return stores{}, fmt.Errorf("artifact folder: %w", err)
		}
		return stores{store: folder, folder: folder}, nil
	}
	objects, err := openObjects(ctx, cfg)
	if err != nil {
		return stores{}, fmt.Errorf("artifact store: %w", err)
	}
	return stores{store: objects, folder: folder, objects: objects}, nil
}

// owning adds a folder whose files are the library's to move: where the prototype
// keeps its catalogue it keeps its artifacts too.
func (s stores) owning(dir string) stores {
	folder, plain := s.folder.(folderStore)
	if !plain || dir == "" {
		return s
	}
	folder.owned = append(folder.owned, dir)
	s.folder = folder
	if s.objects == nil {
		s.store = folder
	}
	return s
}

func isObject(ref string) bool { return strings.HasPrefix(ref, objectScheme) }

func (s stores) of(ref string) (store, error) {
	switch {
	case !isObject(ref):
		return s.folder, nil
	case s.objects == nil:
		return nil, fmt.Errorf("%w: no object store is configured for %s", ErrUnavailable, ref)
	default:
		return s.objects, nil
	}
}

func (s stores) open(ctx context.Context, ref string) (io.ReadCloser, error) {
	kept, err := s.of(ref)
	if err != nil {
		return nil, err
	}
	return kept.open(ctx, ref)
}

func (s stores) identify(ctx context.Context, ref string) (identity, error) {
	if !isObject(ref) {
		return s.folder.identify(ctx, ref)
	}
	kept, err := s.of(ref)
	if err != nil {
		return identity{}, err
	}
	return kept.identify(ctx, ref)
}

func (s stores) setAside(ctx context.Context, ref, sum string) (string, error) {
	kept, err := s.of(ref)
	if err != nil {
		return "", err
	}
	return kept.setAside(ctx, ref, sum)
}
