package oona

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/oona/deadletter"
)

func TestOldCommandIsStaleWhateverItsEntryID(t *testing.T) {
	now := time.Now()
	cfg := Config{ControlWindow: 2 * time.Minute, ClockSkew: 5 * time.Second}
	for name, c := range map[string]struct {
		issued, stored time.Duration // before now
		want           string
	}{
		"fresh":                               {time.Second, 0, ""},
		"waited for its consumer":             {6 * time.Hour, 6*time.Hour - time.Second, ""},
		"stored long after it was signed":     {6 * time.Hour, 0, deadletter.ReasonStale},
		"older than any memory, id to match":  {25 * time.Hour, 25 * time.Hour, deadletter.ReasonStale},
		"stored under an id from the future":  {time.Second, -time.Hour, ""},
		"signed in the future, id to match":   {-time.Hour, -time.Hour, deadletter.ReasonFuture},
		"signed ahead by less than the skew":  {-time.Second, 0, ""},
		"stored before it was signed by skew": {0, 4 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			command := identity{control: true, issued: now.Add(-c.issued)}
			if got := command.refuse(cfg, 1, now.Add(-c.stored), now); got != c.want {
				t.Errorf("refused as %q, want %q", got, c.want)
			}
		})
	}
}
