// Command esper-weatherlight-service runs the foundation of Esper-Lite: it boots
// the bus, the kernel library and its forge, the seeds and the controller, and
// keeps them alive until it is asked to stop.
//
// It is configured by environment variables or a .env file; see
// docs/operations.md. Exit codes: 0 clean stop, 1 failed later, 2 configuration,
// 3 a dependency at boot.
package main

import (
	"context"
	"os"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/weatherlight"
)

const name = "esper-weatherlight-service"

func main() {
	err := run(context.Background())
	if err != nil {
		process.Report(os.Stderr, name, err)
	}
	os.Exit(process.ExitCode(err))
}

func run(ctx context.Context) error {
	resolved, err := settings.Load(settings.Options{})
	if err != nil {
		return err
	}
	service, err := weatherlight.New(weatherlight.Config{
		Settings: resolved,
		Logger:   process.NewLogger(os.Stderr, resolved.Log.Level),
	})
	if err != nil {
		return err
	}
	// The second signal leaves at once, whatever is still going on.
	ctx, release := process.OnSignal(ctx, func() {
		service.Interrupt()
		os.Exit(process.ExitFailed)
	})
	defer release()
	return service.Run(ctx)
}
