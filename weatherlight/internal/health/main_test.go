package health

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBroken = errors.New("broken")

func TestOperationsPageSaysWhatToDoForEachAlarm(t *testing.T) {
	page, err := os.ReadFile("../../../docs/operations/alarms.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conditions(time.Minute) {
		_, row, found := strings.Cut(string(page), "\n| `"+c.name+"` | "+string(c.severity)+" | ")
		row, _, _ = strings.Cut(row, "\n")
		cells := strings.Split(row, "|") // the time, the causes, what it means, what to do
		if !found || len(cells) < 4 {
			t.Errorf("no line of %s, %s", c.name, c.severity)
			continue
		}
		causes := ""
		if len(c.causes) > 0 {
			causes = "`" + strings.Join(c.causes, "`, `") + "`"
		}
		if got := strings.TrimSpace(cells[1]); got != causes {
			t.Errorf("%s is silent during %s, the page says %s", c.name, causes, got)
		}
	}
}
