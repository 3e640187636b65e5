package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tezzeret"
)

func newForge() *cobra.Command {
	return &cobra.Command{
		Use:   "forge",
		Short: "Compile the kernels that the library lacks",
		Long: `Compiles every blueprint that the library has no sound kernel of, stores it, and
announces it on the bus when REDIS_URL can be reached. A running service need
not be stopped.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return runForge(command.Context()) },
	}
}

func runForge(ctx context.Context) error {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return err
	}
	library, err := openLibrary(ctx, resolved)
	if err != nil {
		return err
	}
	screen := newScreen(os.Stdout, false)
	announce, leave := announcer(ctx, resolved, screen)
	forge := tezzeret.NewForge(tezzeret.ForgeConfig{
		Compiler:   tezzeret.NewCompiler(tezzeret.Config{Features: resolved.Tezzeret.Features}),
		Blueprints: karn.NewCatalog().List,
		Library:    library,
		Announce:   announce,
		Progress:   screen.forgeAll,
	})
	err = errors.Join(forge.Run(ctx), leave(), library.Close())
	result := forge.Result()
	screen.print("%d compiled, %d present, %d refused, %d failed",
		len(result.Compiled), len(result.Present), len(result.Refused), len(result.Failed))
	if err == nil && len(result.Failed) > 0 {
		err = fmt.Errorf("%d kernels failed to compile", len(result.Failed))
	}
	return err
}

// announcer tells the bus of new kernels, if there is a bus.
func announcer(ctx context.Context, resolved *settings.Settings, screen *screen) (
	announce func(context.Context, *leyline.KernelCatalogUpdate) error, leave func() error,
) {
	nobody := func() error { return nil }
	if resolved.Redis.Embedded() {
		screen.print("kernels are not announced: the embedded broker lives in the service")
		return nil, nobody
	}
	current, previous, err := resolved.Secrets()
	if err != nil {
		screen.print("kernels are not announced: %v", err)
		return nil, nobody
	}
	keyring, err := signing.NewKeyring(current, previous...)
	if err != nil {
		screen.print("kernels are not announced: %s is not set", settings.SecretEnv)
		return nil, nobody
	}
	bus, err := oona.Connect(ctx, oona.Config{
		URL: resolved.Redis.URL.Reveal(), Group: "esperctl", Consumer: "esperctl", Keyring: keyring,
	})
	if err != nil {
		screen.print("kernels are not announced: %v", err)
		return nil, nobody
	}
	return bus.PublishKernelCatalogUpdate, bus.Close
}

// forgeAll shows every decision of the forge, refusals included.
func (s *screen) forgeAll(progress tezzeret.Progress) {
	line := fmt.Sprintf("%2d/%d  %s %-26s %s", progress.Index, progress.Total, progress.BlueprintID, progress.Name, progress.State)
	switch {
	case progress.State == tezzeret.StateCompiling:
	case progress.Err != nil:
		s.print("%s: %v", line, progress.Err)
	default:
		s.print("%s %s", line, s.paint(faint, milliseconds(progress.Took)))
	}
}
