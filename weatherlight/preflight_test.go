package weatherlight

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal/shmsignaltest"
	"github.com/esper-lite/weatherlight/weatherlight/preflight"
)

func named(t *testing.T, checks []preflight.Check, name string) preflight.Check {
	t.Helper()
	for _, check := range checks {
		if check.Name == name {
			return check
		}
	}
	t.Fatalf("no check %q in %+v", name, checks)
	return preflight.Check{}
}

func TestPreflightOfASoundMachinePassesAndChangesNothing(t *testing.T) {
	redis := redistest.Start(t, redistest.AOF()...)
	for _, bus := range []string{"embedded:", redis.URL} {
		resolved := loadSettings(t, map[string]string{"REDIS_URL": bus, "ESPER_LEYLINE_SECRET": "sixteen bytes at least"})
		for _, check := range preflight.Run(t.Context(), resolved) {
			if check.Result != preflight.Passed || check.Detail == "" {
				t.Errorf("%s: %+v", bus, check)
			}
		}
		folder := filepath.Dir(resolved.Weatherlight.DataDir)
		_ = filepath.WalkDir(folder, func(path string, _ fs.DirEntry, _ error) error {
			if path != folder {
				t.Errorf("the preflight made %s", path)
			}
			return nil
		})
	}
	commands := connect(t, redis.URL, "any")
	if stats, err := commands.Stats(t.Context()); err != nil || stats.Streams["normal"].Depth != 0 {
		t.Errorf("the bus afterwards: %v, %v", stats, err)
	}
}

// What is wrong is found, all of it at once, and told whose business it is.
func TestPreflightFindsEveryFault(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte("neither a folder nor a database, whatever it is called"), 0o600); err != nil {
		t.Fatal(err)
	}
	segment, path := shmsignaltest.Name(t)
	if err := os.WriteFile(path, []byte("too short"), 0o600); err != nil {
		t.Fatal(err)
	}
	resolved := *loadSettings(t, map[string]string{
		"REDIS_URL": "redis://:pa55@127.0.0.1:1/0", "URZA_DATABASE_URL": "sqlite:///" + file, "WEATHERLIGHT_DATA_DIR": file,
		"WEATHERLIGHT_HTTP_ADDR": taken.Addr().String(), "TOLARIA_ROLLBACK_SIGNAL_NAME": segment,
	})
	resolved.Secret = settings.NewSecret(" ")
	checks := preflight.Run(t.Context(), &resolved)
	for _, test := range []struct {
		name, says    string
		configuration bool
	}{
		{"secret", settings.SecretEnv, true},
		{"bus", "127.0.0.1:1", false},
		{"catalogue", file, false},
		{"data folder", file, false},
		{"http port", taken.Addr().String(), false},
	} {
		check := named(t, checks, test.name)
		if check.Result != preflight.Failed || check.Configuration != test.configuration || !strings.Contains(check.Detail, test.says) {
			t.Errorf("%+v does not say %q", check, test.says)
		}
		if strings.Contains(check.Detail, "pa55") {
			t.Errorf("the password is in %q", check.Detail)
		}
	}
	if check := named(t, checks, "clock"); check.Result != preflight.Passed {
		t.Errorf("%+v", check)
	}
	if check := named(t, checks, "shared memory"); check.Result != preflight.Warned || !strings.Contains(check.Detail, "9 bytes, want 16") {
		t.Errorf("%+v", check)
	}
}

func TestPreflightSaysWhoHoldsTheDataFolder(t *testing.T) {
	r := start(t, newService(t, nil))
	check := named(t, preflight.Run(t.Context(), r.settings), "data folder")
	if want := "process " + strconv.Itoa(os.Getpid()); check.Result != preflight.Failed || !strings.Contains(check.Detail, want) {
		t.Errorf("%+v, want %q", check, want)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	if check := named(t, preflight.Run(t.Context(), r.settings), "data folder"); check.Result != preflight.Passed {
		t.Errorf("after the stop: %+v", check)
	}
	if check := named(t, preflight.Run(t.Context(), r.settings), "catalogue"); check.Result != preflight.Passed || !strings.Contains(check.Detail, "version") {
		t.Errorf("after the stop: %+v", check)
	}
}

// What the boot could not make is found before it, and by its name.
func TestPreflightFailsWhereTheBootWould(t *testing.T) {
	store := httptest.NewServer(http.NotFoundHandler())
	store.Close()
	for _, test := range []struct{ check, env, text string }{
		{"kernel files", "URZA_ARTIFACT_DIR", "/proc/x"},
		{"kernel files", "URZA_ARTIFACT_URL", "s3://kernels?endpoint=" + store.URL},
		{"policies", "TAMIYO_POLICY_DIR", "/proc/x/policies"},
		{"catalogue", "URZA_DATABASE_URL", "sqlite:////proc/x/catalog.db"},
		{"data folder", "WEATHERLIGHT_DATA_DIR", "/proc/x"},
	} {
		resolved := loadSettings(t, map[string]string{test.env: test.text})
		if check := named(t, preflight.Run(t.Context(), resolved), test.check); check.Result != preflight.Failed || check.Configuration {
			t.Errorf("%s=%s: %+v", test.env, test.text, check)
		}
		service, err := New(Config{Settings: resolved})
		if err != nil {
			t.Fatalf("%s=%s: %v", test.env, test.text, err)
		}
		var boot *supervise.BootError
		if err := service.Run(t.Context()); !errors.As(err, &boot) {
			t.Errorf("%s=%s: the boot did not fail: %v", test.env, test.text, err)
		}
	}
}

func TestBootLooksAtTheServer(t *testing.T) {
	r := start(t, newService(t, map[string]string{"REDIS_URL": redistest.Start(t).URL}))
	if r.busServer.Version == "" || r.status(t.Context()).Versions[r.busServer.Product] != r.busServer.Version {
		t.Errorf("server %+v", r.busServer)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	if err := r.inspectServer(t.Context()); err == nil {
		t.Error("a closed bus was looked at")
	}
}
