package assembly

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loadSettings resolves settings whose folders are the test's own.
func loadSettings(t testing.TB, extra map[string]string) *settings.Settings {
	t.Helper()
	dir := t.TempDir()
	variables := map[string]string{
		"ESPER_LEYLINE_SECRET":  "test-secret",
		"REDIS_URL":             "embedded:",
		"WEATHERLIGHT_DATA_DIR": filepath.Join(dir, "data"),
		"TAMIYO_POLICY_DIR":     filepath.Join(dir, "tamiyo", "policies"),
		"URZA_DATABASE_URL":     "sqlite:///" + filepath.Join(dir, "urza", "catalog.db"),
		"URZA_ARTIFACT_DIR":     filepath.Join(dir, "urza", "artifacts"),
	}
	maps.Copy(variables, extra)
	var environ []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		environ = append(environ, name+"="+variables[name])
	}
	resolved, err := settings.Load(settings.Options{Environ: environ, EnvFile: filepath.Join(dir, "no.env")})
	if err != nil {
		t.Fatalf("settings: %v", err)
	}
	return resolved
}
