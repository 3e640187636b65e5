// Package infra holds what the service is deployed with. Its tests check as much of that as can be checked without a
// container engine and without a service manager.
package infra

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"
)

const (
	secret = "infra-secret-0123456789"
	// patience bounds waits that no contract bounds: a slow machine may use it.
	patience = time.Minute
)

// run runs a program to its end and returns what it printed; it must succeed.
func run(t testing.TB, folder string, environ []string, program string, args ...string) string {
	t.Helper()
	printed, err := attempt(folder, environ, program, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, printed)
	}
	return printed
}

// attempt returns what a program printed, errors included.
func attempt(folder string, environ []string, program string, args ...string) (printed string, err error) {
	var text bytes.Buffer
	command := exec.Command(program, args...)
	command.Dir, command.Env = folder, append(os.Environ(), environ...)
	command.Stdout, command.Stderr = &text, &text
	err = command.Run()
	return text.String(), err
}
