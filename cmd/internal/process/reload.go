package process

import (
	"context"
	"log/slog"
	"syscall"

	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
)

// OnHangup is the action of SIGHUP: it takes over what may change while a service
// runs, the log level and the secrets. What cannot be read leaves everything as
// it was.
func OnHangup(level *slog.LevelVar, secrets func(signing.Source) error, logger *slog.Logger) Action {
	return Action{Signal: syscall.SIGHUP, Do: func(context.Context) {
		resolved, err := settings.Load(settings.Options{})
		if err != nil {
			logger.Error("reload: nothing changed", "error", err)
			return
		}
		level.Set(resolved.Log.Level.Level())
		if err := secrets(resolved.Secrets); err != nil {
			logger.Error("reload: the secrets stay as they were", "error", err)
			return
		}
		logger.Info("reloaded", "log_level", resolved.Log.Level.String())
	}}
}
