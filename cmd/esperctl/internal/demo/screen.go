package demo

import (
	"fmt"
	"io"
	"strings"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/tolaria"
	"github.com/esper-lite/weatherlight/weatherlight"
)

// epochsPerLine is how often the training curve gets a line when nothing else
// happens.
const epochsPerLine = 10

// screen shows the progress of the demo. A quiet one shows nothing.
type screen struct{ *terminal.Lines }

func newScreen(out io.Writer, quiet bool) *screen { return &screen{terminal.NewLines(out, quiet)} }

func (s *screen) boot(trace supervise.Trace) {
	if trace.Err != nil {
		s.Print("boot   %-34s failed: %s", trace.Step, process.OneLine(trace.Err.Error()))
		return
	}
	s.Print("boot   %-34s %s", trace.Step, s.Paint(terminal.Faint, terminal.Milliseconds(trace.Took)))
}

func (s *screen) ready(service *weatherlight.Service) {
	s.Print("ready  bus %s, status http://%s/status", service.BusAddr(), service.HTTPAddr())
}

func (s *screen) page(url string) {
	s.Print("page   %s", s.Paint(terminal.Bold, url+"/"))
}

func (s *screen) stays(url string) {
	s.Print("")
	s.Print("  %s stays until Ctrl-C", s.Paint(terminal.Bold, url+"/"))
}

func (s *screen) forge(progress forge.Progress) {
	switch progress.State {
	case forge.StateCompiled:
		s.Print("forge  %s %-26s %s", progress.BlueprintID, progress.Name, s.Paint(terminal.Faint, terminal.Milliseconds(progress.Took)))
	case forge.StateFailed:
		s.Print("forge  %s %-26s failed: %s", progress.BlueprintID, progress.Name, process.OneLine(progress.Err.Error()))
	}
}

func (s *screen) forged(result forge.Result) {
	s.Print("forge  %d kernels compiled, %d blueprints refused", len(result.Compiled), len(result.Refused))
}

func (s *screen) epoch(epoch tolaria.Epoch) {
	if epoch.Number%epochsPerLine != 0 && epoch.Number != 1 {
		return
	}
	s.Print("epoch  %3d  %s %5.1f %%  %s", epoch.Number, s.bar(epoch.Accuracy), 100*epoch.Accuracy,
		s.Paint(terminal.Faint, fmt.Sprintf("loss %.3f", epoch.Loss)))
}

func (s *screen) bar(accuracy float64) string {
	const width = 40
	full := int(accuracy*width + 0.5)
	return s.Paint(terminal.Cyan, strings.Repeat("█", full)) + strings.Repeat("·", width-full)
}

func (s *screen) repeat(number, of int, run string) {
	s.Print("")
	s.Print("%s", s.Paint(terminal.Bold, fmt.Sprintf("Network %d of %d", number, of))+"  "+s.Paint(terminal.Faint, run))
}

func (s *screen) stage(seedID, blueprintID, stage, reason string) {
	colour, why := terminal.Cyan, ""
	switch stage {
	case stageFossilized:
		colour = terminal.Green
	case stageCulled:
		colour, why = terminal.Red, "  "+s.Paint(terminal.Faint, reason)
	}
	s.Print("seed   %s %s %s%s", seedID, blueprintID, s.Paint(colour, shortStage(stage)), why)
}

func (s *screen) summary(r *report) {
	s.Print("")
	s.Print("%s", s.Paint(terminal.Bold, fmt.Sprintf("Accuracy on the test set, mean and spread of %d networks", r.Repeats)))
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
		s.Print("  %-44s %5.1f %% ±%4.1f   %6d weights", line.name, 100*line.accuracy, 100*line.spread, line.parameters)
	}
	s.Print("")
	s.Print("  Growth was worth %+.1f points beside training on, and %+.1f beside starting as large.",
		100*(r.GrownAccuracy-r.LongerAccuracy), 100*(r.GrownAccuracy-r.LargerAccuracy))
	s.Print("")
	for _, seed := range r.Seeds {
		s.Print("  seed %s (%s): %s, %s", seed.SeedID, seed.BlueprintID, stagePath(seed.Stages), seed.Reason)
	}
	s.Print("  host in front of the seeds: %s while they blended; largest gradient that reached it through them: %g",
		unchanged(r.HostUnchanged), r.HostGradientMax)
	s.Print("  kernels: %d compiled, %d refused; requests: %d ready, %d errors, p50 %.2f ms, p99 %.2f ms",
		r.KernelsCompiled, r.KernelsRefused, r.Prefetch.Ready, r.Prefetch.Errors, r.Prefetch.P50Ms, r.Prefetch.P99Ms)
	s.Print("  %d epochs in %.1f s", r.Epochs, r.DurationS)
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
