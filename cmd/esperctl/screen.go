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
	"github.com/esper-lite/weatherlight/tezzeret"
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

	mu sync.Mutex // the service and the trainer both write
}

func newScreen(out io.Writer, quiet bool) *screen {
	file, ok := out.(*os.File)
	return &screen{out: out, quiet: quiet, colour: ok && process.IsTerminal(file)}
}

// Colours of the parts of a line.
const (
	faint = "2"
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
	_, _ = fmt.Fprintf(s.out, format+"\n", arguments...) // A closed terminal is no reason to stop.
}

func (s *screen) boot(trace supervise.Trace) {
	if trace.Err != nil {
		s.print("boot   %-34s failed: %v", trace.Step, trace.Err)
		return
	}
	s.print("boot   %-34s %s", trace.Step, s.paint(faint, milliseconds(trace.Took)))
}

func (s *screen) ready(service *weatherlight.Service) {
	s.print("ready  bus %s, status http://%s/status", service.BusAddr(), service.HTTPAddr())
}

func (s *screen) forge(progress tezzeret.Progress) {
	switch progress.State {
	case tezzeret.StateCompiled:
		s.print("forge  %s %-26s %s", progress.BlueprintID, progress.Name, s.paint(faint, milliseconds(progress.Took)))
	case tezzeret.StateFailed:
		s.print("forge  %s %-26s failed: %v", progress.BlueprintID, progress.Name, progress.Err)
	}
}

func (s *screen) forged(result tezzeret.ForgeResult) {
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

func (s *screen) stage(seedID, blueprintID, stage string) {
	s.print("seed   %s %s %s", seedID, blueprintID, s.paint(green, shortStage(stage)))
}

func (s *screen) summary(r *report) {
	s.print("")
	s.print("%s", s.paint(bold, "Accuracy on the test set"))
	s.print("  host alone    %5.1f %%", 100*r.HostAccuracy)
	s.print("  with seeds    %5.1f %%   (%+.1f points)", 100*r.GrownAccuracy, 100*(r.GrownAccuracy-r.HostAccuracy))
	s.print("")
	s.print("  host weights  %s while seeds trained and blended", unchanged(r.HostUnchanged))
	s.print("  largest gradient that reached the host through a blend: %g", r.HostGradientMax)
	for _, seed := range r.Seeds {
		s.print("  seed %s (%s): %s", seed.SeedID, seed.BlueprintID, stagePath(seed.Stages))
	}
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
