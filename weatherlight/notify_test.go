package weatherlight

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/notifytest"
	"github.com/esper-lite/weatherlight/supervise"
)

func TestServiceManagerHearsReadyWatchdogAndStopping(t *testing.T) {
	manager := notifytest.Listen(t)
	t.Setenv("WATCHDOG_USEC", "100000")
	r := start(t, newService(t, nil))
	manager.Hear(notifyWatchdog, 3)
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	manager.Hear(notifyStopping, 1)
	if times := manager.Hear(notifyReady, 1); times != 1 {
		t.Errorf("told %d times that it is ready", times)
	}
}

func TestNoWatchdogWithoutAServiceManager(t *testing.T) {
	service := newService(t, nil)
	if dog := service.newWatchdog(); dog != nil {
		t.Errorf("watchdog %+v", dog)
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	if dog := service.newWatchdog(); dog != nil {
		t.Errorf("watchdog %+v of a malformed interval", dog)
	}
	t.Setenv("WATCHDOG_USEC", "30000000")
	if dog := service.newWatchdog(); dog == nil || dog.Interval != 15*time.Second {
		t.Errorf("watchdog %+v of 30 s", dog)
	}
}

func TestServiceThatCannotReportToItsManagerWasNeverReady(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	service := newService(t, nil)
	err := service.Run(t.Context())
	var boot *supervise.BootError
	if !errors.As(err, &boot) || boot.Step != "ready" || boot.Teardown != nil {
		t.Errorf("Run = %v", err)
	}
	select {
	case <-service.Ready():
		t.Error("it called itself ready")
	default:
	}
	if service.accepting.Load() {
		t.Error("it still takes work")
	}
}
