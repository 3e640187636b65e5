package bootlog

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
)

func TestTheStepInHandIsNamed(t *testing.T) {
	t.Parallel()
	broken := errors.New("no")
	for _, row := range []struct {
		done []supervise.Trace
		want string
	}{
		{nil, "booting: step 1 of 2, bus"},
		{[]supervise.Trace{{Step: "bus"}}, "booting: step 2 of 2, ready"},
		{[]supervise.Trace{{Step: "bus", Err: broken}}, "booting: bus failed"},
		{[]supervise.Trace{{Step: "bus"}, {Step: "ready"}}, "booting: step 2 of 2, ready"},
	} {
		var heard int
		log := New([]string{"bus", "ready"}, func(supervise.Trace) { heard++ }, slog.New(slog.DiscardHandler))
		for _, step := range row.done {
			log.Step(step)
		}
		if got := log.Booting(); got != row.want || heard != len(row.done) || len(log.Steps()) != len(row.done) {
			t.Errorf("%v: got %q, heard of %d", row.done, got, heard)
		}
	}
}

func TestABootThatIsOverSaysWhatTookLongest(t *testing.T) {
	t.Parallel()
	log := New([]string{"bus", "catalogue", "forge", "ready"}, nil, slog.New(slog.DiscardHandler))
	for _, step := range []supervise.Trace{
		{Step: "bus", Took: 40 * time.Millisecond}, {Step: "catalogue", Took: 1200 * time.Millisecond}, {Step: "forge", Took: 300400 * time.Microsecond},
	} {
		log.Step(step)
		if said := log.Booted(); said != "" {
			t.Errorf("after %s it is over: %s", step.Step, said)
		}
	}
	log.Step(supervise.Trace{Step: "ready"})
	if got, want := log.Booted(), "1.54s in 4 steps, longest: catalogue 1.2s, forge 300ms, bus 40ms"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
