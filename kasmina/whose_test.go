package kasmina

import (
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
)

func by(who string) change { return func(c *leyline.AdaptationCommand) { c.IssuedBy = who } }

// pauses lets who is named pause (-) the seed s, or resume it (+), each for two reports.
func (w *world) pauses(steps ...string) {
	w.t.Helper()
	for _, step := range steps {
		w.accepts(w.command(0, "s", append(pausing(step[0] == '+', 0), by(step[1:]))...))
		w.report()
		w.report()
	}
}

// What an operator takes out of the output stays out until an operator resumes it; the
// controller, which knows nothing of that, gives back what it took itself.
func TestControllerLiftsNoPauseButItsOwn(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		steps []string // who pauses (-) and resumes (+)
		want  []string
	}{
		"its own":              {[]string{"-tamiyo", "+tamiyo"}, nil},
		"an operator's":        {[]string{"-esperctl", "+tamiyo"}, []string{"command"}},
		"after an operator's":  {[]string{"-esperctl", "-tamiyo", "+tamiyo"}, []string{"command"}},
		"before an operator's": {[]string{"-tamiyo", "-esperctl", "+tamiyo"}, []string{"command"}},
		"by an operator":       {[]string{"-tamiyo", "-esperctl", "+esperctl"}, nil},
		"while it holds":       {[]string{"-tamiyo", "-esperctl"}, []string{"command", "controller"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.meet()
			w.plant("s")
			w.pauses(row.steps...)
			w.wantPaused(row.want...)
		})
	}
}

// A peer's clock may be ahead by a few seconds. What it said holds back no CULL that is issued
// later.
func TestCullHoldsThoughAnEarlierCommandWasDatedAhead(t *testing.T) {
	t.Parallel()
	ahead := []change{ofType(leyline.CommandType_COMMAND_PAUSE), annotate("resume", "true")}
	for _, kind := range []leyline.CommandType{
		leyline.CommandType_COMMAND_SEED, leyline.CommandType_COMMAND_ROLLBACK, leyline.CommandType_COMMAND_STRUCTURAL_PRUNING,
	} {
		w := newWorld(t)
		w.meet()
		w.plant("s")
		w.accepts(w.command(0, "s", append(slices.Clone(ahead), issued(w.now.Add(4*time.Second)))...))
		cull := w.command(opCull, "s")
		if kind != leyline.CommandType_COMMAND_SEED {
			cull = w.command(0, "s", ofType(kind))
		}
		w.accepts(cull)
		w.report()
		w.wantStage("s", lifecycle.Embargoed)
	}
}

// The release before knew one pause for all that commands asked for: in its records nobody can
// tell whose it is. What is asked for since is told apart.
func TestControllerLiftsAPauseThatMayBeItsOwn(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		steps []string
		want  []string
	}{
		"at the upgrade":             {[]string{"+tamiyo"}, nil},
		"by an operator":             {[]string{"+esperctl"}, nil},
		"and an operator's since":    {[]string{"-esperctl", "+tamiyo"}, []string{"command"}},
		"and the controller's since": {[]string{"-tamiyo", "+tamiyo"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.meet()
			w.plant("s")
			w.pauses("-tamiyo")
			former := *w.record.Seeds[0]
			former.Paused = 1 // as it stands in the record of that release
			w.record.Seeds[0] = &former
			if got := NewView(w.record).Seeds[0].Paused; !slices.Equal(got, []string{"command"}) {
				t.Errorf("at first paused by %v", got)
			}
			w.pauses(row.steps...)
			w.wantPaused(row.want...)
		})
	}
}

// An order is given up at its deadline, with what it was asked for. What somebody else asked for
// without a deadline is not, though it was the same order when it came.
func TestAnOperatorsPauseOutlastsTheControllers(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		steps []string
		want  []string
	}{
		"after it":        {[]string{"tamiyo", "esperctl"}, []string{"command", "controller"}},
		"before it":       {[]string{"esperctl", "tamiyo"}, []string{"command", "controller"}},
		"asked for twice": {[]string{"esperctl", "tamiyo", "esperctl"}, []string{"command", "controller"}},
		"not there":       {[]string{"tamiyo", "tamiyo"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.meet()
			w.plant("s")
			for _, who := range row.steps {
				deadline := uint32(0)
				if who == "tamiyo" {
					deadline = 60_000
				}
				w.accepts(w.command(0, "s", append(pausing(false, deadline), by(who))...))
			}
			for range 8 {
				w.wait(10 * time.Second)
				w.decide(w.trainer.report(w.now)) // which has read nothing
			}
			w.report()
			w.report()
			w.wantPaused(row.want...)
		})
	}
}

// Whoever takes a seed out of the output in the controller's name has to tell it: it may know
// nothing of that, and nobody else would end it.
func TestWhatIsHeldInTheControllersNameIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.pauses("-esperctl")
	if len(w.last.Held) > 0 {
		t.Errorf("an operator's is told as the controller's: %v", w.last.Held)
	}
	w.pauses("+esperctl", "-tamiyo")
	if !slices.Equal(w.last.Held, []string{"s"}) {
		t.Errorf("paused: told of %v", w.last.Held)
	}
	// Its end is obeyed after the deadline: the order was under way for as long.
	w.accepts(w.command(0, "s", append(pausing(true, 5000), by("tamiyo"))...))
	w.now = w.now.Add(10 * time.Second)
	if got := w.decide(w.trainer.report(w.now)).Held; !slices.Equal(got, []string{"s"}) {
		t.Errorf("its end has expired: told of %v", got)
	}
	w.report()
	w.report()
	if !w.trainer.seeds[0].paused || !slices.Equal(w.last.Held, []string{"s"}) {
		t.Errorf("taken out again: %v, told of %v", w.trainer.seeds[0].paused, w.last.Held)
	}
	w.pauses("+tamiyo")
	if w.trainer.seeds[0].paused || len(w.last.Held) > 0 {
		t.Errorf("in the end: %v, told of %v", w.trainer.seeds[0].paused, w.last.Held)
	}
}
