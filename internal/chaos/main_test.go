package chaos_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

var options struct {
	seed                      uint64
	messages, kills, restarts int
	hostile                   int
	faults, matrix            string
	update                    bool
}

// results are the summary lines of the run, printed last.
var results struct {
	mu    sync.Mutex
	lines []string
}

// report notes a summary line for the end of the run.
func report(format string, args ...any) {
	results.mu.Lock()
	defer results.mu.Unlock()
	results.lines = append(results.lines, "RESULT "+fmt.Sprintf(format, args...))
}

// reporting is the test run with its summary lines after everything else.
type reporting struct{ *testing.M }

func (r reporting) Run() int {
	defer prepareBinaries()()
	code := r.M.Run()
	results.mu.Lock()
	defer results.mu.Unlock()
	slices.Sort(results.lines)
	slices.Reverse(results.lines) // hostile before chaos, which is the one that is looked for
	for _, line := range results.lines {
		fmt.Println(line)
	}
	return code
}

func TestMain(m *testing.M) {
	if url := os.Getenv(consumerURL); url != "" {
		os.Exit(consumerMain(url, os.Getenv(consumerName), os.Getenv(consumerKeyed) != ""))
	}
	flag.Uint64Var(&options.seed, "seed", 1, "seed of everything that is random")
	flag.IntVar(&options.messages, "messages", 5_000, "messages of the chaos run")
	flag.IntVar(&options.kills, "kills", 5, "kill -9 of a consumer process")
	flag.IntVar(&options.restarts, "restarts", 2, "kill -9 and restart of Redis")
	flag.IntVar(&options.hostile, "hostile", 20_000, "hostile entries")
	flag.StringVar(&options.faults, "faults", "quick", "faults to measure: quick or all")
	flag.StringVar(&options.matrix, "matrix", "quick", "faults under every kind of message: quick, all, or a part of their names")
	flag.BoolVar(&options.update, "update", false, "write the measured faults into docs/delivery.md")
	goleak.VerifyTestMain(reporting{m})
}
