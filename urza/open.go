package urza

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"aead.dev/minisign"
)

// OpenArtifact opens an artifact by its announced reference, a path or the URL of
// an object. What is read is checked on the way: instead of io.EOF the last read
// returns ErrChecksumMismatch when the content is not what a content-addressed
// reference promises, and ErrUntrusted when keys are configured and none of them
// signed it. Whoever stops reading before the end has read unchecked bytes.
// Errors: ErrArtifactMissing, ErrUntrusted, ErrUnavailable.
func (l *Library) OpenArtifact(ctx context.Context, ref string) (io.ReadCloser, error) {
	content, err := l.openArtifact(ctx, ref, promised(ref))
	if err != nil {
		return nil, fmt.Errorf("urza: open artifact %s: %w", ref, err)
	}
	return content, nil
}

// openArtifact opens an artifact whose content must have the checksum; "" is any.
func (l *Library) openArtifact(ctx context.Context, ref, sum string) (io.ReadCloser, error) {
	if l.closed.Load() {
		return nil, fmt.Errorf("%w: library closed", ErrUnavailable)
	}
	checked := &checkedArtifact{trust: l.trust, promised: sum, digest: sha256.New()}
	if len(l.trust) > 0 {
		signature, err := l.stores.signature(ctx, ref)
		if err != nil {
			return nil, err
		}
		checked.signature = signature
	}
	file, err := l.stores.open(ctx, ref)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", ErrArtifactMissing, err)
	case errors.Is(err, ErrUnavailable) || (err != nil && isContextError(err)):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
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
}

// Read reads on; at the end it says whether all of it was what it should be.
func (a *checkedArtifact) Read(p []byte) (int, error) {
	n, err := a.message.Read(p)
	if errors.Is(err, io.EOF) {
		err = a.verdict()
	}
	return n, err
}

func (a *checkedArtifact) verdict() error {
	if sum := hex.EncodeToString(a.digest.Sum(nil)); a.promised != "" && a.promised != sum {
		return fmt.Errorf("%w: read %s", ErrChecksumMismatch, sum)
	}
	if len(a.trust) > 0 && !a.trust.verify(a.message, a.signature) {
		return ErrUntrusted
	}
	return io.EOF
}

// Close closes the artifact.
func (a *checkedArtifact) Close() error { return a.file.Close() }
