package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
)

// errNoBus says why kernels are not announced: they wait in the journal.
var errNoBus = errors.New("no bus to announce kernels on")

func newForge() *cobra.Command {
	return &cobra.Command{
		Use:   "forge",
		Short: "Compile the kernels that the library lacks",
		Long: `Compiles every blueprint that the library has no current kernel of, for the slot
and with the permissions of the settings (TEZZERET_SLOT, KARN_APPROVED,
KARN_QUARANTINE_GRANT), stores it, and announces it on the bus. What is stored while
no bus can be reached is announced by the next forge, here or in the service. A
forge that was stopped or killed goes on where it was when it is run again. A
running service need not be stopped.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return runForge(command.Context(), screen{terminal.NewLines(command.OutOrStdout(), false)})
		},
	}
}

// screen shows what the forge does.
type screen struct{ *terminal.Lines }

func runForge(ctx context.Context, screen screen) error {
	return withLibrary(ctx, func(opened opened) error {
		config, err := assembly.Forge(opened.settings, opened.library)
		if err != nil {
			return err
		}
		var leave func() error
		config.Announce, leave = announcer(ctx, opened.settings, screen)
		config.Progress = screen.forgeAll
		run := forge.New(config)
		err = run.Run(ctx)
		if errors.Is(err, forge.ErrUnannounced) {
			screen.Print("%v; the next forge announces them", err)
			err = nil
		}
		return errors.Join(err, leave(), screen.outcome(ctx, run.Result()))
	})
}

// outcome sums a run up; its error says that not all of the catalogue was done.
func (s screen) outcome(ctx context.Context, result forge.Result) error {
	s.Print("%d compiled, %d present, %d refused, %d failed, %d parked",
		len(result.Compiled), len(result.Present), len(result.Refused), len(result.Failed), len(result.Parked))
	if ctx.Err() != nil {
		return fmt.Errorf("forge stopped before its end, run it again to go on: %w", context.Cause(ctx))
	}
	if failed := len(result.Failed) + len(result.Parked); failed > 0 {
		return fmt.Errorf("%d kernels failed to compile", failed)
	}
	return nil
}

// announcer tells the bus of new kernels, if there is a bus.
func announcer(ctx context.Context, resolved *settings.Settings, screen screen) (
	announce func(context.Context, *leyline.KernelCatalogUpdate) error, leave func() error,
) {
	nobody := func() error { return nil }
	nowhere := func(context.Context, *leyline.KernelCatalogUpdate) error { return errNoBus }
	if resolved.Redis.Embedded() {
		screen.Print("kernels are not announced: the embedded broker lives in the service")
		return nowhere, nobody
	}
	var bus *oona.Client
	keyring, err := keyringOf(resolved)
	if err == nil {
		bus, err = joinBus(ctx, resolved, keyring)
	}
	if err != nil {
		screen.Print("kernels are not announced: %v", err)
		return nowhere, nobody
	}
	announce = func(ctx context.Context, update *leyline.KernelCatalogUpdate) error {
		return bus.Publish(ctx, oona.Message{Payload: update})
	}
	return announce, bus.Close
}

// forgeAll shows every decision of the forge, refusals included.
func (s screen) forgeAll(progress forge.Progress) {
	line := fmt.Sprintf("%2d/%d  %s %-26s %s", progress.Index, progress.Total, progress.BlueprintID, progress.Name, progress.State)
	switch {
	case progress.State == forge.StateCompiling:
	case progress.Err != nil:
		s.Print("%s: %v", line, progress.Err)
	default:
		s.Print("%s %s", line, s.Paint(terminal.Faint, terminal.Milliseconds(progress.Took)))
	}
}
