// Command esperctl is the newcomer's and the operator's tool: it runs the demo,
// forges kernels and shows what the kernel library holds.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/act"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/demo"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/dev"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/look"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/streams"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/top"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/settings"
)

const name = "esperctl"

func main() {
	process.DieBySignal()
	ctx, hangUp := context.WithCancelCause(context.Background())
	var actions []process.Action
	if !signal.Ignored(syscall.SIGHUP) { // else it was started so that it outlives its terminal
		actions = append(actions, process.Action{Signal: syscall.SIGHUP, Do: func(context.Context) {
			hangUp(fmt.Errorf("%w: the terminal is gone", process.ErrSignal))
		}})
	}
	ctx, release := process.OnSignal(ctx, func() { os.Exit(process.ExitFailed) }, actions...)
	err := execute(ctx, newRoot())
	release()
	if err != nil {
		process.Report(os.Stderr, called(), err)
	}
	os.Exit(process.ExitCode(err))
}

// called is the name of the command that was called: a service that goes over to this one has its own.
func called() string {
	if dev.AsService() {
		return dev.Service
	}
	return name
}

// execute runs what the command line asks for.
func execute(ctx context.Context, root *cobra.Command) error {
	understood := false
	noteRun(root, func(command *cobra.Command) {
		understood = true
		warnMisspelt(command)
	})
	asked, err := root.ExecuteContextC(ctx)
	if err != nil && !understood {
		return terminal.Misused(asked, err)
	}
	return advised(asked, err)
}

// noteRun has each command call begun before it does what it is for, once its flags are looked at.
func noteRun(command *cobra.Command, begun func(*cobra.Command)) {
	for _, verb := range command.Commands() {
		noteRun(verb, begun)
	}
	if run := command.RunE; run != nil {
		command.RunE = func(command *cobra.Command, args []string) error {
			if err := checkFlags(command); err != nil {
				return err
			}
			begun(command)
			return run(command, args)
		}
	}
}

// warnMisspelt tells of settings that have no effect. What is wrong with the others is for the
// command to say, if it needs them.
func warnMisspelt(command *cobra.Command) {
	options := settings.Options{SecretOptional: true}
	if slices.Contains([]string{name + " demo", name + " dev"}, command.CommandPath()) {
		options.EnvFile = os.DevNull // as they do
	}
	resolved, err := settings.Load(options)
	if err != nil {
		return
	}
	for _, m := range settings.Misspellings(resolved) {
		line := called() + ": there is no setting " + m.Env
		if m.Nearest != "" {
			line += ": is it " + m.Nearest + " that you mean?"
		}
		fmt.Fprintln(command.ErrOrStderr(), process.Printable(line))
	}
}

// checkFlags refuses what no command takes: numbers and times below zero, and a text that must be
// given and is blank.
func checkFlags(command *cobra.Command) (err error) {
	command.Flags().Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		kind := f.Value.Type()
		switch {
		case (kind == "int" || kind == "duration") && strings.HasPrefix(value, "-"):
			err = fmt.Errorf("--%s is %s, which is below zero", f.Name, value)
		case f.Annotations[cobra.BashCompOneRequiredFlag] != nil && strings.TrimSpace(value) == "":
			err = fmt.Errorf("--%s is blank", f.Name)
		}
	})
	return err
}

// strict makes of each noun a command that knows its verbs alone: without one it shows them.
func strict(command *cobra.Command) {
	for _, verb := range command.Commands() {
		strict(verb)
	}
	if !command.Runnable() {
		command.Args = cobra.NoArgs
		command.RunE = func(command *cobra.Command, _ []string) error { return command.Help() }
	}
}

// inWords says of a value what a flag takes, in place of how the value was read.
func inWords(_ *cobra.Command, err error) error {
	invalid, is := errors.AsType[*pflag.InvalidValueError](err)
	number, failed := errors.AsType[*strconv.NumError](err)
	if !is || !failed {
		return err
	}
	flag := invalid.GetFlag()
	if flag.Value.Type() == "bool" {
		return fmt.Errorf("--%s is %q, which is neither true nor false", flag.Name, invalid.GetValue())
	}
	return fmt.Errorf("--%s is %q, which is no number that it takes: %w", flag.Name, invalid.GetValue(), number.Err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           name,
		Short:         "Run and look after an Esper-Lite foundation",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       process.Version(name),
	}
	root.SetFlagErrorFunc(inWords)
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(look.Status(), look.Workers(), look.Events(), newRuns(), newSeeds(), newTrainers(), newAlarms())
	root.AddCommand(streams.New(lookAtBus, withBus), top.New(lookAtBus), act.Mode(withKeyring, look.CompleteSeeds))
	root.AddCommand(newBlueprints(), newDeadLetters(), demo.New(), dev.New(), newDrill(), newForge(), newKernels(), newPolicy(), newReady())
	strict(root)
	offerNoFiles(root)
	terminal.Help(root)
	return root
}
