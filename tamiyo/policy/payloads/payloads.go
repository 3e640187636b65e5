// Package payloads keeps the payloads of policies in a folder, by their digests. One that is
// too large for the bus travels as a Reference.
package payloads

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
)

const folder = "payloads"

// Folder is where the payloads lie, in the folder of a store.
func Folder(dir string) string { return filepath.Join(dir, folder) }

// Digest is the hex SHA-256 of a payload.
func Digest(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:])
}

func path(dir, digest string) string { return filepath.Join(Folder(dir), digest) }

// Read reads the payload of a digest, of at most limit bytes. One that has rotted is an error.
func Read(dir, digest string, limit int64) ([]byte, error) {
	payload, err := regularfile.Read(path(dir, digest), limit)
	if err != nil {
		return nil, err
	}
	if is := Digest(payload); is != digest {
		return nil, fmt.Errorf("policy payload %s holds what has the digest %s", path(dir, digest), is)
	}
	return payload, nil
}

// Keep writes over a file of the same digest too: the old one may have
// rotted, and the content is the same otherwise.
func Keep(dir, digest string, payload []byte) error {
	if digest == "" {
		return nil
	}
	if err := atomicfile.WriteFile(path(dir, digest), payload, 0o600); err != nil {
		return fmt.Errorf("store policy payload: %w", err)
	}
	return nil
}

// KeepOnly removes the payloads of all digests but these.
func KeepOnly(dir string, keep []string) error {
	entries, err := os.ReadDir(Folder(dir))
	if err != nil {
		return err
	}
	var failed []error
	for _, entry := range entries {
		if !slices.Contains(keep, entry.Name()) {
			failed = append(failed, removeIfPresent(path(dir, entry.Name())))
		}
	}
	return errors.Join(failed...)
}

func removeIfPresent(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
