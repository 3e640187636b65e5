package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/tolaria"
	"github.com/esper-lite/weatherlight/weatherlight"
)

// epochsPerLine is how often the training curve gets a line when nothing else
// happens.
const epochsPerLine = 10

// screen shows the progress of the demo, one line an event, so that it reads
// the same on a terminal and in a log. A quiet screen shows nothing.
type screen struct {
	out    io.Writer
	quiet  bool
	colour bool

	mu     sync.Mutex  // the service and the trainer both write
	failed error       // of the first write that failed
	broken func(error) // called once, when nobody reads any more
}

func newScreen(out io.Writer, quiet bool) *screen {
	file, ok := out.(*os.File)
	return &screen{out: out, quiet: quiet, colour: ok && process.IsTerminal(file)}
}

// failure is why nothing more is shown, or nil.
func (s *screen) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Colours of the parts of a line.
const (
	faint = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
	bold  = "1"
)

func (s *screen) paint(colour, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (s *screen) print(format string, arguments ...any) {
	if s.quiet {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return
	}
	if _, err := fmt.Fprintf(s.out, format+"\n", arguments...); err != nil {
		s.failed = fmt.Errorf("print progress: %w", err)
		if s.broken != nil {
			s.broken(s.failed)
		}
	}
}

func (s *screen) boot(trace supervise.Trace) {
	if trace.Err != nil {
		s.print("boot   %-34s failed: %s", trace.Step, process.OneLine(trace.Err.Error()))
		return
	}
	s.print("boot   %-34s %s", trace.Step, s.paint(faint, milliseconds(trace.Took)))
}

func (s *screen) ready(service *weatherlight.Service) {
	s.print("ready  bus %s, status http://%s/status", service.BusAddr(), service.HTTPAddr())
}

func (s *screen) page(addr string) {
	s.print("page   %s", s.paint(bold, "http://"+addr+"/"))
}

func (s *screen) stays(addr string) {
	s.print("")
	s.print("  %s stays until Ctrl-C", s.paint(bold, "http://"+addr+"/"))
}

func (s *screen) forge(progress forge.Progress) {
	switch progress.State {
	case forge.StateCompiled:
		s.print("forge  %s %-26s %s", progress.BlueprintID, progress.Name, s.paint(faint, milliseconds(progress.Took)))
	case forge.StateFailed:
		s.print("forge  %s %-26s failed: %s", progress.BlueprintID, progress.Name, process.OneLine(progress.Err.Error()))
	}
}

func (s *screen) forged(result forge.Result) {
	s.print("forge  %d kernels compiled, %d blueprints refused", len(result.Compiled), len(result.Refused))
}

func (s *screen) epoch(epoch tolaria.Epoch) {
	if epoch.Number%epochsPerLine != 0 && epoch.Number != 1 {
		return
	}
	s.print("epoch  %3d  %s %5.1f %%  %s", epoch.Number, s.bar(epoch.Accuracy), 100*epoch.Accuracy,
		s.paint(faint, fmt.Sprintf("loss %.3f", epoch.Loss)))
}

func (s *screen) bar(accuracy float64) string {
	const width = 40
	full := int(accuracy*width + 0.5)
	return s.paint(cyan, strings.Repeat("█", full)) + strings.Repeat("·", width-full)
}

func (s *screen) repeat(number, of int, run string) {
	s.print("")
	s.print("%s", s.paint(bold, fmt.Sprintf("Network %d of %d", number, of))+"  "+s.paint(faint, run))
}

func (s *screen) stage(seedID, blueprintID, stage, reason string) {
	colour, why := cyan, ""
	switch stage {
	case stageFossilized:
		colour = green
	case stageCulled:
		colour, why = red, "  "+s.paint(faint, reason)
	}
	s.print("seed   %s %s %s%s", seedID, blueprintID, s.paint(colour, shortStage(stage)), why)
}

func (s *screen) summary(r *report) {
	s.print("")
	s.print("%s", s.paint(bold, fmt.Sprintf("Accuracy on the test set, mean and spread of %d networks", r.Repeats)))
	for _, line := range []struct {
		name             string
		accuracy, spread float64
		parameters       int
	}{
		{"host at rest, before its first seed", r.HostAccuracy, r.HostSpread, r.HostParameters},
		{"the same host trained for as many steps", r.LongerAccuracy, r.LongerSpread, r.HostParameters},
		{"the host with what grew in it", r.GrownAccuracy, r.GrownSpread, r.GrownParameters},
		{"a host as large from the start, same steps", r.LargerAccuracy, r.LargerSpread, r.LargerParameters},
	} {
		s.print("  %-44s %5.1f %% ±%4.1f   %6d weights", line.name, 100*line.accuracy, 100*line.spread, line.parameters)
	}
	s.print("")
	s.print("  Growth was worth %+.1f points beside training on, and %+.1f beside starting as large.",
		100*(r.GrownAccuracy-r.LongerAccuracy), 100*(r.GrownAccuracy-r.LargerAccuracy))
	s.print("")
	for _, seed := range r.Seeds {
		s.print("  seed %s (%s): %s, %s", seed.SeedID, seed.BlueprintID, stagePath(seed.Stages), seed.Reason)
	}
	s.print("  host in front of the seeds: %s while they blended; largest gradient that reached it through them: %g",
		unchanged(r.HostUnchanged), r.HostGradientMax)
	s.print("  kernels: %d compiled, %d refused; requests: %d ready, %d errors, p50 %.2f ms, p99 %.2f ms",
		r.KernelsCompiled, r.KernelsRefused, r.Prefetch.Ready, r.Prefetch.Errors, r.Prefetch.P50Ms, r.Prefetch.P99Ms)
	s.print("  %d epochs in %.1f s", r.Epochs, r.DurationS)
}

func unchanged(same bool) string {
	if same {
		return "bit-identical"
	}
	return "CHANGED"
}

func stagePath(stages []string) string {
	short := make([]string, len(stages))
	for i, stage := range stages {
		short[i] = shortStage(stage)
	}
	return strings.Join(short, " > ")
}

// shortStage is a stage as a person reads it.
func shortStage(stage string) string {
	return strings.ToLower(strings.TrimPrefix(stage, "SEED_STAGE_"))
}

func milliseconds(took time.Duration) string {
	return fmt.Sprintf("%.1f ms", took.Seconds()*1e3)
}
