package simtest

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/simrun"
)

var (
	runner *simrun.Runner
	hours  int // simulated, of each seed
)

func TestMain(m *testing.M) {
	runner = simrun.New(1000, 30*time.Second) // make sim gives the number
	flag.IntVar(&hours, "hours", 24, "simulated hours of each seed")
	goleak.VerifyTestMain(runner.Tests(m))
}
