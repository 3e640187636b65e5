// Package top has the view that stays: runs, seeds, streams, alarms and what happens, as they
// are now. What it shows and how keys change that is decided by a model that asks nobody; those
// who ask run beside it, one for each of the services and one for the bus.
package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/look"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/streams"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/admin"
)

const (
	// leastPause keeps a view from being a load.
	leastPause = 100 * time.Millisecond
	// frames is how often a second the screen may change: each costs, and nobody reads faster.
	frames = 10
)

var errNoTerminal = errors.New("this is no terminal: esperctl status shows it once")

// New is the command.
func New(bus streams.Bus) *cobra.Command {
	var pause time.Duration
	command := &cobra.Command{
		Use: "top", Short: "Show runs, seeds, streams, alarms and what happens, live",
		Long: "Shows runs, seeds on their seven stages, streams with each group's lag, pending and idle, alarms and the feed,\n" +
			"live, until q. tab goes to another pane, j and k move, / filters, s sorts by the next column and S the other\n" +
			"way round, enter looks into a row. Weatherlight, Nissa and the bus are asked apart: one that is away is told\n" +
			"of, and asked on. It only reads, and leaves no group and no consumer on the bus.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if pause < leastPause {
				return process.Misconfigured("--interval", fmt.Errorf("%s is less than %s", pause, leastPause))
			}
			out := command.OutOrStdout()
			if !terminal.Is(out) {
				return process.Misconfigured("top", errNoTerminal)
			}
			watch, err := look.NewWatch()
			if err != nil {
				return err
			}
			defer watch.Close()
			return stay(command.Context(), out, watch, bus, pause)
		},
	}
	command.Flags().DurationVar(&pause, "interval", 2*time.Second, "how long to wait before each is asked again")
	return command
}

// stay shows the view until somebody leaves it, or ctx is done.
func stay(ctx context.Context, out io.Writer, watch *look.Watch, bus streams.Bus, pause time.Duration) error {
	program := tea.NewProgram(newModel(terminal.Colours(out), time.Now()),
		tea.WithContext(ctx), tea.WithoutSignalHandler(), tea.WithOutput(out), tea.WithFPS(frames))
	asking, stop := context.WithCancel(ctx)
	var askers sync.WaitGroup
	askers.Go(func() {
		again(asking, pause, func() {
			said, err := watch.Weatherlight(asking)
			program.Send(fromService{said, err, time.Now()})
		})
	})
	askers.Go(func() {
		again(asking, pause, func() {
			said, err := watch.Nissa(asking)
			program.Send(fromNissa{said, err, time.Now()})
		})
	})
	askers.Go(func() {
		again(asking, pause, func() {
			err := bus(asking, func(client *oona.Client) error {
				return follow(asking, pause, client.Admin(), func(said []admin.StreamView) { program.Send(fromBus{said, nil, time.Now()}) })
			})
			program.Send(fromBus{nil, err, time.Now()})
		})
	})
	last, err := program.Run()
	stop()
	askers.Wait()
	if m, is := last.(model); err == nil && is && !m.ended {
		return &process.StoppedError{Err: process.ErrSignal}
	}
	return process.Stopped(ctx, err)
}

// again does something, and again after each pause, until ctx is done.
func again(ctx context.Context, pause time.Duration, do func()) {
	for ctx.Err() == nil {
		do()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// follow tells of the streams after each pause, until they cannot be looked at any more.
func follow(ctx context.Context, pause time.Duration, bus *admin.Admin, tell func([]admin.StreamView)) error {
	for {
		found, err := bus.Streams(ctx)
		if err != nil {
			return err
		}
		tell(found)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
