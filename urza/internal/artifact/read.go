package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"

	"aead.dev/minisign"
	"golang.org/x/time/rate"

	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// Reading is what one look at an artifact, from the first byte to the last, found.
type Reading struct {
	Identity Identity
	Sum      string           // hex SHA-256 of the content
	TooLarge bool             // for any artifact: it was not read, and Sum tells its size
	message  *minisign.Reader // nil unless signatures are checked
}

// Read hashes an artifact and returns the identity it had all the while. A pace bounds the
// bytes a second; nil does not. Errors: ErrArtifactMissing, ErrChanged when it had no
// single identity, ErrUnreadable, ErrUnavailable, and the context's.
func (s *Store) Read(ctx context.Context, ref string, pace *rate.Limiter) (Reading, error) {
	found, err := s.read(ctx, ref, pace)
	if errors.Is(err, fs.ErrNotExist) {
		return found, fault.ErrArtifactMissing
	}
	return found, err
}

// halfway says what it means that an artifact could not be read to its end.
func (s *Store) halfway(ref string, err error) error {
	if fault.OfContext(err) {
		return err
	}
	if InObjectStore(ref) {
		return fmt.Errorf("%w: %w", fault.ErrUnavailable, err)
	}
	return s.folder.explain(err)
}

func (s *Store) read(ctx context.Context, ref string, pace *rate.Limiter) (Reading, error) {
	before, err := s.Identify(ctx, ref) // also keeps us from blocking on a pipe
	if err != nil {
		return Reading{}, err
	}
	if before.Size > s.most(ref) {
		return Reading{Identity: before, TooLarge: true, Sum: fmt.Sprintf("%d-bytes", before.Size)}, nil
	}
	file, err := s.open(ctx, ref)
	if err != nil {
		return Reading{}, err
	}
	defer file.Close()
	digest := sha256.New()
	from, message := io.Reader(file), (*minisign.Reader)(nil)
	if s.WantsSignatures() {
		message = minisign.NewReader(file)
		from = message
	}
	size, err := copyChunks(ctx, digest, from, pace)
	if err != nil {
		return Reading{}, fmt.Errorf("read %s: %w", ref, s.halfway(ref, err))
	}
	after, err := s.Identify(ctx, ref)
	if err != nil || after != before || size != before.Size { // an answer may end early and not say so
		return Reading{}, fmt.Errorf("%s: %w", ref, fault.ErrChanged)
	}
	return Reading{Identity: before, Sum: hex.EncodeToString(digest.Sum(nil)), message: message}, nil
}

// maxOpaque bounds an artifact that is stored and served as opaque bytes.
const maxOpaque = 1 << 30

// most is how many bytes an artifact may have. What has more is damaged, whatever it holds:
// a file that grew is not read to find that out.
func (s *Store) most(ref string) int64 {
	if s.maxONNX > 0 && path.Ext(ref) == ".onnx" {
		return s.maxONNX
	}
	return maxOpaque
}

// Trusted is ErrUntrusted when trusted keys are configured and none of them signed what
// was read. Other errors: ErrUnreadable, ErrUnavailable.
func (s *Store) Trusted(ctx context.Context, ref string, found Reading) error {
	if !s.WantsSignatures() {
		return nil
	}
	signature, err := s.Signature(ctx, ref)
	if err == nil && !s.trust.verify(found.message, signature) {
		err = fault.ErrUntrusted
	}
	return err
}

// Chunk is how many bytes are read between two looks at the context, and at the pace.
const Chunk = 1 << 20

// copyChunks copies and looks at the context between chunks: artifacts can be large.
func copyChunks(ctx context.Context, to io.Writer, from io.Reader, pace *rate.Limiter) (size int64, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return size, err
		}
		n, err := io.CopyN(to, from, Chunk)
		size += n
		if err != nil && !errors.Is(err, io.EOF) {
			return size, err
		}
		if pace != nil && n > 0 {
			if err := pace.WaitN(ctx, int(n)); err != nil {
				return size, err
			}
		}
		if n < Chunk {
			return size, nil
		}
	}
}

// Open opens an artifact whose content must have the checksum; "" is any. It is checked
// while it is read: instead of io.EOF the last read returns fault.ErrChecksumMismatch, or
// ErrUntrusted. Errors: ErrArtifactMissing, ErrUntrusted, ErrUnreadable, ErrUnavailable,
// the context's.
func (s *Store) Open(ctx context.Context, ref, checksum string) (io.ReadCloser, error) {
	checked := &checkedArtifact{trust: s.trust, promised: checksum, digest: sha256.New()}
	checked.halfway = func(err error) error { return s.halfway(ref, err) }
	if s.WantsSignatures() {
		signature, err := s.Signature(ctx, ref)
		if err != nil {
			return nil, err
		}
		checked.signature = signature
	}
	file, err := s.open(ctx, ref)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", fault.ErrArtifactMissing, err)
	}
	if err != nil {
		return nil, err
	}
	checked.file = file
	checked.message = minisign.NewReader(io.TeeReader(file, checked.digest))
	return checked, nil
}

// checkedArtifact checks an artifact while it is read.
type checkedArtifact struct {
	file      io.Closer
	message   *minisign.Reader
	digest    hash.Hash
	promised  string
	trust     trust
	signature []byte
	halfway   func(error) error // what a failure means
}

// Read reads on; at the end it says whether all of it was what it should be.
func (a *checkedArtifact) Read(p []byte) (int, error) {
	n, err := a.message.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		err = a.verdict()
	case err != nil:
		err = a.halfway(err)
	}
	return n, err
}

func (a *checkedArtifact) verdict() error {
	if sum := hex.EncodeToString(a.digest.Sum(nil)); a.promised != "" && a.promised != sum {
		return fmt.Errorf("%w: read %s", fault.ErrChecksumMismatch, sum)
	}
	if len(a.trust) > 0 && !a.trust.verify(a.message, a.signature) {
		return fault.ErrUntrusted
	}
	return io.EOF
}

// Close closes the artifact.
func (a *checkedArtifact) Close() error { return a.file.Close() }
