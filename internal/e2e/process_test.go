package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/proctest"
)

// process is one of our commands as a child process.
type process struct {
	*proctest.Process

	t              testing.TB
	cmd            *exec.Cmd
	stdout, stderr *proctest.Transcript
	ended          chan struct{} // closed when it has ended
}

func launch(t testing.TB, folder string, environ []string, command string, args ...string) *process {
	t.Helper()
	return of(t, proctest.Launch(t, folder, environ, filepath.Join(suite.binaries, command), args...))
}

func start(t testing.TB, cmd *exec.Cmd, name string) *process {
	t.Helper()
	return of(t, proctest.Start(t, cmd, name))
}

func of(t testing.TB, p *proctest.Process) *process {
	return &process{Process: p, t: t, cmd: p.Cmd, stdout: &p.Stdout, stderr: &p.Stderr, ended: p.Ended}
}

func tail(text string) string { return proctest.Tail(text) }

func (p *process) kill() { p.Kill() }

func (p *process) signal(signal syscall.Signal) {
	p.t.Helper()
	p.Signal(signal)
}

func (p *process) running() bool { return p.Running() }

// exit waits for the end of the process and returns its code and how long the
// wait took.
func (p *process) exit(within time.Duration) (code int, took time.Duration) {
	p.t.Helper()
	begun := time.Now()
	select {
	case <-p.ended:
		return p.Code(), time.Since(begun)
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
