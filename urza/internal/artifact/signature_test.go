package artifact

import (
	"os"
	"path/filepath"
	"testing"

	"aead.dev/minisign"
)

func TestProtectedKeyWithoutPasswordIsRefused(t *testing.T) {
	_, key, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := key.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("untrusted comment: x\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newSigner(path, ""); err == nil {
		t.Error("nonsense is a key")
	}
	if _, err := decodeKey(plain, "superfluous"); err != nil {
		t.Error(err)
	}
}
