package redis

import (
	"testing"
	"time"
)

func TestClockGoesByTheFinestLookThatIsNotRefuted(t *testing.T) {
	t.Parallel()
	local := time.Now()
	bus := func(ahead time.Duration) time.Time { return local.Add(ahead).Round(0) }
	steps := []struct {
		ahead, uncertainty, want time.Duration
	}{
		{time.Hour, time.Second, time.Hour}, // the first is better than none
		{time.Hour + 500*time.Millisecond, 10 * time.Millisecond, time.Hour + 500*time.Millisecond}, // finer
		{time.Hour, time.Second, time.Hour + 500*time.Millisecond},                                  // coarse, and no news
		{time.Minute, time.Second, time.Minute},                                                     // the bus's clock was set
	}
	clock := newClock()
	if !clock.at(local).Equal(local) {
		t.Error("without a look it is not the time of this machine")
	}
	for i, step := range steps {
		clock.learn(sample{bus: bus(step.ahead), local: local, uncertainty: step.uncertainty})
		if got := clock.at(local.Add(time.Second)).Sub(bus(time.Second)); got != step.want {
			t.Errorf("step %d: %v ahead, want %v", i, got, step.want)
		}
	}
}

func TestClockIsAskedForAgainOnceAPeriod(t *testing.T) {
	t.Parallel()
	clock := newClock()
	for i, step := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {0, false}, {clockEvery - 1, false}, {clockEvery, true}, {clockEvery + 1, false}, {3 * clockEvery, true}} {
		if got := clock.due(clock.begun.Add(step.after)); got != step.want {
			t.Errorf("step %d: due is %v", i, got)
		}
	}
}

func TestServerTimeOfAnotherShapeIsAnError(t *testing.T) {
	for _, reply := range [][]string{nil, {"1"}, {"x", "1"}, {"1", "x"}, {"1", "2", "3"}} {
		if at, err := serverTime(reply); err == nil {
			t.Errorf("%v is %v", reply, at)
		}
	}
	if at, err := serverTime([]string{"1700000000", "250000"}); err != nil || at.UnixMilli() != 1700000000250 {
		t.Errorf("time %v, %v", at, err)
	}
}

// The offset is that of our clock as it is set now, and a step is remembered.
func TestR30StepOfTheServersClockIsRemembered(t *testing.T) {
	t.Parallel()
	local, clock := time.Now(), newClock()
	learn := func(ahead, after time.Duration) {
		at := local.Add(after)
		clock.learn(sample{bus: at.Add(ahead).Round(0), local: at, uncertainty: time.Millisecond})
	}
	if _, _, known := clock.offset(local); known {
		t.Error("an offset before the first sample")
	}
	learn(0, 0)
	learn(2*time.Millisecond, time.Second)
	if step := clock.set(local.Add(time.Second)); step != 0 {
		t.Errorf("a drift is a step of %v", step)
	}
	learn(-10*time.Minute, 2*time.Second)
	if ahead, _, known := clock.offset(local.Add(2 * time.Second)); !known || ahead != -10*time.Minute {
		t.Errorf("%v ahead, known %v", ahead, known)
	}
	learn(-10*time.Minute, 3*time.Second)
	if step := clock.set(local.Add(3 * time.Second)); (step + 10*time.Minute).Abs() > time.Second {
		t.Errorf("a step of %v", step)
	}
	if step := clock.set(local.Add(3*time.Second + clockMemory)); step != 0 {
		t.Errorf("a step of long ago: %v", step)
	}
}
