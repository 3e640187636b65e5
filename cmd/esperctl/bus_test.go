package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/oona"
)

// Who only looks at the bus needs no secret, and who acts is told which one is meant.
func TestLookingAtTheBusNeedsNoSecret(t *testing.T) {
	bus := onBus(t)
	letter := giveUp(t, bus, command("one"))[0].ID
	t.Setenv("ESPER_LEYLINE_SECRET", "")
	normal := oona.DefaultStreams().Normal
	for _, file := range []string{"", filepath.Join(t.TempDir(), "none")} {
		t.Setenv("ESPER_LEYLINE_SECRET_FILE", file)
		for _, line := range [][]string{
			{"streams", "list"}, {"streams", "show", normal}, {"deadletters", "list"}, {"deadletters", "show", letter},
			{"__complete", "deadletters", "show", ""}, {"__complete", "streams", "show", ""},
		} {
			if printed := mustRun(t, line...); !strings.Contains(printed, letter) && !strings.Contains(printed, normal) {
				t.Errorf("%v shows %s", line, printed)
			}
		}
	}
	t.Setenv("ESPER_LEYLINE_SECRET_FILE", "")
	for _, line := range [][]string{
		{"deadletters", "replay", letter}, {"deadletters", "purge", letter}, {"streams", "groups", "remove", normal, "weatherlight"},
		{"policy", "rollback", "--wait", "0s"},
	} {
		_, err := run(t, line...)
		if process.ExitCode(err) != process.ExitConfiguration || !strings.Contains(err.Error(), "secret of this bus") ||
			strings.Contains(err.Error(), "openssl") {
			t.Errorf("%v: exit code %d: %v", line, process.ExitCode(err), err)
		}
	}
}
