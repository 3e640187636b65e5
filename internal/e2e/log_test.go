package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// A log whose pipe is full, or whose reader is gone, takes nothing of the service away:
// it works, and ends when it is told to.
func TestLogThatNobodyReadsStopsNothing(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, read, write *os.File){"full": fillPipe, "gone": leavePipe} {
		t.Run(name, func(t *testing.T) {
			begin(t)
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = read.Close(), write.Close() })
			spoil(t, read, write)
			w := newWorld(t)
			w.bootLoggingTo(write)
			if name == "gone" {
				eventually(t, "the alarm", patience, func() bool { return w.alarms()["log_dropping"] != "" })
			}
			w.stop()
		})
	}
}

// bootLoggingTo starts the service with its log on a file of the test.
func (w *world) bootLoggingTo(log *os.File) {
	w.t.Helper()
	w.http = freeport.Must(w.t)
	cmd := exec.Command("sh", "-c", `exec "$0" 2>&3`, filepath.Join(suite.binaries, service)) // 3 is the first extra file
	cmd.Dir, cmd.ExtraFiles = w.folder, []*os.File{log}
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.folder}, append(w.environ, "WEATHERLIGHT_HTTP_ADDR="+w.http)...)
	w.process = start(w.t, cmd, service)
	eventually(w.t, "the service is ready", patience, func() bool {
		code, _, err := get(w.http, "/readyz")
		return err == nil && code == http.StatusOK
	})
}

// leavePipe takes the reader of a pipe away.
func leavePipe(t *testing.T, read, _ *os.File) {
	t.Helper()
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
}

// fillPipe writes to a pipe until nothing more fits.
func fillPipe(t *testing.T, _, write *os.File) {
	t.Helper()
	raw, err := write.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var full error
	err = raw.Control(func(fd uintptr) {
		for chunk := make([]byte, 4096); full == nil; {
			_, full = syscall.Write(int(fd), chunk)
		}
		if errors.Is(full, syscall.EAGAIN) {
			full = syscall.SetNonblock(int(fd), false) // for the service, as a shell leaves it
		}
	})
	if err = errors.Join(err, full); err != nil {
		t.Fatal(err)
	}
}

// nanoseconds is a duration as nobody writes it.
var nanoseconds = regexp.MustCompile(`"(took|after|lasted|pause)":\d`)

// TestR25LogIsForWhoeverReadsIt: it had durations in nanoseconds and a line of settings that
// filled the terminal, and said nothing of germinations, culls, forged kernels and names that
// nobody reads.
func TestR25LogIsForWhoeverReadsIt(t *testing.T) {
	begin(t)
	h := newHands(t, "OONA_MESAGE_TTL_MS=1000",
		"KASMINA_MIN_TRAINING=1000", "KASMINA_TRAIN_EPOCHS=100000", "TAMIYO_MAX_SEED_AGE_EPOCHS=1000000")
	h.goTrainer("logged", t.TempDir(), false)
	has := func(ok func(record map[string]any) bool) func() bool {
		return func() bool { return slices.ContainsFunc(h.records(), ok) }
	}
	eventually(t, "a germination is in the log", growthPatience, has(func(r map[string]any) bool {
		event, _ := r["event"].(map[string]any)
		return r["msg"] == "seed_operation" && r["level"] == "INFO" && r["run"] == "logged" && event["blueprint_id"] != nil
	}))
	seed := h.awaitSeed("logged", "TRAINING")
	h.ctl("seeds", "cull", "logged", seed.ID, "--reason", "for the log")
	eventually(t, "its cull is in the log", patience, has(func(r map[string]any) bool {
		event, _ := r["event"].(map[string]any)
		return r["msg"] == "rollback_ready" && event["seed_id"] == seed.ID && event["stage"] != nil && event["reason"] != nil
	}))
	forged := h.logged("forged")
	compiled, _ := forged["compiled"].(float64)
	refused, _ := forged["refused"].(float64)
	if forged["level"] != "INFO" || int(compiled+refused) != blueprints || forged["took"] == nil {
		t.Errorf("of the forge it says %v", forged)
	}
	if said := h.logged("there is no such setting"); said["level"] != "WARN" || said["nearest"] != "OONA_MESSAGE_TTL_MS" {
		t.Errorf("of the name that nobody reads it says %v", said)
	}
	settings, err := json.Marshal(h.logged("settings"))
	if err != nil || len(settings) > 1000 {
		t.Errorf("the settings take %d letters (%v): %s", len(settings), err, settings)
	}
	for line := range strings.Lines(h.process.stderr.String()) {
		if nanoseconds.MatchString(line) {
			t.Errorf("a duration in nanoseconds: %s", line)
		}
	}
}
