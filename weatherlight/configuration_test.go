package weatherlight

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/settings"
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
		{"OONA_EMERGENCY_STREAM", "oona.kernels.ready"},
		{"OONA_TELEMETRY_STREAM", "oona.kernels.errors"},
		{"OONA_POLICY_STREAM", "oona.deadletter"},
		{"OONA_POLICY_STREAM", "weatherlight.inbox.local"},
		{"URZA_SIGNING_KEY_FILE", "/nope"},
		{"URZA_SIGNING_KEY_FILE", garbage},
		{"URZA_TRUSTED_KEYS", "garbage"},
	} {
		resolved := loadSettings(t, map[string]string{test.env: test.text})
		_, err := New(Config{Settings: resolved})
		var faults *settings.Faults
		if !errors.As(err, &faults) || !slices.ContainsFunc(faults.List, func(f settings.Fault) bool { return f.Env == test.env }) {
			t.Errorf("%s=%s: the service is made: %v", test.env, test.text, err)
		}
		check := named(t, Preflight(t.Context(), resolved), "settings")
		if check.Result != Failed || !check.Configuration || !strings.Contains(check.Detail, test.env) {
			t.Errorf("%s=%s: %+v", test.env, test.text, check)
		}
	}
	sound := loadSettings(t, map[string]string{
		"KARN_QUARANTINED": "BP005, BP006", "KARN_APPROVED": "imported-kernel", "OONA_NORMAL_STREAM": "esper.normal",
	})
	if err := CheckSettings(sound); err != nil {
		t.Error(err)
	}
}
