package nissa

import (
	"testing"

	"github.com/esper-lite/weatherlight/internal/notifytest"
)

func TestServiceManagerHearsReadyWatchdogAndStopping(t *testing.T) {
	manager := notifytest.Listen(t)
	t.Setenv("WATCHDOG_USEC", "100000")
	r := run(t, embeddedURL(t))
	manager.Hear("READY=1", 1)
	manager.Hear("WATCHDOG=1", 3)
	r.stop()
	manager.Hear("STOPPING=1", 1)
}
