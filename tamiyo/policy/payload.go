package policy

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
)

func digestOf(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:])
}

func payloadPath(dir, digest string) string {
	return filepath.Join(PayloadFolder(dir), digest)
}

// storePayload writes over a file of the same digest too: the old one may have
// rotted, and the content is the same otherwise.
func storePayload(dir string, policy Update, payload []byte) error {
	if policy.Digest == "" {
		return nil
	}
	if err := atomicfile.WriteFile(payloadPath(dir, policy.Digest), payload, 0o600); err != nil {
		return fmt.Errorf("store policy payload: %w", err)
	}
	return nil
}

func removePayloadsBut(dir string, keep []string) error {
	entries, err := os.ReadDir(PayloadFolder(dir))
	if err != nil {
		return err
	}
	var failed []error
	for _, entry := range entries {
		if !slices.Contains(keep, entry.Name()) {
			failed = append(failed, removeIfPresent(payloadPath(dir, entry.Name())))
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
