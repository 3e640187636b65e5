package look

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// Run is one as Nissa tells of it, as far as it is shown.
type Run struct {
	ID       string         `json:"id"`
	State    string         `json:"state"`
	LastAt   time.Time      `json:"last_at"`
	Trainer  string         `json:"trainer"`
	LedSince time.Time      `json:"led_since"`
	Replaced []string       `json:"replaced"`
	Refused  int64          `json:"refused_reports"`
	Reports  int64          `json:"reports"`
	Reported time.Time      `json:"reported_at"`
	Epoch    uint32         `json:"epoch"`
	Loss     Number         `json:"loss"`
	Accuracy Number         `json:"accuracy"`
	Best     Number         `json:"best_loss"`
	Seeds    map[string]int `json:"seeds"`
	Emergency
}

// Emergency is what Kasmina holds a run in.
type Emergency struct {
	Level  string `json:"emergency"` // empty: none
	Reason string `json:"emergency_reason"`
}

// Held says that a run's seeds are out of the output, how strictly, and why.
func (e *Emergency) Held() string {
	return strings.TrimSuffix(e.Level+", its seeds are paused: "+e.Reason, ": ")
}

// Heard is when its trainer was: an operator's command is no sign of its life.
func (r *Run) Heard() time.Time {
	if r.Reported.IsZero() {
		return r.LastAt
	}
	return r.Reported
}

// Trains says whether its trainer reports, and goes on.
func (r *Run) Trains() bool { return r.State == "running" || r.State == "conservative" }

// Growing are the seeds that are on their way.
func (r *Run) Growing() (n int) {
	for name, count := range r.Seeds {
		if slices.Contains([]string{"germinated", "training", "blending", "shadowing", "probationary"}, StageName(name)) {
			n += count
		}
	}
	return n
}

// Kept are the seeds that became part of the network.
func (r *Run) Kept() (n int) {
	for name, count := range r.Seeds {
		if StageName(name) == "fossilized" {
			n += count
		}
	}
	return n
}

func runPath(id string) string { return "/api/runs/" + url.PathEscape(id) }

// listRuns are the runs heard of last, at most so many, and the answer as it came.
func listRuns(ctx context.Context, limit int) ([]Run, json.RawMessage, error) {
	var page struct {
		Runs json.RawMessage `json:"runs"`
	}
	if _, err := fromNissa(ctx, "/api/runs", url.Values{"limit": {strconv.Itoa(limit)}}, &page); err != nil {
		return nil, nil, err
	}
	found, err := decoded[[]Run](page.Runs)
	return found, page.Runs, err
}

// completeRuns offers the names of runs, one behind the command.
func completeRuns(command *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		found, _, _ := listRuns(command.Context(), mostRuns) // nothing is offered when Nissa does not answer
		for _, r := range found {
			names = append(names, r.ID)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// mostRuns is how many Nissa gives at a time.
const mostRuns = 1000

// RunsList lists the runs.
func RunsList() *cobra.Command {
	var limit int
	command := question{
		use: "list", short: "List training runs, those heard of last first",
		long: "Lists the training runs that Nissa knows, those heard of last first: running, conservative (an emergency\n" +
			"keeps its seeds out of the output), silent (no report for longer than three take) or halted.",
		answer: func(ctx context.Context, _ []string, to *answer) error {
			found, raw, err := listRuns(ctx, limit)
			if err != nil {
				return err
			}
			return to.Print(to.out, raw, func(table io.Writer) {
				terminal.Row(table, "RUN", "STATE", "EPOCH", "LOSS", "ACC", "GROWING", "KEPT", "HEARD")
				for _, r := range found {
					terminal.Row(table, r.ID, r.State, r.Epoch, r.Loss, r.Accuracy.Percent(), r.Growing(), r.Kept(), to.age(r.Heard()))
				}
			})
		},
	}.command()
	terminal.Limit(command, &limit)
	return command
}

// RunsShow shows one run with its seeds.
func RunsShow() *cobra.Command {
	command := question{
		use: "show RUN", short: "Show one training run with its seeds", args: cobra.ExactArgs(1), complete: completeRuns,
		answer: func(ctx context.Context, args []string, to *answer) error {
			var r Run
			raw, err := fromNissa(ctx, runPath(args[0]), nil, &r)
			if err != nil {
				return err
			}
			seeds, rawSeeds, err := seedsOf(ctx, args[0])
			if err != nil {
				return err
			}
			return to.Print(to.out, map[string]any{"run": raw, "seeds": rawSeeds}, func(table io.Writer) { r.show(table, to, seeds) })
		},
	}.command()
	return command
}

func (r *Run) show(table io.Writer, to *answer, seeds []Seed) {
	line := func(label, format string, values ...any) { terminal.Line(table, label, format, values...) }
	line("run", "%s", r.ID)
	line("state", "%s, heard of %s ago", r.State, to.age(r.Heard()))
	if r.Level != "" {
		line("emergency", "%s", r.Held())
	}
	line("trainer", "%s, leads for %s, %d reports", terminal.OrDash(r.Trainer), to.age(r.LedSince), r.Reports)
	if len(r.Replaced) > 0 {
		line("before", "%s", strings.Join(r.Replaced, ", "))
	}
	if r.Refused > 0 {
		line("refused", "%d reports of processes that do not lead it", r.Refused)
	}
	line("epoch", "%d, loss %s (best %s), accuracy %s", r.Epoch, r.Loss, r.Best, r.Accuracy.Percent())
	if len(r.Seeds) > 0 {
		var counts []string
		for _, name := range slices.Sorted(maps.Keys(r.Seeds)) {
			counts = append(counts, fmt.Sprintf("%d %s", r.Seeds[name], StageName(name)))
		}
		line("seeds", "%s", strings.Join(counts, ", "))
		terminal.Row(table, "")
		seedTable(table, to, seeds)
	}
}

// RunsExport writes a run as lines of JSON.
func RunsExport() *cobra.Command {
	var file string
	command := &cobra.Command{
		Use: "export RUN", Short: "Write all that Nissa keeps of a run, as lines of JSON that it can import",
		Long: "Writes all that Nissa keeps of a run, as lines of JSON. esper-nissa-service --import puts them into another store.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeRuns,
		RunE: func(command *cobra.Command, args []string) error {
			service, err := nissa()
			if err != nil {
				return err
			}
			return export(command.Context(), service, args[0], file, command.OutOrStdout())
		},
	}
	command.Flags().StringVarP(&file, "file", "f", "", "where to; without it to the standard output")
	_ = command.MarkFlagFilename("file") // it is there
	return command
}

func export(ctx context.Context, service *ask.Service, id, file string, out io.Writer) error {
	if file == "" {
		return service.Copy(ctx, runPath(id)+"/export", out)
	}
	// Beside its place, so that a part of a run is never taken for the whole.
	part := file + ".part"
	to, err := os.Create(part)
	if err != nil {
		return process.CannotWrite(file, err)
	}
	err = service.Copy(ctx, runPath(id)+"/export", to)
	if closed := to.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(part, file)
	}
	if err == nil {
		return nil
	}
	_ = os.Remove(part) // why it failed is told
	_, ofPart := errors.AsType[*fs.PathError](err)
	_, ofName := errors.AsType[*os.LinkError](err)
	if ofPart || ofName {
		return process.CannotWrite(file, err)
	}
	return err
}
