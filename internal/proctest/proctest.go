// Package proctest builds the commands and runs them as child processes for tests.
package proctest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Build builds the commands into a folder as the image does. root is the module's.
func Build(root, folder string) error {
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", folder+string(filepath.Separator), "./cmd/...")
	build.Dir = root
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the commands: %w\n%s", err, output)
	}
	return nil
}

// Process is a child process.
type Process struct {
	Cmd            *exec.Cmd
	Stdout, Stderr Transcript
	Ended          chan struct{} // closed when it has ended

	t testing.TB
}

// Transcript collects output that may be read while more arrives.
type Transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *Transcript) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *Transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Launch starts a command in a folder. Of the environment of the tests it sees
// only the search path, so that nothing of the machine leaks into a test.
func Launch(t testing.TB, folder string, environ []string, command string, args ...string) *Process {
	t.Helper()
	scratch := filepath.Join(folder, "tmp")
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(command, args...)
	cmd.Dir = folder
	path := slices.DeleteFunc(cmd.Environ(), func(v string) bool { return !strings.HasPrefix(v, "PATH=") })
	cmd.Env = slices.Concat(path, []string{"HOME=" + folder, "TMPDIR=" + scratch}, environ)
	return Start(t, cmd, fmt.Sprintf("%s %v", filepath.Base(command), args))
}

// Start starts a process, which is killed when the test ends, and tells what it wrote
// when the test failed.
func Start(t testing.TB, cmd *exec.Cmd, name string) *Process {
	t.Helper()
	p := &Process{t: t, Cmd: cmd, Ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.Stdout, &p.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = cmd.Wait() // its exit code says it all
		close(p.Ended)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s wrote:\n%s%s", name, Tail(p.Stdout.String()), Tail(p.Stderr.String()))
		}
	})
	return p
}

// Tail is the end of a long text.
func Tail(text string) string { return text[max(0, len(text)-4000):] }

// Kill ends the process as a power cut would, and waits for it.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill() // it may have ended by itself
	<-p.Ended
}

// Signal sends a signal to the process, which may have ended by itself.
func (p *Process) Signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.Cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("signal %v: %v", signal, err)
	}
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.Ended:
		return false
	default:
		return true
	}
}

// Code is the exit code of a process that has ended.
func (p *Process) Code() int {
	<-p.Ended
	return p.Cmd.ProcessState.ExitCode()
}
