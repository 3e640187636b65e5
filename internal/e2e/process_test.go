package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is one of our commands as a child process.
type process struct {
	t              testing.TB
	cmd            *exec.Cmd
	stdout, stderr transcript
	ended          chan struct{} // closed when it has ended; code is valid then
	code           int
}

// transcript collects output that may be read while more arrives.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *transcript) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// launch starts a command in a folder. Of the environment of the tests it sees
// only the search path, so that nothing of the machine leaks into a test.
func launch(t testing.TB, folder string, environ []string, command string, args ...string) *process {
	t.Helper()
	scratch := filepath.Join(folder, "tmp")
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(suite.binaries, command), args...)
	cmd.Dir = folder
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder, "TMPDIR=" + scratch}, environ...)
	return start(t, cmd, fmt.Sprintf("%s %v", command, args))
}

// start starts a process, which is killed when the test ends, and tells what it wrote
// when the test failed.
func start(t testing.TB, cmd *exec.Cmd, name string) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = cmd.Wait() // its exit code says it all
		p.code = cmd.ProcessState.ExitCode()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s wrote:\n%s%s", name, tail(p.stdout.String()), tail(p.stderr.String()))
		}
	})
	return p
}

func tail(text string) string { return text[max(0, len(text)-4000):] }

// kill ends the process as a power cut would, and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}

func (p *process) signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatalf("signal %v: %v", signal, err)
	}
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// exit waits for the end of the process and returns its code and how long the
// wait took.
func (p *process) exit(within time.Duration) (code int, took time.Duration) {
	p.t.Helper()
	begun := time.Now()
	select {
	case <-p.ended:
		return p.code, time.Since(begun)
	case <-time.After(within):
		p.t.Fatalf("process has not ended within %s", within)
		return 0, 0
	}
}

// run runs a command to its end and returns what it printed.
func run(t testing.TB, folder string, environ []string, command string, args ...string) (stdout string) {
	t.Helper()
	p := launch(t, folder, environ, command, args...)
	if code, _ := p.exit(2 * time.Minute); code != 0 {
		t.Fatalf("%s %s: exit code %d: %s", command, strings.Join(args, " "), code, tail(p.stderr.String()))
	}
	return p.stdout.String()
}

// mustSay fails unless the text holds every part, and says so by name.
func mustSay(t testing.TB, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %s:\n%s", what, fmt.Sprintf("%q", part), tail(text))
		}
	}
}

// mustNotSay fails when the text holds what must stay secret.
func mustNotSay(t testing.TB, what, text, secret string) {
	t.Helper()
	if strings.Contains(text, secret) {
		t.Errorf("%s prints %q:\n%s", what, secret, tail(text))
	}
}
