// Package simrun is what the test binaries of simulations have in common: the flags
// -seeds and -seed, the simulation of one seed after the other on every core, and the
// line that sums a run up after everything else that is printed.
package simrun

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Runner runs a simulation for its seeds.
type Runner struct {
	most   int
	within time.Duration

	seeds int
	seed  uint64

	result string // empty when nothing was simulated
}

// New declares the flags. A run without them simulates the seeds from 1 on, as many as
// fit into a time, and no more than most.
func New(most int, within time.Duration) *Runner {
	r := &Runner{most: most, within: within}
	flag.IntVar(&r.seeds, "seeds", 0, fmt.Sprintf("seeds to simulate; 0: %d, or as many as fit in %s", most, within))
	flag.Uint64Var(&r.seed, "seed", 0, "first seed; without -seeds the only one")
	return r
}

// Tests are the tests of the binary, with the summary of the simulation at their end.
func (r *Runner) Tests(m *testing.M) interface{ Run() int } { return tests{m, r} }

type tests struct {
	*testing.M

	runner *Runner
}

func (t tests) Run() int {
	debug.SetGCPercent(400) // many small worlds, soon forgotten
	code := t.M.Run()
	if t.runner.result != "" {
		fmt.Fprintln(os.Stdout, t.runner.result)
	}
	return code
}

// Simulate runs a simulation for each seed, several at once, and then asks for the line
// that sums up so many of them.
func (r *Runner) Simulate(t *testing.T, one func(t *testing.T, seed uint64), summary func(seeds int) string) {
	t.Helper()
	run := r.begin()
	t.Cleanup(func() { r.result = summary(int(run.done.Load())) })
	t.Run("seeds", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for seed, more := run.take(); more; seed, more = run.take() {
					func() {
						defer run.done.Add(1) // also when it ends in a panic
						one(t, seed)
					}()
				}
			})
		}
	})
}

// Add adds up counts, which are structures of integers: field by field, but of one
// whose name begins with Max the larger counts.
func Add[T any](sum *T, more T) {
	to, from := reflect.ValueOf(sum).Elem(), reflect.ValueOf(more)
	for i := range to.NumField() {
		a, b := to.Field(i).Int(), from.Field(i).Int()
		total := a + b
		if strings.HasPrefix(to.Type().Field(i).Name, "Max") {
			total = max(a, b)
		}
		to.Field(i).SetInt(total)
	}
}

// seeds are those of one run.
type seeds struct {
	first, count uint64
	deadline     time.Time // zero for none

	next atomic.Uint64
	done atomic.Int64
}

func (r *Runner) begin() *seeds {
	s := &seeds{first: max(r.seed, 1), count: uint64(max(r.seeds, 1))}
	if r.seed == 0 && r.seeds == 0 {
		s.count, s.deadline = uint64(max(r.most, 1)), time.Now().Add(r.within)
	}
	return s
}

// take is the next seed, unless there is none any more or the time is up.
func (s *seeds) take() (seed uint64, more bool) {
	n := s.next.Add(1) - 1
	if n >= s.count || !s.deadline.IsZero() && time.Now().After(s.deadline) {
		return 0, false
	}
	return s.first + n, true
}
