package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

func TestCheckSaysWhatAStartWouldMeet(t *testing.T) {
	begin(t)
	w := newWorld(t)
	table := run(t, w.folder, w.environ, service, "--check")
	mustSay(t, "--check before the start", table, "secret", "bus", "clock", "catalogue", "data folder", "http port", "shared memory")
	mustNotSay(t, "--check before the start", table, "FAILED")
	mustNotSay(t, "--check before the start", table, secret)
	if _, err := os.Stat(filepath.Join(w.folder, "var")); !os.IsNotExist(err) {
		t.Errorf("--check made the folder of the data (%v)", err)
	}
	w.boot()
	p := launch(t, w.folder, w.environ, service, "--check")
	if code, _ := p.exit(patience); code != exitDependency {
		t.Errorf("--check beside a running service: exit code %d, want %d", code, exitDependency)
	}
	mustSay(t, "--check beside a running service", p.stdout.String(),
		"FAILED", "in use by another Weatherlight (process "+strconv.Itoa(w.process.cmd.Process.Pid)+")")
	w.stop()
}

func TestSignalsOfTheOperatorDoNotStopTheService(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.boot()
	w.process.signal(syscall.SIGUSR1)
	eventually(t, "the status is in the log", patience, func() bool {
		status, _ := w.logged("status")["status"].(map[string]any)
		return status["state"] == "ready" && len(status["workers"].([]any)) > 10
	})
	if err := os.WriteFile(filepath.Join(w.folder, ".env"), []byte("ESP_LOG_LEVEL=DEBUG\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.process.signal(syscall.SIGHUP)
	eventually(t, "the log level is read again", patience, func() bool { return w.logged("reloaded")["log_level"] == "DEBUG" })
	if err := os.WriteFile(filepath.Join(w.folder, ".env"), []byte("ESP_LOG_LEVEL=LOUD\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.process.signal(syscall.SIGHUP)
	eventually(t, "a broken file changes nothing", patience, func() bool { return w.logged("reload: nothing changed") != nil })
	w.ask("after the signals", missing, patience)
	w.stop()
}
