// Package artifact keeps the files of kernels, named by their SHA-256, in a folder or in
// an S3-compatible store, with their signatures. Open gives a Store, which finds what a
// reference names; an Identity tells whether that changed, without reading it; a Reading
// is what reading all of it found. It knows nothing of rows. Package urza calls it, and
// the rooms beside that remove and restore.
package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// Config says where artifacts are kept, who signs them and whose signatures count; see
// urza.Config.
type Config struct {
	Dir                                string
	URL                                string // of an object store for new artifacts; empty is the folder
	AccessKey, SecretKey               string
	SigningKeyFile, SigningKeyPassword string
	TrustedKeys                        []string
	MaxONNX                            int64 // bytes of an .onnx file
}

// backend keeps artifacts. References are absolute paths, or URLs, that mean the same
// to every process. What is not there is fs.ErrNotExist.
type backend interface {
	ref(checksum, source string) string
	put(ctx context.Context, ref string, content []byte) error // durable and in one step, whatever was there
	open(ctx context.Context, ref string) (io.ReadCloser, error)
	identify(ctx context.Context, ref string) (Identity, error)
	setAside(ctx context.Context, ref, sum string) (string, error) // see Store.Quarantine
	remove(ctx context.Context, ref string) error
	list(ctx context.Context, visit func(ref string)) error // of artifacts and signatures alone
	sweep(now time.Time) (int, error)
}

// Store keeps artifacts. It is safe for concurrent use. Rows may point at files and at
// objects, wherever new artifacts go. A reference to what is not there is fs.ErrNotExist
// unless a method says otherwise.
type Store struct {
	folder  *folderStore // of paths
	objects *objectStore // of URLs; nil when none is configured
	fresh   backend      // of new artifacts: one of these
	signer  *signer
	trust   trust
	maxONNX int64
}

// Open opens the folder, and the object store when one is configured. The folder of new
// artifacts must be writable; beside an object store it need not exist.
func Open(ctx context.Context, cfg Config, files Files) (*Store, error) {
	s := &Store{maxONNX: cfg.MaxONNX}
	var err error
	if s.signer, err = newSigner(cfg.SigningKeyFile, cfg.SigningKeyPassword); err != nil {
		return nil, err
	}
	if s.trust, err = newTrust(cfg.TrustedKeys); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("artifact folder: %w", err)
	}
	s.folder = &folderStore{dir: dir, owned: []string{dir, filepath.Dir(dir)}, files: files}
	if cfg.URL == "" {
		if err := atomicfile.Writable(dir, tempPattern); err != nil {
			return nil, fmt.Errorf("artifact folder: %w", err)
		}
		if s.folder.needed, err = os.Stat(dir); err != nil {
			return nil, fmt.Errorf("artifact folder: %w", err)
		}
		s.fresh = s.folder
		return s, nil
	}
	if s.objects, err = openObjects(ctx, cfg); err != nil {
		return nil, fmt.Errorf("artifact store: %w", err)
	}
	s.fresh = s.objects
	return s, nil
}

// Own adds a folder whose artifacts are the store's to move: where the prototype keeps its
// catalogue it keeps its artifacts too. It is called before the store is used.
func (s *Store) Own(dir string) { s.folder.owned = append(s.folder.owned, dir) }

// InPlace reports the want of the folder, as it was opened, of new artifacts.
func (s *Store) InPlace() error {
	if s.folder.needed == nil {
		return nil
	}
	return regularfile.Still(s.folder.dir, s.folder.needed)
}

// Close ends the connections to the object store.
func (s *Store) Close() {
	if s.objects != nil {
		s.objects.close()
	}
}

// Checksum is the hex SHA-256 of an artifact's content.
func Checksum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Promised is the checksum in the name of a content-addressed artifact, or "".
func Promised(ref string) string {
	name := ref[strings.LastIndexByte(ref, '/')+1:]
	if !artifactFile.MatchString(name) {
		return ""
	}
	return name[:sha256.Size*2]
}

// InObjectStore says that a reference is the URL of an object.
func InObjectStore(ref string) bool { return strings.HasPrefix(ref, objectScheme) }

// Absolute is a row's artifact path made absolute, or its URL as it is.
func Absolute(path string) (string, error) {
	if path == "" {
		return "", errors.New("empty")
	}
	if InObjectStore(path) {
		return path, nil
	}
	return filepath.Abs(path)
}

// Ref is where an artifact with that checksum belongs, with the extension of the file
// that it came from, .onnx when that has none worth keeping.
func (s *Store) Ref(checksum, source string) string { return s.fresh.ref(checksum, source) }

// Put makes a new artifact durable, and its signature when there is a key. What is there
// already is replaced.
func (s *Store) Put(ctx context.Context, ref, checksum string, content []byte) error {
	if most := s.most(ref); int64(len(content)) > most {
		return fmt.Errorf("an artifact of %d bytes, more than the %d of its kind, would count as damaged", len(content), most)
	}
	if err := s.fresh.put(ctx, ref, content); err != nil {
		return err
	}
	if s.signer == nil {
		return nil
	}
	if err := s.fresh.put(ctx, signatureRef(ref), s.signer.sign(content, checksum)); err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	return nil
}

// Identify costs one question and reads nothing. Errors: fs.ErrNotExist, ErrUnreadable,
// ErrUnavailable, the context's.
func (s *Store) Identify(ctx context.Context, ref string) (Identity, error) {
	kept, err := s.of(ref)
	if err != nil {
		return Identity{}, err
	}
	return kept.identify(ctx, ref)
}

// Gone says that there is no such artifact; false while the store cannot be asked.
func (s *Store) Gone(ctx context.Context, ref string) bool {
	_, err := s.Identify(ctx, ref)
	return errors.Is(err, fs.ErrNotExist)
}

// Quarantine moves a damaged artifact to the quarantine and returns where it is now; ""
// when it is not the store's to move.
func (s *Store) Quarantine(ctx context.Context, ref, checksum string) (string, error) {
	kept, err := s.of(ref)
	if err != nil {
		return "", err
	}
	return kept.setAside(ctx, ref, checksum)
}

// Remove deletes a new artifact with its signature, or does nothing when there is none.
func (s *Store) Remove(ctx context.Context, ref string) error {
	return errors.Join(s.fresh.remove(ctx, ref), s.fresh.remove(ctx, signatureRef(ref)))
}

// List visits the content-addressed artifacts where new ones go, without their signatures.
func (s *Store) List(ctx context.Context, visit func(ref string)) error {
	return s.fresh.list(ctx, func(ref string) {
		if !strings.HasSuffix(ref, signatureExtension) {
			visit(ref)
		}
	})
}

// Sizes are those of all objects of the store, in bytes, in one listing instead of a
// question for each; empty when there is no object store. What is missing in it may still
// be asked for.
func (s *Store) Sizes(ctx context.Context) (map[string]int64, error) {
	if s.objects == nil {
		return nil, nil
	}
	sizes := map[string]int64{}
	err := s.objects.visit(ctx, func(ref string, size int64) { sizes[ref] = size })
	return sizes, err
}

// Sweep removes what crashed saves left behind, and says how much.
func (s *Store) Sweep(now time.Time) (int, error) { return s.fresh.sweep(now) }

// WantsSignatures says that trusted keys are configured.
func (s *Store) WantsSignatures() bool { return len(s.trust) > 0 }

// Signature reads the signature beside an artifact. Errors: ErrUntrusted when there is
// none, ErrUnreadable, ErrUnavailable.
func (s *Store) Signature(ctx context.Context, ref string) ([]byte, error) {
	file, err := s.open(ctx, signatureRef(ref))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.ErrUntrusted
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := readSignature(file)
	if err != nil {
		return nil, fmt.Errorf("read signature: %w", s.halfway(ref, err))
	}
	return text, nil
}

// SignatureIdentity is zero when there is no signature.
func (s *Store) SignatureIdentity(ctx context.Context, ref string) Identity {
	found, err := s.Identify(ctx, signatureRef(ref))
	if err != nil {
		return Identity{}
	}
	return found
}

func signatureRef(ref string) string { return ref + signatureExtension }

func (s *Store) open(ctx context.Context, ref string) (io.ReadCloser, error) {
	kept, err := s.of(ref)
	if err != nil {
		return nil, err
	}
	return kept.open(ctx, ref)
}

func (s *Store) of(ref string) (backend, error) {
	switch {
	case !InObjectStore(ref):
		return s.folder, nil
	case s.objects == nil:
		return nil, fmt.Errorf("%w: no object store is configured for %s", fault.ErrUnreadable, ref)
	default:
		return s.objects, nil
	}
}
