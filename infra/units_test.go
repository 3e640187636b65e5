package infra

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/settings"
)

const unitFolder = "systemd"

// installed is where the units expect the commands.
const installed = "/usr/local/bin/"

// verify asks systemd about a unit whose commands were installed elsewhere, and returns what it complains of.
func verify(t testing.TB, name, text string, dropIns ...string) string {
	t.Helper()
	folder := t.TempDir()
	for _, dropIn := range dropIns {
		within := filepath.Join(folder, name+".d")
		if err := errors.Join(os.MkdirAll(within, 0o700), os.WriteFile(filepath.Join(within, "x.conf"), []byte(dropIn), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range regexp.MustCompile(installed+`[a-z-]+`).FindAllString(text, -1) {
		file := filepath.Join(folder, path.Base(command))
		if _, err := os.Stat(filepath.Join("..", "cmd", path.Base(command))); err != nil {
			continue // there is no such command: systemd is to say so
		}
		if err := os.WriteFile(file, nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(folder, name)
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, installed, folder+"/")), 0o600); err != nil {
		t.Fatal(err)
	}
	printed, err := attempt(".", []string{"SYSTEMD_LOG_LEVEL=warning"}, "systemd-analyze", "verify", "--man=no", file)
	if err != nil {
		return err.Error() + ": " + printed
	}
	return printed
}

func units(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(unitFolder, "*.service"))
	if err != nil || len(files) != 2 {
		t.Fatalf("units are %v (%v)", files, err)
	}
	texts := make(map[string]string, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(file)] = string(text)
	}
	return texts
}

func TestUnitsAreSound(t *testing.T) {
	for name, text := range units(t) {
		if complaint := verify(t, name, text); complaint != "" {
			t.Errorf("systemd-analyze verify %s: %s", name, complaint)
		}
	}
}

// TestUnitTakesTheUserOfATrainer: a user of its own could not open the segments of another.
func TestUnitTakesTheUserOfATrainer(t *testing.T) {
	const name = "esper-weatherlight.service"
	text, err := os.ReadFile(filepath.Join(unitFolder, "trainer.conf"))
	if err != nil {
		t.Fatal(err)
	}
	dropIn := string(text)
	if complaint := verify(t, name, units(t)[name], dropIn); complaint != "" {
		t.Errorf("systemd-analyze verify: %s", complaint)
	}
	if value(t, dropIn, "DynamicUser") != "no" || value(t, dropIn, "User") == "" {
		t.Errorf("the unit runs as a user of its own still:\n%s", dropIn)
	}
	if verify(t, name, units(t)[name], strings.Replace(dropIn, "User=", "Usr=", 1)) == "" {
		t.Error("systemd-analyze verify does not read the drop-in")
	}
}

// TestUnsoundUnitsAreFound: a check that lets everything pass would be none.
func TestUnsoundUnitsAreFound(t *testing.T) {
	const name = "esper-weatherlight.service"
	sound := units(t)[name]
	for _, mutant := range []struct{ what, old, instead string }{
		{"misspelled key", "WatchdogSec=", "WatchdogSecs="},
		{"unknown type", "Type=notify", "Type=notifies"},
		{"time that is none", "TimeoutStopSec=15", "TimeoutStopSec=soon"},
		{"command that is not there", "esper-weatherlight-service", "esper-weatherlite-service"},
		{"misspelled section", "[Service]", "[Servise]"},
		{"exit status that is none", "RestartPreventExitStatus=2", "RestartPreventExitStatus=two"},
		{"relative folder", "StateDirectory=esper", "StateDirectory=/var/lib/esper"},
	} {
		if !strings.Contains(sound, mutant.old) {
			t.Errorf("%s: the unit does not say %q", mutant.what, mutant.old)
		}
		if verify(t, name, strings.Replace(sound, mutant.old, mutant.instead, 1)) == "" {
			t.Errorf("%s: systemd-analyze verify says nothing", mutant.what)
		}
	}
}

// value is what a unit assigns to a key.
func value(t testing.TB, unit, key string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindStringSubmatch(unit)
	if found == nil {
		t.Fatalf("the unit does not set %s", key)
	}
	return found[1]
}

func seconds(t testing.TB, unit, key string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(value(t, unit, key) + "s")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestNoSecretEndsInACoreFile: a watchdog ends what hangs by a signal that dumps.
func TestNoSecretEndsInACoreFile(t *testing.T) {
	for name, unit := range units(t) {
		if limit := value(t, unit, "LimitCORE"); limit != "0" {
			t.Errorf("%s: a core file may take %s", name, limit)
		}
	}
}

// TestUnitsGiveTheServiceItsTime: systemd must not kill what is still in its bounds.
func TestUnitsGiveTheServiceItsTime(t *testing.T) {
	defaults, err := settings.Load(settings.Options{Environ: []string{"ESPER_LEYLINE_SECRET=" + secret}, EnvFile: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	for name, unit := range units(t) {
		if stop := seconds(t, unit, "TimeoutStopSec"); stop <= defaults.Weatherlight.ShutdownTimeout {
			t.Errorf("%s: killed after %s, a stop may take %s", name, stop, defaults.Weatherlight.ShutdownTimeout)
		}
	}
	foundation := units(t)["esper-weatherlight.service"]
	if start := seconds(t, foundation, "TimeoutStartSec"); start <= defaults.Weatherlight.BootTimeout {
		t.Errorf("given up after %s, a boot may take %s", start, defaults.Weatherlight.BootTimeout)
	}
	if kind := value(t, foundation, "Type"); kind != "notify" {
		t.Errorf("the unit is of type %s: systemd would not wait until the service is ready", kind)
	}
	if folder, state := value(t, foundation, "WorkingDirectory"), value(t, foundation, "StateDirectory"); folder != "/var/lib/"+state {
		t.Errorf("the service runs in %s and may write to %s", folder, state)
	}
}
