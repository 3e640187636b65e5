// Command esper-weatherlight-service runs the foundation of Esper-Lite: it boots
// the bus, the kernel library and its forge, the seeds and the controller, and
// keeps them alive until it is asked to stop. With --check it only asks whether
// it could start, and prints what it found.
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
	"log/slog"
	"os"
	"runtime/debug"
	"syscall"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/weatherlight"
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
	default:
		return run(ctx)
	}
}

// options are what the command line can ask for. Everything else is configured otherwise.
type options struct {
	check   bool
	version bool
}

func parse(args []string) (asked options, err error) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.BoolVar(&asked.check, "check", false, "only ask whether the service could start: exit 0 yes, 2 configuration, 3 dependency")
	flags.BoolVar(&asked.version, "version", false, "only print the version")
	err = process.ParseFlags(flags, "[--check | --version]", args, os.Stdout)
	return asked, err
}

// collectionPercent is how much may be allocated before a collection, in percent
// of what is in use. That is a few megabytes: room for some more of them costs
// little, and spares processor time under load.
const collectionPercent = 200

func run(ctx context.Context) error {
	if before := debug.SetGCPercent(collectionPercent); before != 100 {
		debug.SetGCPercent(before) // GOGC says otherwise
	}
	process.CollectBelow()
	resolved, err := settings.Load(settings.Options{})
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(resolved.Log.Level.Level())
	logger, sink := process.OpenLog(os.Stderr, level)
	defer sink.Close()
	service, err := weatherlight.New(weatherlight.Config{Settings: resolved, Logger: logger, LogLost: sink.Dropped})
	if err != nil {
		return err
	}
	// The second signal leaves at once, whatever is still going on.
	ctx, release := process.OnSignal(ctx,
		func() {
			service.Interrupt()
			logger.Error("cut off by a second signal")
			sink.Close()
			os.Exit(process.ExitFailed)
		},
		process.OnHangup(level, service.Reload, logger),
		process.Action{Signal: syscall.SIGUSR1, Do: service.LogStatus},
	)
	defer release()
	return service.Run(ctx)
}
