package e2e

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// patience bounds waits that no contract bounds: a slow machine may use it.
	patience = 40 * time.Second
	// parallelWorlds is how many services run at once.
	parallelWorlds = "3"
)

// suite is what all tests share: the binaries, and the score.
var suite struct {
	binaries       string
	passed, failed atomic.Int64
	timings        timings
}

func TestMain(m *testing.M) { os.Exit(runSuite(m)) }

func runSuite(m *testing.M) int {
	flag.Parse()
	folder, err := os.MkdirTemp("", "esper-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(folder)
	suite.binaries = folder
	if err := errors.Join(buildCommands(folder), flag.Set("test.parallel", parallelWorlds)); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		fmt.Println("RESULT e2e passed=0 failed=1")
		return 1
	}
	code := m.Run()
	suite.timings.write(os.Stdout)
	fmt.Printf("RESULT e2e passed=%d failed=%d\n", suite.passed.Load(), suite.failed.Load())
	return code
}

// buildCommands builds the commands as the image does.
func buildCommands(folder string) error {
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", folder+string(filepath.Separator), "./cmd/...")
	build.Dir = filepath.Join("..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the commands: %w\n%s", err, output)
	}
	return nil
}

// begin counts the test in the suite's result and lets it run beside others.
func begin(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			suite.failed.Add(1)
			return
		}
		suite.passed.Add(1)
	})
	t.Parallel()
}

// eventually waits until ok holds and fails the test when it does not in time.
func eventually(t testing.TB, what string, within time.Duration, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(within); !ok(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}
