package process

import (
	"log/slog"

	"github.com/esper-lite/weatherlight/settings"
)

// WarnMisspelt tells of variables that have no effect, though their names begin as ours do, or are nearly ours.
func WarnMisspelt(logger *slog.Logger, resolved *settings.Settings) {
	for _, m := range settings.Misspellings(resolved) {
		if m.Nearest == "" {
			logger.Warn("there is no such setting", "variable", m.Env)
			continue
		}
		logger.Warn("there is no such setting", "variable", m.Env, "nearest", m.Nearest)
	}
}
