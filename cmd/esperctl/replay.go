package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
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
			return replayRuns(runs, command.OutOrStdout())
		},
	}
	replay.Flags().StringVar(&nissa, "nissa", "", "address of the Nissa that knows the run [NISSA_URL, or else NISSA_HTTP_ADDR]")
	return replay
}

// replayRuns tells what the runs of an export came to. The first difference ends it.
func replayRuns(runs []transcript.Run, out io.Writer) error {
	missing := 0
	if len(runs) == 0 {
		return verdict{errors.New("no run is recorded there: " + exportMakes), exitIncomplete}
	}
	for i := range runs {
		result, err := runs[i].Replay()
		if err != nil {
			return err
		}
		if result.Difference != nil {
			return verdict{fmt.Errorf("run %s: after %d decisions that are the same: %w", process.Printable(result.Run), result.Decisions,
				result.Difference), exitNotSo}
		}
		printLine(out, "%s: %d decisions with %d commands are the same, byte by byte", result.Run, result.Decisions, result.Commands)
		for _, what := range result.Missing {
			printLine(out, "%s: not recorded is %s", result.Run, what)
		}
		if missing += len(result.Missing); result.Decisions == 0 {
			missing++
		}
	}
	if missing > 0 {
		return verdict{errors.New("decisions are missing from the record"), exitIncomplete}
	}
	return nil
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
