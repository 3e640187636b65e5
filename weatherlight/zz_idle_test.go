package weatherlight

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

func TestZZIdle(t *testing.T) {
	redis := redistest.Start(t)
	a, _ := sharedName(t)
	b, _ := sharedName(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL, "TOLARIA_ROLLBACK_SIGNAL_NAME": a, "TOLARIA_EMERGENCY_SIGNAL_NAME": b}))
	time.Sleep(40 * time.Second)
	_ = r.stop(t)
}
