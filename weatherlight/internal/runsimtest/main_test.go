package runsimtest

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/simrun"
)

var (
	runner *simrun.Runner
	logs   bool // what happens is told
)

func TestMain(m *testing.M) {
	runner = simrun.New(60, 3*time.Second) // make sim gives the number
	flag.BoolVar(&logs, "log", false, "tell what happens")
	goleak.VerifyTestMain(runner.Tests(m))
}
