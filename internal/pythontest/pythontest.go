// Package pythontest runs Python processes that a test talks with, a line at a
// time, as a trainer beside the service.
package pythontest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Process is a Python process. Its errors go to those of the test.
type Process struct {
	t       testing.TB
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
}

// Start runs a program text. The process is killed when the test ends, if it is
// still there.
func Start(t testing.TB, program string, arguments ...string) *Process {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatal("python3 not found: apt-get install python3")
	}
	command := exec.CommandContext(t.Context(), "python3", append([]string{"-c", program}, arguments...)...)
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{t, command, input, bufio.NewReader(output)}
	t.Cleanup(p.Kill)
	return p
}

// Say writes a line to the input of the process.
func (p *Process) Say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.input, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// Hear reads a line of its output, which must be what is wanted.
func (p *Process) Hear(want string) {
	p.t.Helper()
	if line, err := p.output.ReadString('\n'); err != nil || strings.TrimSuffix(line, "\n") != want {
		p.t.Fatalf("python says %q, %v, want %q", line, err, want)
	}
}

// Wait closes the input and waits until the process has ended well.
func (p *Process) Wait() {
	p.t.Helper()
	_ = p.input.Close() // it may have ended already
	if err := p.command.Wait(); err != nil {
		p.t.Errorf("python: %v", err)
	}
}

// Kill ends the process at once, and waits for that.
func (p *Process) Kill() {
	_ = p.command.Process.Kill()
	_ = p.command.Wait() // says that it was killed
}
