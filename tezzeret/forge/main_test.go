package forge_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// random steers the test that kills a forge.
var random struct {
	kills int
	seed  uint64
}

func TestMain(m *testing.M) {
	flag.IntVar(&random.kills, "kills", 12, "kill -9 of a forge, at least")
	flag.Uint64Var(&random.seed, "seed", 1, "seed of the moments of those kills")
	goleak.VerifyTestMain(m)
}
