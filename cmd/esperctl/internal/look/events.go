package look

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Event is an entry of the feed.
type Event struct {
	Seq     int64             `json:"seq"`
	Run     string            `json:"run"`
	Seed    string            `json:"seed"`
	At      time.Time         `json:"at"`
	Kind    string            `json:"kind"`
	Name    string            `json:"name"`
	Source  string            `json:"source"`
	Details map[string]string `json:"details"`
}

// command is the kind of event by which somebody commands.
const command = "command"

// kinds are those of events.
var kinds = []string{"event", "stage", "gate", "command", "order", "field_report", "emergency", "alarm"}

// Clock is how an event's time is shown: that of the reader.
const Clock = "15:04:05"

func eventTable(table io.Writer, events []Event) {
	terminal.Row(table, "TIME", "KIND", "NAME", "RUN", "SEED", "WHAT")
	for _, e := range events {
		terminal.Row(table, e.At.Local().Format(Clock), e.Kind, e.Verb(), terminal.OrDash(e.Run),
			terminal.OrDash(e.Seed), e.What())
	}
}

// Verb is what happened, as a person says it: commands that mean the opposite have one name on the bus.
func (e *Event) Verb() string {
	switch {
	case e.Kind != command:
	case e.Name == "PAUSE" && trainer.IsTrue(e.Details["resume"]):
		return "resume"
	case e.Name == "EMERGENCY":
		switch level := trainer.ReadLevel(e.Details); {
		case level >= leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT:
			return "mode halt"
		case level == leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE:
			return "mode conservative"
		default:
			return "mode normal"
		}
	}
	return StageName(e.Name)
}

// What is the most telling of an event's details.
func (e *Event) What() string {
	for _, name := range []string{"reason", "detail", "error"} {
		if text := e.Details[name]; text != "" {
			if by := e.Details["operator"]; e.Kind == command && by != "" {
				return by + ": " + text
			}
			return text
		}
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(e.Details)) {
		if name != "seed_id" && name != "training_run_id" {
			pairs = append(pairs, name+"="+e.Details[name])
		}
	}
	return terminal.OrDash(strings.Join(pairs, " "))
}

// line is an event on a line of its own, for who follows.
func (e *Event) line() string {
	return strings.TrimRight(fmt.Sprintf("%s  %-11s %-16s %s %s  %s", e.At.Local().Format(Clock), e.Kind, e.Verb(),
		terminal.OrDash(e.Run), e.Seed, e.What()), " ")
}

// Events lists what happened anywhere, or follows it.
func Events() *cobra.Command {
	var filter struct {
		run, seed, kind string
		limit           int
		follow          bool
	}
	command := question{
		use: "events", short: "List what happened, the newest last, or follow it",
		long: "Lists what happened in all runs, the newest last: stages, gates, commands, orders, field reports, alarms.\n" +
			"With --follow it goes on until Ctrl-C; with --json that is one object a line.",
		answer: func(ctx context.Context, _ []string, to *answer) error {
			if filter.follow {
				return followEvents(ctx, to, filter.run, func(e Event) bool {
					return (filter.kind == "" || e.Kind == filter.kind) && (filter.seed == "" || e.Seed == filter.seed)
				}, nil)
			}
			query := url.Values{"limit": {strconv.Itoa(filter.limit)}}
			for name, value := range map[string]string{"run": filter.run, "seed": filter.seed, "kind": filter.kind} {
				if value != "" {
					query.Set(name, value)
				}
			}
			var page struct{ Events []json.RawMessage }
			if _, err := fromNissa(ctx, "/api/events", query, &page); err != nil {
				return err
			}
			slices.Reverse(page.Events) // the newest came first
			events, err := eachOf[Event](page.Events)
			if err != nil {
				return err
			}
			return to.Print(to.out, page.Events, func(table io.Writer) { eventTable(table, events) })
		},
	}.command()
	flags := command.Flags()
	flags.StringVar(&filter.run, "run", "", "only of this run")
	flags.StringVar(&filter.seed, "seed", "", "only of this seed")
	terminal.Choice(command, &filter.kind, kinds, "kind", "", "only of this kind: "+strings.Join(kinds, ", "))
	terminal.Limit(command, &filter.limit)
	flags.BoolVar(&filter.follow, "follow", false, "show what comes from now on, until Ctrl-C")
	_ = command.RegisterFlagCompletionFunc("run", completeRuns)
	_ = command.RegisterFlagCompletionFunc("seed", completeSeedFlag)
	return command
}

// completeSeedFlag offers the seeds of the run that --run names, or of those that were heard of lately.
func completeSeedFlag(command *cobra.Command, _ []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	run, _ := command.Flags().GetString("run")      // it is there
	seeds, _, _ := allSeeds(command.Context(), run) // nothing is offered when Nissa does not answer
	for _, s := range seeds {
		names = append(names, s.ID)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func eachOf[T any](raw []json.RawMessage) ([]T, error) {
	values := make([]T, len(raw))
	for i, text := range raw {
		var err error
		if values[i], err = decoded[T](text); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// RunsFollow follows one run: its reports and what happens in it.
func RunsFollow() *cobra.Command {
	command := question{
		use: "follow RUN", short: "Follow a training run: its reports, and what becomes of its seeds, until Ctrl-C",
		long: "Follows a training run until Ctrl-C: a line for each report of its trainer, and for each thing that happens\n" +
			"in it. With --json it is one object a line.",
		args: cobra.ExactArgs(1), complete: completeRuns,
		answer: func(ctx context.Context, args []string, to *answer) error {
			var r Run
			if _, err := fromNissa(ctx, runPath(args[0]), nil, &r); err != nil {
				return err
			}
			return followEvents(ctx, to, args[0], func(Event) bool { return true }, func(told reported) string {
				return fmt.Sprintf("%s  %-11s epoch %-10d loss %s, accuracy %s", told.At.Local().Format(Clock), "report",
					told.Epoch, told.Loss, told.Accuracy.Percent())
			})
		},
	}.command()
	return command
}

// reported is a report as it is followed.
type reported struct {
	At       time.Time `json:"at"`
	Epoch    uint32    `json:"epoch"`
	Loss     Number    `json:"loss"`
	Accuracy Number    `json:"accuracy"`
}

// followEvents prints a line for each event that is wanted and, unless report is nil, for each
// report, until a signal ends it.
func followEvents(ctx context.Context, to *answer, run string, wanted func(Event) bool, report func(reported) string) error {
	service, err := nissa()
	if err != nil {
		return err
	}
	query := url.Values{}
	if run != "" {
		query.Set("run", run)
	}
	err = service.Follow(ctx, "/api/stream", query, func(told ask.Event) error {
		switch {
		case told.Kind == "event":
			var e Event
			if err := json.Unmarshal(told.Data, &e); err != nil || !wanted(e) {
				return err
			}
			return to.say(told.Data, e.line())
		case told.Kind == "report" && report != nil:
			var r reported
			if err := json.Unmarshal(told.Data, &r); err != nil {
				return err
			}
			return to.say(told.Data, report(r))
		default:
			return nil
		}
	})
	return process.Stopped(ctx, err)
}

// say prints one line, as it came or as a person reads it.
func (a *answer) say(raw []byte, line string) error {
	if a.JSON() {
		line = terminal.EscapeJSON(string(raw))
	} else {
		line = process.Printable(line)
	}
	_, err := fmt.Fprintln(a.out, line)
	return err
}
