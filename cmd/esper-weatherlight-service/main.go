// Command esper-weatherlight-service runs the foundation of Esper-Lite: it boots
// the bus, the kernel library and its forge, the seeds and the controller, and
// keeps them alive until it is asked to stop. With --check it only asks whether
// it could start, and prints what it found. With --dev it is all that a trial needs.
//
// It is configured by environment variables or a .env file; see
// docs/operations. Exit codes: 0 clean stop, 1 failed later, 2 configuration,
// 3 a dependency at boot.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/cmd/internal/service"
	"github.com/esper-lite/weatherlight/settings"
)

const name = "esper-weatherlight-service"

func main() {
	process.OutliveSignals()
	process.DieBySignal()
	err := start(context.Background(), os.Args[1:])
	if err != nil {
		process.Report(os.Stderr, name, err)
	}
	os.Exit(process.ExitCode(err))
}

func start(ctx context.Context, args []string) error {
	asked, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case asked.version:
		fmt.Println(process.Version(name))
		return nil
	case asked.check:
		return check(ctx, os.Stdout)
	case asked.dev:
		return becomeDev(asked.devDir)
	default:
		return run(ctx)
	}
}

// options are what the command line can ask for. Everything else is configured otherwise.
type options struct {
	check   bool
	version bool
	dev     bool
	devDir  string
}

func parse(args []string) (asked options, err error) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.BoolVar(&asked.check, "check", false, "only ask whether the service could start: exit 0 yes, 2 configuration, 3 dependency")
	flags.BoolVar(&asked.version, "version", false, "only print the version")
	flags.BoolVar(&asked.dev, "dev", false,
		"run all by itself for a trial: embedded broker, Nissa's page, a secret of its own, a temporary folder")
	flags.StringVar(&asked.devDir, "dev-dir", "",
		"the same in this folder, which is kept with its secret: the next start goes on with its kernels and runs")
	err = process.ParseFlags(flags, "[--check|--dev|--dev-dir folder|--version]", args, os.Stdout)
	asked.dev = asked.dev || asked.devDir != ""
	if err == nil && asked.dev && asked.check {
		return options{}, process.Misconfigured("command line",
			errors.New("--check asks whether the settings let it start, and --dev uses other ones: choose one of the two"))
	}
	return asked, err
}

func run(ctx context.Context) error {
	resolved, err := settings.Load(settings.Options{})
	if err != nil {
		return err
	}
	made, err := service.Open(resolved)
	if err != nil {
		return err
	}
	defer made.Close()
	process.WarnMisspelt(made.Logger, resolved)
	ctx, release := made.OnSignal(ctx, process.OnHangup(made.Level, made.Reload, made.Logger))
	defer release()
	return made.Run(ctx)
}

// becomeDev goes over to esperctl, which has Nissa in it: a service of every day need not
// carry that along. It comes back with an error alone.
func becomeDev(dir string) error {
	path, err := esperctl()
	if err != nil {
		return fmt.Errorf("--dev is run by esperctl, which is neither beside this command nor in PATH; "+
			"in the source tree it is `go run ./cmd/esperctl dev`: %w", err)
	}
	args := []string{name, "dev"} // by our name, so that it speaks of our flags
	if dir != "" {
		args = append(args, "--dir", dir)
	}
	return fmt.Errorf("run %s dev: %w", path, syscall.Exec(path, args, os.Environ()))
}

func esperctl() (string, error) {
	if own, err := os.Executable(); err == nil {
		if beside, err := exec.LookPath(filepath.Join(filepath.Dir(own), "esperctl")); err == nil {
			return beside, nil
		}
	}
	return exec.LookPath("esperctl")
}
