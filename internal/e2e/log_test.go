package e2e

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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
