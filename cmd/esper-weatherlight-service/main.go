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
	case asked.dev:
		return runDev(ctx, asked.devDir, os.Stdout)
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
	err = process.ParseFlags(flags, "[--check | --dev | --dev-dir folder | --version]", args, os.Stdout)
	asked.dev = asked.dev || asked.devDir != ""
	return asked, err
}

// collectionPercent is how much may be allocated before a collection, in percent
// of what is in use. That is a few megabytes: room for some more of them costs
// little, and spares processor time under load.
const collectionPercent = 200

func run(ctx context.Context) error {
	resolved, err := settings.Load(settings.Options{})
	if err != nil {
		return err
	}
	made, err := prepare(resolved)
	if err != nil {
		return err
	}
	defer made.sink.Close()
	ctx, release := made.onSignal(ctx, process.OnHangup(made.level, made.service.Reload, made.logger))
	defer release()
	return made.service.Run(ctx)
}

// prepared is a service with its log.
type prepared struct {
	service *weatherlight.Service
	logger  *slog.Logger
	level   *slog.LevelVar
	sink    *process.Sink
}

func prepare(resolved *settings.Settings) (*prepared, error) {
	if before := debug.SetGCPercent(collectionPercent); before != 100 {
		debug.SetGCPercent(before) // GOGC says otherwise
	}
	process.CollectBelow()
	p := &prepared{level: new(slog.LevelVar)}
	p.level.Set(resolved.Log.Level.Level())
	p.logger, p.sink = process.OpenLog(os.Stderr, p.level)
	process.WarnMisspelt(p.logger, resolved)
	var err error
	p.service, err = weatherlight.New(weatherlight.Config{Settings: resolved, Logger: p.logger, LogLost: p.sink.Dropped})
	if err != nil {
		p.sink.Close()
		return nil, err
	}
	return p, nil
}

// onSignal has signals end the service: the second leaves at once, whatever is still going on.
func (p *prepared) onSignal(ctx context.Context, hangup process.Action) (context.Context, func()) {
	return process.OnSignal(ctx,
		func() {
			p.service.Interrupt()
			p.logger.Error("cut off by a second signal")
			p.sink.Close()
			os.Exit(process.ExitFailed)
		},
		hangup, process.Action{Signal: syscall.SIGUSR1, Do: p.service.LogStatus},
	)
}
