package weatherlight

import (
	"os"
	"path/filepath"
	"testing"
)

func TestChangedSecretFileIsTakenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	service := newService(t, map[string]string{"ESPER_LEYLINE_SECRET_FILE": path, "ESPER_LEYLINE_SECRET": ""})
	first := service.keyring.KeyID()
	signed := service.keyring.SignEnvelope([]byte("message"))

	write("new\nold\n")
	if err := service.Reload(service.settings.Secrets); err != nil {
		t.Fatal(err)
	}
	if service.keyring.KeyID() == first {
		t.Error("still signs with the old secret")
	}
	if err := service.keyring.VerifyEnvelope([]byte("message"), signed); err != nil {
		t.Errorf("what the old secret signed: %v", err)
	}

	write("\n")
	if err := service.Reload(service.settings.Secrets); err == nil {
		t.Error("an empty file was taken for secrets")
	}
	if err := service.keyring.VerifyEnvelope([]byte("message"), signed); err != nil {
		t.Errorf("an empty file changed the secrets: %v", err)
	}

	write("new")
	if err := service.Reload(service.settings.Secrets); err != nil {
		t.Fatal(err)
	}
	if err := service.keyring.VerifyEnvelope([]byte("message"), signed); err == nil {
		t.Error("a secret that is gone is still accepted")
	}
}
