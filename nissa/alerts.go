package nissa

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
)

// ErrRules says that the rules are not in order.
var ErrRules = errors.New("alerts")

// Thresholds are what settings say of the shipped rules; a 0 means the default.
type Thresholds = rules.Thresholds

// ShippedRules are the rules for those who bring none.
func ShippedRules(t Thresholds) []byte { return rules.Default(t) }

// stateFile is the name of the file in which alerts outlive a restart.
const stateFile = "alerts.json"

func newDesk(config Config) (*alerting.Desk, error) {
	if config.Alerts == nil {
		return nil, nil
	}
	bus := config.Bus
	made := alerting.Config{
		Read: config.Alerts.Rules, Probe: bus.Ping, Logger: config.Logger.With("part", "alerts"),
		Tell: func(ctx context.Context, packet *leyline.TelemetryPacket) error {
			return bus.PublishTelemetry(ctx, packet, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL)
		},
	}
	if dir := config.Alerts.Dir; dir != "" {
		made.Store = alerting.FileStore(filepath.Join(dir, stateFile))
	}
	desk, err := alerting.New(made)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRules, err)
	}
	return desk, nil
}

// Reload reads the rules again. When they are not in order the old ones stay, and the error
// says why.
func (s *Service) Reload(ctx context.Context) error {
	if s.desk == nil {
		return nil
	}
	return s.desk.Reload(ctx)
}
