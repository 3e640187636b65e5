package control_test

import (
	"testing"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// An alarm that the emergency stream has no room for must be late, and not lost: the
// queue keeps it until there is room.
func TestUrgentPacketThatFindsNoRoomIsHandedToTheQueue(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		narrow := client(t, oona.Config{URL: url, Consumer: "narrow", EmergencyPerMinute: 1})
		o := open(t, url, "a", func(c *control.Config) { c.Publish = narrow.Publish })
		o.hear("run-1", "run-2")
		if err := o.Emergency(t.Context(), "", kasmina.Emergency{Level: halt, Reason: "smoke", ID: "signal-1"}); err != nil {
			t.Error(err)
		}
		late := 0
		for _, packet := range o.offered {
			if telemetry.Priority(packet) == leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL {
				late++
			}
		}
		if told := o.events("emergency_signal"); late != 1 || told != late {
			t.Errorf("of two urgent packets one found room; %d are handed to the queue, %d tell of the emergency", late, told)
		}
	})
}
