package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/proctest"
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
	build          func() error // the first call builds them
	passed, failed atomic.Int64
	timings        timings
}

func TestMain(m *testing.M) {
	if config := os.Getenv(goTrainerEnv); config != "" {
		os.Exit(beGoTrainer(config))
	}
	os.Exit(runSuite(m))
}

func runSuite(m *testing.M) int {
	flag.Parse()
	folder, err := os.MkdirTemp("", "esper-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(folder)
	suite.binaries = folder
	suite.build = sync.OnceValue(func() error { return proctest.Build(filepath.Join("..", ".."), folder) })
	if err := flag.Set("test.parallel", parallelWorlds); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	code := m.Run()
	if passed, failed := suite.passed.Load(), suite.failed.Load(); passed+failed > 0 {
		suite.timings.write(os.Stdout)
		fmt.Printf("RESULT e2e passed=%d failed=%d\n", passed, failed)
	}
	return code
}

// begin counts the test in the suite's result and lets it run beside others. A
// run without tests builds nothing.
func begin(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			suite.failed.Add(1)
			return
		}
		suite.passed.Add(1)
	})
	if err := suite.build(); err != nil {
		t.Fatal(err)
	}
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
