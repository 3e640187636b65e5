package chaos_test

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/oona/oonatest"
)

const (
	page       = "../../docs/delivery.md"
	tableBegin = "<!-- faults: measured by make chaos -->\n"
	tableEnd   = "<!-- end of faults -->\n"
)

// healsWithin is the promise: traffic flows again so soon after a fault. Beside
// other tests only patience is asked for: the machine is busy with them.
const (
	healsWithin = 2 * time.Second
	patience    = 30 * time.Second
)

// maxLines is what a client may log in one episode.
const maxLines = 10

// row is what one fault did.
type row struct {
	fault
	acknowledged, lost, again, twice int
	missing                          []string      // some that were lost
	publishing, consuming            time.Duration // until traffic flowed again
	lines                            [2]int64      // of the publisher, and of the consumer
}

func (r row) String() string {
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %d | %d | %d |", r.name, r.fsync, r.acknowledged, r.lost,
		r.twice, r.again, r.publishing.Milliseconds(), r.consuming.Milliseconds(), r.lines[0]+r.lines[1])
}

// judge holds a fault to what must be true of it at any speed.
func (r row) judge(t *testing.T) {
	t.Helper()
	if r.keeps && (r.lost > 0 || r.twice > 0) {
		t.Errorf("lost %d %v, twice %d", r.lost, r.missing, r.twice)
	}
	if max(r.lines[0], r.lines[1]) > maxLines {
		t.Errorf("log lines of publisher and consumer in one episode: %d", r.lines)
	}
	bound := healsWithin
	if options.faults == "quick" {
		bound = patience
	}
	if slowest := max(r.publishing, r.consuming); slowest > bound {
		t.Errorf("traffic flowed again %v after the fault", slowest)
	}
}

func writeTable(t *testing.T, rows []row) {
	t.Helper()
	lines := []string{
		"| fault | fsync | acknowledged | lost | effects twice | handled again | publishes again after, ms | consumes again after, ms | log lines |",
		"| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
	}
	for _, r := range rows {
		lines = append(lines, r.String())
	}
	writeBetween(t, tableBegin, tableEnd, lines)
}

// writeBetween puts a table between two marks of the page.
func writeBetween(t *testing.T, begin, end string, lines []string) {
	t.Helper()
	before, rest, begun := strings.Cut(readPage(t), begin)
	_, after, ended := strings.Cut(rest, end)
	if !begun || !ended {
		t.Fatalf("%s has no place for the table", page)
	}
	text := before + begin + "\n" + strings.Join(lines, "\n") + "\n\n" + end + after
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestThePageTellsEveryFaultAndEveryFeature(t *testing.T) {
	t.Parallel()
	text := readPage(t)
	for _, f := range faults {
		if !strings.Contains(text, "\n| "+f.name+" | "+f.fsync+" | ") {
			t.Errorf("fault %q with fsync %s is not in %s", f.name, f.fsync, page)
		}
	}
	features := reflect.TypeFor[oonatest.Features]()
	for field := range features.Fields() {
		if !strings.Contains(text, "`"+field.Name+"`") {
			t.Errorf("feature %s is not in %s", field.Name, page)
		}
	}
}
