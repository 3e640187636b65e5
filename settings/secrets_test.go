package settings_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/settings"
)

func secretsOf(t *testing.T, environ ...string) (*settings.Settings, error) {
	t.Helper()
	return settings.Load(settings.Options{Environ: environ, EnvFile: filepath.Join(t.TempDir(), "no.env")})
}

func writeSecrets(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSecretFileIsReadAgainByEachCall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	writeSecrets(t, path, "new one\r\n\nold\n")
	s, err := secretsOf(t, "ESPER_LEYLINE_SECRET_FILE="+path, "ESPER_LEYLINE_SECRET=env", "ESPER_LEYLINE_SECRET_PREVIOUS=old, ,older")
	if err != nil {
		t.Fatal(err)
	}
	current, previous, err := s.Secrets()
	if err != nil || current != "new one" || !slices.Equal(previous, []string{"old", "env", "older"}) {
		t.Errorf("secrets %q %q, %v", current, previous, err)
	}
	writeSecrets(t, path, "newer")
	if current, _, err := s.Secrets(); current != "newer" || err != nil {
		t.Errorf("after a change %q, %v", current, err)
	}
	for _, field := range s.Fields() {
		if strings.Contains(field.Value, "older") || strings.Contains(field.Value, "new one") {
			t.Errorf("%s prints a secret: %q", field.Env, field.Value)
		}
	}
}

func TestSecretFileIsText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	for content, want := range map[string]string{
		"\ufeffsecret of Notepad\r\n": "secret of Notepad", " blanks are kept \n": " blanks are kept ", "größe\ttab\n": "größe\ttab",
		"\xff\xfes\x00e\x00\n\x00": "", "a\x00b\n": "", "\x7fELF": "", "latin \xe9\n": "", "\ufeff\n": "",
	} {
		writeSecrets(t, path, content)
		s, err := secretsOf(t, "ESPER_LEYLINE_SECRET_FILE="+path)
		if (err == nil) != (want != "") {
			t.Errorf("%q: %v", content, err)
		}
		if err != nil {
			continue
		}
		if current, _, err := s.Secrets(); current != want || err != nil {
			t.Errorf("%q is read as %q, %v", content, current, err)
		}
	}
}

func TestNameOfAnInstanceIsBounded(t *testing.T) {
	for name, ok := range map[string]bool{
		strings.Repeat("x", 128): true, "two words": true, "größe": true,
		strings.Repeat("x", 129): false, "a\x1b[31mb": false, "\xff": false,
	} {
		_, err := secretsOf(t, "ESPER_LEYLINE_SECRET=secret", "WEATHERLIGHT_INSTANCE="+name)
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "WEATHERLIGHT_INSTANCE") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestSecretsOfTheEnvironment(t *testing.T) {
	s, err := secretsOf(t, "ESPER_LEYLINE_SECRET=now", "ESPER_LEYLINE_SECRET_PREVIOUS=then,now")
	if err != nil {
		t.Fatal(err)
	}
	current, previous, err := s.Secrets()
	if err != nil || current != "now" || !slices.Equal(previous, []string{"then"}) {
		t.Errorf("secrets %q %q, %v", current, previous, err)
	}
}

func TestFaultsOfSecretsAndTrustAreToldAtOnce(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	writeSecrets(t, empty, "\n \n")
	for _, path := range []string{empty, empty + ".missing", t.TempDir()} {
		_, err := secretsOf(t, "ESPER_LEYLINE_SECRET_FILE="+path, "OONA_TRUST=blind")
		if err == nil || !strings.Contains(err.Error(), settings.SecretFileEnv) || !strings.Contains(err.Error(), "OONA_TRUST") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestPipeUnderTheNameOfAFileHoldsUpNoReload(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]settings.Options{
		"secrets": {Environ: []string{"ESPER_LEYLINE_SECRET_FILE=" + pipe}, EnvFile: os.DevNull},
		".env":    {Environ: []string{"ESPER_LEYLINE_SECRET=env"}, EnvFile: pipe},
	} {
		answer := make(chan error, 1)
		go func() {
			_, err := settings.Load(options)
			answer <- err
		}()
		select {
		case err := <-answer:
			if err == nil || !strings.Contains(err.Error(), "is not a regular file") {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the load waits for somebody to write into the pipe", name)
		}
	}
}
