package tamiyo

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// A command that must be carried out before its trainer could tell so would always count as
// not carried out. How long that is, whoever judges the command tells with each report.
func TestDeadlineOfACommandIsWhatItMayTake(t *testing.T) {
	t.Parallel()
	for told, want := range map[time.Duration]time.Duration{
		0: time.Minute, 50 * time.Minute: 50 * time.Minute, 6 * time.Hour: 6 * time.Hour,
	} {
		r := newRun(t, Config{})
		r.next.Patience = told
		germinate := r.stall()
		training := &leyline.SeedState{SeedId: germinate.GetTargetSeedId(), Stage: leyline.SeedLifecycleStage_SEED_STAGE_TRAINING}
		r.report(1, training)
		commands := r.report(9, training).Commands // a PAUSE
		if len(commands) != 1 {
			t.Fatalf("%d commands", len(commands))
		}
		for _, command := range append(commands, germinate) {
			if got := time.Duration(command.GetExecutionDeadlineMs()) * time.Millisecond; got != want {
				t.Errorf("told %v: %s within %v, want %v", told, command.GetCommandType(), got, want)
			}
		}
	}
}
