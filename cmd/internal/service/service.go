// Package service makes the foundation as a command runs it: with its log, its bounds on
// memory and its signals. Open makes one, OnSignal lets signals end it.
package service

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"syscall"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/weatherlight"
)

// collectionPercent is how much may be allocated before a collection, in percent
// of what is in use. That is a few megabytes: room for some more of them costs
// little, and spares processor time under load.
const collectionPercent = 200

// Service is one with its log.
type Service struct {
	*weatherlight.Service

	Logger *slog.Logger
	Level  *slog.LevelVar

	sink *process.Sink
}

// Open prepares a service. Its errors are faults of the configuration.
func Open(resolved *settings.Settings) (*Service, error) {
	if before := debug.SetGCPercent(collectionPercent); before != 100 {
		debug.SetGCPercent(before) // GOGC says otherwise
	}
	process.CollectBelow()
	s := &Service{Level: new(slog.LevelVar)}
	s.Level.Set(resolved.Log.Level.Level())
	s.Logger, s.sink = process.OpenLog(os.Stderr, s.Level)
	var err error
	s.Service, err = weatherlight.New(weatherlight.Config{Settings: resolved, Logger: s.Logger, LogLost: s.sink.Dropped})
	if err != nil {
		s.sink.Close()
		return nil, err
	}
	return s, nil
}

// Close writes the rest of the log.
func (s *Service) Close() { s.sink.Close() }

// OnSignal has signals end the service: the second leaves at once, whatever is still going on.
func (s *Service) OnSignal(ctx context.Context, hangup process.Action) (context.Context, func()) {
	return process.OnSignal(ctx,
		func() {
			s.Interrupt()
			s.Logger.Error("cut off by a second signal")
			s.Close()
			os.Exit(process.ExitFailed)
		},
		hangup, process.Action{Signal: syscall.SIGUSR1, Do: s.LogStatus},
	)
}
