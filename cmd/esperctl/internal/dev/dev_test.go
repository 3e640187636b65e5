package dev

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDevModeTouchesNothingOutsideItsFolder gives every variable that is a text a value that
// leads elsewhere. What remains of them says how a service behaves or where it listens.
func TestDevModeTouchesNothingOutsideItsFolder(t *testing.T) {
	known, err := settings.Load(settings.Options{SecretOptional: true, EnvFile: os.DevNull, Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{"KASMINA_SIGMA=2", "WEATHERLIGHT_HTTP_ADDR=127.0.0.1:4711", "ESP_LOG_LEVEL=DEBUG"}
	for _, field := range known.Fields() {
		if strings.Contains(field.Env, "_HTTP_") {
			continue // where it listens, and whom it lets in
		}
		for _, part := range []string{"URL", "DIR", "FILE", "SECRET", "SIGNAL_NAME", "S3_", "KEY", "PASSWORD", "INSTANCE"} {
			if strings.Contains(field.Env, part) {
				environ = append(environ, field.Env+"=redis://elsewhere/")
			}
		}
	}
	folder := t.TempDir()
	if err := writeSecrets(folder); err != nil {
		t.Fatal(err)
	}
	resolved, err := devSettings(folder, environ)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, field := range resolved.Fields() {
		got[field.Env] = field.Value
		// A choice of features is no place, and Elasticsearch is not used.
		if strings.Contains(field.Value, "elsewhere") && field.Env != "NISSA_COVERAGE_FEATURE_KEYS" {
			t.Errorf("%s is %s", field.Env, field.Value)
		}
		if strings.HasPrefix(field.Value, "./") {
			t.Errorf("%s lies in the working directory: %s", field.Env, field.Value)
		}
	}
	if got["KASMINA_SIGMA"] != "2" || got["WEATHERLIGHT_HTTP_ADDR"] != "127.0.0.1:4711" || got["ESP_LOG_LEVEL"] != "DEBUG" {
		t.Errorf("how it behaves is not taken: %v", got)
	}
	if got["REDIS_URL"] != "embedded:" {
		t.Errorf("the bus is %s", got["REDIS_URL"])
	}
}

func TestFolderOfDevMode(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	temporary, remove, err := devFolder("")
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(temporary); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", temporary, err)
	}
	kept := filepath.Join(t.TempDir(), "new", "folder")
	var secrets []string
	for range 2 {
		folder, remove, err := devFolder(kept)
		if err != nil || folder != kept || remove() != nil {
			t.Fatalf("%s: %v", folder, err)
		}
		secret, err := os.ReadFile(secretPath(folder))
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, string(secret))
	}
	if secrets[0] != secrets[1] || len(strings.TrimSpace(secrets[0])) < 20 {
		t.Errorf("secrets %q", secrets)
	}
	if info, err := os.Stat(secretPath(kept)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret's file: %v, %v", info.Mode(), err)
	}
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := devFolder(blocked); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("a file as a folder: %v", err)
	}
}

// Who gave a token keeps it, and need not be told.
func TestDevModeMakesNoTokenUpBesideOneThatIsGiven(t *testing.T) {
	folder := t.TempDir()
	if err := writeSecrets(folder); err != nil {
		t.Fatal(err)
	}
	given := strings.Repeat("t", 20)
	resolved, err := devSettings(folder, []string{"NISSA_HTTP_TOKEN=" + given})
	if err != nil {
		t.Fatal(err)
	}
	if tokens, err := resolved.Nissa.Listener().Tokens(); err != nil || !slices.Equal(tokens, []string{given}) {
		t.Errorf("tokens %q, %v", tokens, err)
	}
	if greeting := devGreeting(resolved, "redis://127.0.0.1:1/0", "off", "127.0.0.1:3", "goes"); strings.Contains(greeting, given) {
		t.Errorf("it is shown:\n%s", greeting)
	}
}

// What dev mode prints is pasted into a shell.
func TestGreetingIsWhatAShellTakes(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "it's $HOME; a folder")
	if err := writeSecrets(folder); err != nil {
		t.Fatal(err)
	}
	resolved, err := devSettings(folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(devGreeting(resolved, "redis://127.0.0.1:1/0", "127.0.0.1:2", "127.0.0.1:3", "goes"), "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "export ") })
	shell := exec.CommandContext(t.Context(), "sh", "-c", strings.Join(lines, "")+"env")
	shell.Env = []string{"PATH=" + os.Getenv("PATH")}
	said, err := shell.Output()
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := resolved.Nissa.Listener().Tokens()
	if err != nil || len(tokens) != 1 {
		t.Fatalf("whoever wants to change something at Nissa has no token: %q, %v", tokens, err)
	}
	for _, want := range []string{
		"NISSA_HTTP_TOKEN=" + tokens[0], "REDIS_URL=redis://127.0.0.1:1/0", "WEATHERLIGHT_HTTP_ADDR=127.0.0.1:2", "NISSA_URL=http://127.0.0.1:3",
		"URZA_DATABASE_URL=" + resolved.Urza.DatabaseURL.Reveal(), "URZA_ARTIFACT_DIR=" + folder + "/urza/artifacts",
		"TAMIYO_POLICY_DIR=" + folder + "/tamiyo/policies", "WEATHERLIGHT_DATA_DIR=" + folder + "/weatherlight",
	} {
		if !slices.Contains(strings.Split(string(said), "\n"), want) {
			t.Errorf("no %s in\n%s", want, said)
		}
	}
}
