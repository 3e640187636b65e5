package weatherlight

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/preflight"
)

// Settings that would open what they were meant to close, or that no boot gets
// over, are told by name before anything starts.
func TestSettingThatThePartsCannotFollowIsToldByItsName(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ env, text string }{
		{"KARN_QUARANTINED", "bp005"},
		{"KARN_QUARANTINED", "BP005, BP999"},
		{"KARN_QUARANTINED", "x!"},
		{"OONA_NORMAL_STREAM", "oona.kernels.requests"},
		{"OONA_NORMAL_STREAM", "oona:members:weatherlight"},
		{"OONA_TELEMETRY_STREAM", "weatherlight:kasmina:due"},
		{"OONA_EMERGENCY_STREAM", "oona.kernels.ready"},
		{"OONA_TELEMETRY_STREAM", "oona.kernels.errors"},
		{"OONA_POLICY_STREAM", "oona.deadletter"},
		{"OONA_POLICY_STREAM", "oona.run.local"},
		{"URZA_SIGNING_KEY_FILE", "/nope"},
		{"URZA_SIGNING_KEY_FILE", garbage},
		{"URZA_TRUSTED_KEYS", "garbage"},
		{"URZA_ARTIFACT_URL", "s3://kernels?endpoint=ftp://store"},
		{"TOLARIA_EMERGENCY_SIGNAL_NAME", "/rollback"},
	} {
		resolved := loadSettings(t, map[string]string{"TOLARIA_ROLLBACK_SIGNAL_NAME": "rollback", test.env: test.text})
		_, err := New(Config{Settings: resolved})
		var faults *settings.Faults
		if !errors.As(err, &faults) || !slices.ContainsFunc(faults.List, func(f settings.Fault) bool { return f.Env == test.env }) {
			t.Errorf("%s=%s: the service is made: %v", test.env, test.text, err)
		}
		check := named(t, preflight.Run(t.Context(), resolved), "settings")
		if check.Result != preflight.Failed || !check.Configuration || !strings.Contains(check.Detail, test.env) {
			t.Errorf("%s=%s: %+v", test.env, test.text, check)
		}
	}
	sound := loadSettings(t, map[string]string{
		"KARN_QUARANTINED": "BP005, BP006", "KARN_APPROVED": "imported-kernel", "OONA_NORMAL_STREAM": "esper.normal",
	})
	if err := assembly.Check(sound); err != nil {
		t.Error(err)
	}
}

// protectedKey is a minisign secret key that no password opens. Its own figures ask
// for little work, so that it says so soon.
func protectedKey(t *testing.T) (path string) {
	t.Helper()
	key := make([]byte, 158)
	copy(key, "EdScB2") // signature, key derivation and checksum
	binary.LittleEndian.PutUint64(key[38:], 1<<15)
	binary.LittleEndian.PutUint64(key[46:], 1<<24)
	path = filepath.Join(t.TempDir(), "protected.key")
	text := "untrusted comment: minisign encrypted secret key\n" + base64.StdEncoding.EncodeToString(key) + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A service manager starts again what failed for want of a dependency. A wrong
// password would have it start for ever, with a gigabyte of work each time.
func TestWrongPasswordOfTheSigningKeyIsAFaultOfTheConfiguration(t *testing.T) {
	resolved := loadSettings(t, map[string]string{
		"URZA_SIGNING_KEY_FILE": protectedKey(t), "URZA_SIGNING_KEY_PASSWORD": "pa55",
	})
	service, err := New(Config{Settings: resolved})
	if err != nil {
		t.Fatal(err)
	}
	err = service.Run(t.Context())
	var boot *supervise.BootError
	var faults *settings.Faults
	if !errors.As(err, &boot) || boot.Step != bootList[3] || !errors.As(err, &faults) {
		t.Errorf("the boot says %v", err)
	}
	if text := err.Error(); !strings.Contains(text, "URZA_SIGNING_KEY_FILE") || strings.Contains(text, "pa55") {
		t.Errorf("the boot says %q", text)
	}
	if check := named(t, preflight.Run(t.Context(), resolved), "settings"); check.Result != preflight.Failed || !check.Configuration {
		t.Errorf("%+v", check)
	}
}
