package nissa

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
	"github.com/esper-lite/weatherlight/oona/admin"
)

// ErrRules says that the rules are not in order.
var ErrRules = errors.New("alerts")

// Thresholds are what settings say of the shipped rules; a 0 means the default.
type Thresholds = rules.Thresholds

// ShippedRules are the rules for those who bring none.
func ShippedRules(t Thresholds) []byte { return rules.Default(t) }

func newDesk(config Config) (*alerting.Desk, error) {
	if config.Alerts == nil {
		return nil, nil
	}
	bus := config.Bus
	desk, err := alerting.New(alerting.Config{
		Read: config.Alerts.Rules, Name: config.Name, Now: bus.Now, Probe: bus.Ping,
		Reach:  reach(bus.Admin(), config.Group, config.Streams.Telemetry, config.Streams.Emergency),
		Logger: config.Logger.With("part", "alerts"),
		Tell: func(ctx context.Context, packet *leyline.TelemetryPacket) error {
			return bus.PublishTelemetry(ctx, packet, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRules, err)
	}
	return desk, nil
}

// reach asks how far streams are written and a group has read them. One that is not there is left out.
func reach(bus *admin.Admin, group string, streams ...string) func(context.Context) (map[string]alerting.Reach, error) {
	return func(ctx context.Context) (map[string]alerting.Reach, error) {
		reached := map[string]alerting.Reach{}
		for _, stream := range streams {
			written, read, err := bus.Reach(ctx, group, stream)
			if err != nil {
				return nil, err
			}
			reached[stream] = alerting.Reach{Written: alerting.Place(written), Read: alerting.Place(read)}
		}
		return reached, nil
	}
}

// Reload reads the rules again. When they are not in order the old ones stay, and the error
// says why.
func (s *Service) Reload(ctx context.Context) error {
	if s.desk == nil {
		return nil
	}
	return s.desk.Reload(ctx)
}

// unjudged is what of a message is put into the store for who judges.
func (s *Service) unjudged(payload proto.Message) (string, error) {
	packet, is := payload.(*leyline.TelemetryPacket)
	if !is || s.desk == nil || s.kept == nil {
		return "", nil
	}
	return s.desk.Unjudged(packet)
}
