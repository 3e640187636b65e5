package process

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestLogHasDurationsAsPeopleWriteThem: they were nanoseconds.
func TestLogHasDurationsAsPeopleWriteThem(t *testing.T) {
	var out bytes.Buffer
	newLogger(&out, false, slog.LevelInfo).Info("ready", "took", 23*time.Millisecond, slog.Group("g", "pause", 90*time.Second), "n", 7)
	for _, want := range []string{`"took":"23ms"`, `"pause":"1m30s"`, `"n":7`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
}
