package runsimtest

import (
	"flag"
	"fmt"
	"runtime/debug"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var options struct {
	seeds int
	seed  uint64
	log   bool
}

// result is the summary line of the run, printed last; empty when nothing was simulated.
var result string

// reporting is the test run with its summary line after everything else.
type reporting struct{ *testing.M }

func (r reporting) Run() int {
	code := r.M.Run()
	if result != "" {
		fmt.Println(result)
	}
	return code
}

func TestMain(m *testing.M) {
	flag.IntVar(&options.seeds, "seeds", 0, "seeds to simulate; 0: as many as fit in "+timeForSeeds.String())
	flag.Uint64Var(&options.seed, "seed", 0, "first seed; without -seeds the only one")
	flag.BoolVar(&options.log, "log", false, "tell what happens")
	debug.SetGCPercent(400) // many small worlds, soon forgotten
	goleak.VerifyTestMain(reporting{m})
}

// timeForSeeds bounds a run whose number of seeds was not given: make sim gives it.
const timeForSeeds = 3 * time.Second
