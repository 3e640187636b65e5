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
		line := "| `" + c.name + "` | " + string(c.severity) + " |"
		if !strings.Contains(string(page), line) {
			t.Errorf("no line %s", line)
		}
	}
}
