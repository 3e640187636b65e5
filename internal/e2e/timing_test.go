package e2e

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// scenarios are what the suite promises to show with timings, in the order of
// its table.
var scenarios = []string{
	"start", "SIGTERM", "double SIGTERM", "SIGKILL", "Redis stopped and started", "Redis flushed",
	"secret rotated", "second instance", "leader killed", "rolling restart",
	"Redis's clock is moved", "place lost",
	"library away", "answers refused", "outbox stands still", "full disk",
}

// timing is how long something took, as seen from outside.
type timing struct {
	scenario, what string
	took, bound    time.Duration // no bound: 0
}

// timings collects what the tests measured.
type timings struct {
	mu   sync.Mutex
	list []timing
}

// took notes a timing and fails the test when it is over its bound.
func took(t testing.TB, scenario, what string, took, bound time.Duration) {
	t.Helper()
	if !slices.Contains(scenarios, scenario) {
		t.Errorf("the table has no scenario %q", scenario)
	}
	if bound > 0 && took > bound {
		t.Errorf("%s, %s: %s, the bound is %s", scenario, what, took, bound)
	}
	suite.timings.mu.Lock()
	defer suite.timings.mu.Unlock()
	suite.timings.list = append(suite.timings.list, timing{scenario, what, took, bound})
}

// write prints a table in the order of the scenarios.
func (s *timings) write(to io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == 0 {
		return
	}
	slices.SortStableFunc(s.list, func(a, b timing) int {
		return slices.Index(scenarios, a.scenario) - slices.Index(scenarios, b.scenario)
	})
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "scenario\tfrom what to what\ttook\tbound")
	for _, one := range s.list {
		bound := ""
		if one.bound > 0 {
			bound = one.bound.String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", one.scenario, one.what, one.took.Round(time.Millisecond), bound)
	}
	_ = table.Flush() // the table is for readers; the score does not depend on it
}
