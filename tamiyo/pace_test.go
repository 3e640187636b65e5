package tamiyo

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// deadlines are those of the commands of a run whose loss explodes while a seed trains, and
// comes to rest again: a PAUSE and its end.
func deadlines(t *testing.T, interval time.Duration, late bool) (pause, resume time.Duration) {
	t.Helper()
	r := newRun(t, Config{})
	r.interval = interval
	id := r.stall().GetTargetSeedId()
	training := &leyline.SeedState{SeedId: id, Stage: leyline.SeedLifecycleStage_SEED_STAGE_TRAINING}
	told := func(loss float32) *leyline.AdaptationCommand {
		r.epoch++
		r.now = r.now.Add(interval)
		r.next.Number++
		state := r.next
		state.Packet = packetOf(r.epoch, loss, training)
		if state.Stored = r.now; late {
			r.now = r.now.Add(interval) // nobody was there to decide on it
			defer func() { r.now = state.Stored }()
		}
		for _, command := range r.decide(state).Commands {
			if command.GetCommandType() == leyline.CommandType_COMMAND_PAUSE {
				return command
			}
		}
		return nil
	}
	last := func(command *leyline.AdaptationCommand) time.Duration {
		return time.Duration(command.GetExecutionDeadlineMs()) * time.Millisecond
	}
	told(1)
	pause = last(told(9))
	for range 6 {
		if command := told(9); command != nil {
			return pause, last(command)
		}
	}
	t.Fatal("it was never resumed")
	return 0, 0
}

// A command that must be carried out before its trainer could tell so would always count as
// not carried out.
func TestDeadlineOfACommandIsAFewReportsOfItsRun(t *testing.T) {
	t.Parallel()
	for interval, want := range map[time.Duration]time.Duration{
		time.Second: time.Minute, 12 * time.Second: time.Minute, 90 * time.Second: 450 * time.Second,
		10 * time.Minute: 50 * time.Minute, 20 * time.Hour: 6 * time.Hour,
	} {
		for _, late := range []bool{false, true} {
			if pause, resume := deadlines(t, interval, late); pause != want || resume != want {
				t.Errorf("reports each %v, late %v: PAUSE within %v, its end within %v, want %v", interval, late, pause, resume, want)
			}
		}
	}
}

func TestPaceFollowsWhenReportsWereStored(t *testing.T) {
	t.Parallel()
	var p pace
	at := time.Unix(1_800_000_000, 0)
	hear := func(passed time.Duration) time.Duration {
		at = at.Add(passed)
		p = p.after(at)
		return p.interval()
	}
	if got := hear(0); got != 0 || p.patience() != time.Minute {
		t.Errorf("%v after one report", got)
	}
	for _, want := range []time.Duration{10 * time.Minute, 10 * time.Minute} {
		if got := hear(10 * time.Minute); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if late := p.after(at.Add(-time.Hour)); late != p {
		t.Errorf("a late report made %+v of %+v", late, p)
	}
	if got := hear(240 * time.Hour); got > 40*time.Minute {
		t.Errorf("%v after an outage", got)
	}
	for range 12 {
		hear(10 * time.Second)
	}
	if got := hear(10 * time.Second); got > 12*time.Second {
		t.Errorf("%v after a while of reports each 10 s", got)
	}
}
