package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"

	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/weatherlight"
)

// First arguments with which this program is its own child.
const (
	childCeiling   = "child-ceiling"   // URL, column
	childService   = "child-service"   // profile
	childPublisher = "child-publisher" // URL, messages
	childConsumer  = "child-consumer"  // URL, messages

	childBareReports = "child-bare-reports" // URL
)

// runChild runs this process as a child, when its arguments say that it is one.
func runChild(args []string) (code int, done bool) {
	if len(args) < 2 {
		return 0, false
	}
	work, isChild := map[string]func(context.Context, []string) error{
		childCeiling:   func(ctx context.Context, args []string) error { return serveCeiling(ctx, args[0], args[1]) },
		childService:   func(ctx context.Context, args []string) error { return profileService(ctx, args[0]) },
		childPublisher: publishBacklog,
		childConsumer:  consumeBacklog,

		childBareReports: func(ctx context.Context, args []string) error { return serveBareReports(ctx, args[0]) },
	}[args[0]]
	if !isChild {
		return 0, false
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := work(ctx, args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

// profileService runs the service under the CPU profiler.
func profileService(ctx context.Context, path string) error {
	resolved, err := settings.Load(settings.Options{})
	if err != nil {
		return err
	}
	service, err := weatherlight.New(weatherlight.Config{Settings: resolved})
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("create profile: %w", err)
	}
	defer file.Close()
	if err := pprof.StartCPUProfile(file); err != nil {
		return fmt.Errorf("start profile: %w", err)
	}
	defer pprof.StopCPUProfile()
	return service.Run(ctx)
}
