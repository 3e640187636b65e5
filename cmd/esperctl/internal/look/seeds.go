package look

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
)

// Seed is one as Nissa tells of it.
type Seed struct {
	Run       string    `json:"run"`
	ID        string    `json:"id"`
	Blueprint string    `json:"blueprint"`
	Slot      string    `json:"slot"`
	Kernel    string    `json:"kernel"`
	Stage     string    `json:"stage"`
	StageAt   time.Time `json:"stage_at"`
	Alpha     Number    `json:"alpha"`
	Paused    bool      `json:"paused"`
	FirstAt   time.Time `json:"first_at"`
	LastAt    time.Time `json:"last_at"`
	Reason    string    `json:"reason"`
	Outcome   string    `json:"outcome"`
	Stages    []struct {
		Stage string     `json:"stage"`
		From  time.Time  `json:"from"`
		To    *time.Time `json:"to"`
	} `json:"stages"`
}

// seedsOf are those of a run, and the answer as it came.
func seedsOf(ctx context.Context, run string) ([]Seed, json.RawMessage, error) {
	var page struct {
		Seeds json.RawMessage `json:"seeds"`
	}
	if _, err := fromNissa(ctx, runPath(run)+"/seeds", nil, &page); err != nil {
		return nil, nil, err
	}
	found, err := decoded[[]Seed](page.Seeds)
	return found, page.Seeds, err
}

func seedTable(table io.Writer, to *answer, seeds []Seed) {
	terminal.Row(table, "SEED", "BLUEPRINT", "SLOT", "STAGE", "FOR", "SHARE", "WHY")
	for _, s := range seeds {
		terminal.Row(table, s.ID, s.Blueprint, terminal.OrDash(s.Slot), StageName(s.Stage), to.age(s.StageAt), s.Share(),
			terminal.OrDash(s.Reason))
	}
}

// seedsOfRuns is the table of seeds of several runs, whose names take the room of what a seed is and where.
func seedsOfRuns(table io.Writer, to *answer, seeds []Seed) {
	head := []any{"RUN", "SEED", "STAGE", "FOR", "SHARE", "WHY"}
	if to.Wide() {
		head = slices.Insert(head, 2, any("BLUEPRINT"), any("SLOT"))
	}
	terminal.Row(table, head...)
	for _, s := range seeds {
		cells := []any{s.Run, s.ID, StageName(s.Stage), to.age(s.StageAt), s.Share(), terminal.OrDash(s.Reason)}
		if to.Wide() {
			cells = slices.Insert(cells, 2, any(s.Blueprint), any(terminal.OrDash(s.Slot)))
		}
		terminal.Row(table, cells...)
	}
}

// Share is what the seed has of the output.
func (s *Seed) Share() string {
	if s.Paused {
		return "paused"
	}
	return s.Alpha.Percent()
}

// SeedsList lists seeds.
func SeedsList() *cobra.Command {
	var of string
	command := question{
		use: "list", short: "List the seeds of a run, or of all runs that were heard of lately",
		answer: func(ctx context.Context, _ []string, to *answer) error {
			seeds, raw, err := allSeeds(ctx, of)
			if err != nil {
				return err
			}
			return to.Print(to.out, raw, func(table io.Writer) {
				if ofOneRun(seeds) {
					seedTable(table, to, seeds)
					return
				}
				seedsOfRuns(table, to, seeds)
			})
		},
	}.command()
	command.Flags().StringVar(&of, "run", "", "only those of this run")
	_ = command.RegisterFlagCompletionFunc("run", completeRuns)
	return command
}

func ofOneRun(seeds []Seed) bool {
	return !slices.ContainsFunc(seeds, func(s Seed) bool { return s.Run != seeds[0].Run })
}

// lately is how many runs are asked for their seeds.
const lately = 20

func allSeeds(ctx context.Context, of string) (seeds []Seed, raw []json.RawMessage, err error) {
	runs := []Run{{ID: of, Seeds: map[string]int{"": 1}}}
	if of == "" {
		if runs, _, err = listRuns(ctx, lately); err != nil {
			return nil, nil, err
		}
	}
	raw = []json.RawMessage{}
	for _, r := range runs {
		if len(r.Seeds) == 0 {
			continue
		}
		found, text, err := seedsOf(ctx, r.ID)
		if err != nil {
			return nil, nil, err
		}
		each, err := decoded[[]json.RawMessage](text)
		if err != nil {
			return nil, nil, err
		}
		seeds, raw = append(seeds, found...), append(raw, each...)
	}
	return seeds, raw, nil
}

// CompleteSeeds offers runs, and then the seeds of the run.
func CompleteSeeds(command *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return completeRuns(command, args, begun)
	}
	var names []string
	if len(args) == 1 {
		seeds, _, _ := seedsOf(command.Context(), args[0]) // nothing is offered when Nissa does not answer
		for _, s := range seeds {
			names = append(names, s.ID)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// SeedsShow shows one seed: where it was, and why it moved.
func SeedsShow() *cobra.Command {
	command := question{
		use: "show RUN SEED", short: "Show one seed: the stages that it was in, its gates and commands",
		args: cobra.ExactArgs(2), complete: CompleteSeeds,
		answer: func(ctx context.Context, args []string, to *answer) error {
			var found struct {
				Seed   Seed
				Events []Event
			}
			raw, err := fromNissa(ctx, runPath(args[0])+"/seeds/"+url.PathEscape(args[1]), nil, &found)
			if err != nil {
				return err
			}
			return to.Print(to.out, raw, func(table io.Writer) { found.Seed.show(table, to, found.Events) })
		},
	}.command()
	return command
}

func (s *Seed) show(table io.Writer, to *answer, events []Event) {
	line := func(label, format string, values ...any) { terminal.Line(table, label, format, values...) }
	line("seed", "%s", s.ID)
	line("run", "%s", s.Run)
	line("blueprint", "%s at %s", s.Blueprint, terminal.OrDash(s.Slot))
	line("kernel", "%s", terminal.OrDash(s.Kernel))
	line("stage", "%s for %s, share %s", StageName(s.Stage), to.age(s.StageAt), s.Share())
	for _, was := range s.Stages {
		if was.To != nil {
			line("", "%s for %s", StageName(was.Stage), terminal.Span(was.To.Sub(was.From)))
		}
	}
	if s.Reason != "" {
		line("why", "%s", s.Reason)
	}
	terminal.Row(table, "")
	terminal.Row(table, "TIME", "KIND", "NAME", "WHAT")
	for _, e := range events {
		terminal.Row(table, e.At.Local().Format(Clock), e.Kind, e.Verb(), e.What())
	}
}
