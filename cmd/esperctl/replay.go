package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/tamiyo/transcript"
)

// What exit codes mean of recorded runs.
const (
	exitNotSo      = process.ExitFailed     // what was to be shown is not so
	exitIncomplete = process.ExitDependency // there is too little to tell
)

// verdict is an error with an exit code of its own.
type verdict struct {
	error
	code int
}

// Exit is the code.
func (v verdict) Exit() int { return v.code }

func newRunsReplay() *cobra.Command {
	var format terminal.Format
	var nissa string
	replay := &cobra.Command{
		Use:   "replay FILE|RUN",
		Short: "Have the controller decide again on a recorded run, and compare",
		Long: `Has the controller decide again on each report of a recorded run, handed what it was handed
then, and compares commands, field reports, telemetry and the record of the run byte by byte.
The run is a file that Nissa exported, or is asked of Nissa by its id.
Exit codes: 0 all decisions came out the same, 1 one differs, which is told, 3 decisions are
missing from the record and those that are there came out the same.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeReplay,
		RunE: func(command *cobra.Command, args []string) error {
			runs, err := recordedRun(command.Context(), args[0], nissa)
			if err != nil {
				return err
			}
			return replayRuns(runs, &format, command.OutOrStdout())
		},
	}
	format.Bind(replay)
	replay.Flags().StringVar(&nissa, "nissa", "", "address of the Nissa that knows the run [NISSA_URL, or else NISSA_HTTP_ADDR]")
	return replay
}

// replayEntry is a run that was decided on again, as --json prints it.
type replayEntry struct {
	Run        string   `json:"run"`
	Decisions  int      `json:"decisions"`
	Commands   int      `json:"commands"`
	Missing    []string `json:"missing"`              // what of the run is not recorded
	Difference string   `json:"difference,omitempty"` // the first, behind so many decisions
}

// replayRuns tells what the runs of an export came to. The first difference ends it.
func replayRuns(runs []transcript.Run, format *terminal.Format, out io.Writer) error {
	entries := []replayEntry{}
	var found error
	for i := range runs {
		result, err := runs[i].Replay()
		if err != nil {
			return err
		}
		entry := replayEntry{
			Run: result.Run, Decisions: result.Decisions, Commands: result.Commands, Missing: append([]string{}, result.Missing...),
		}
		if differs := result.Difference; differs != nil {
			entry.Difference = differs.Error()
			found = fmt.Errorf("run %s: after %d decisions that are the same: %w", process.Printable(entry.Run), entry.Decisions, differs)
		}
		if entries = append(entries, entry); found != nil {
			break
		}
	}
	if err := format.Print(out, entries, func(table io.Writer) { replayTable(table, entries) }); err != nil {
		return err
	}
	if found != nil {
		return verdict{found, exitNotSo}
	}
	return completeness(entries)
}

func replayTable(table io.Writer, entries []replayEntry) {
	for _, e := range entries {
		if e.Difference != "" {
			return // the error tells of it
		}
		terminal.Row(table, fmt.Sprintf("%s: %d decisions with %d commands are the same, byte by byte", e.Run, e.Decisions, e.Commands))
		for _, what := range e.Missing {
			terminal.Row(table, fmt.Sprintf("%s: not recorded is %s", e.Run, what))
		}
	}
}

// completeness is the verdict on runs of which all that is recorded came out the same.
func completeness(entries []replayEntry) error {
	lacks := func(e replayEntry) bool { return len(e.Missing) > 0 || e.Decisions == 0 }
	switch {
	case len(entries) == 0:
		return verdict{errors.New("no run is recorded there: " + exportMakes), exitIncomplete}
	case slices.ContainsFunc(entries, lacks):
		return verdict{errors.New("decisions are missing from the record"), exitIncomplete}
	default:
		return nil
	}
}

// recordedRun reads a file, or asks Nissa for a run.
func recordedRun(ctx context.Context, name, nissa string) ([]transcript.Run, error) {
	if _, err := os.Stat(name); err == nil {
		return recordedIn(name)
	}
	service, err := nissaAt(nissa)
	if err != nil {
		return nil, err
	}
	runs, err := exported(ctx, service, name)
	if err != nil {
		return nil, fmt.Errorf("%s is no file: %w", name, err)
	}
	return runs, nil
}

const exportMakes = "name a file that esperctl runs export makes"

func recordedIn(file string) ([]transcript.Run, error) {
	from, err := os.Open(file)
	if err != nil {
		return nil, process.CannotRead(file, err)
	}
	runs, err := transcript.ReadRuns(from)
	err = errors.Join(err, from.Close())
	if _, unreadable := errors.AsType[*fs.PathError](err); unreadable {
		return nil, process.CannotRead(file, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", file, err, exportMakes)
	}
	return runs, nil
}

// nissaAt is the Nissa at an address, or else that of the settings.
func nissaAt(address string) (*ask.Service, error) {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return nil, err
	}
	service, err := ask.Nissa(resolved)
	if err != nil {
		return nil, err
	}
	return service.At(address), nil
}

// exportTimeout bounds how long one run may take to arrive.
const exportTimeout = 5 * time.Minute

func exported(ctx context.Context, nissa *ask.Service, id string) (runs []transcript.Run, err error) {
	ctx, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	err = nissa.Read(ctx, "/api/runs/"+url.PathEscape(id)+"/export", func(body io.Reader) error {
		runs, err = transcript.ReadRuns(body)
		return err
	})
	return runs, err
}
