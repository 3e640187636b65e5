package weatherlight

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/esper-lite/weatherlight/internal/notifytest"
	"github.com/esper-lite/weatherlight/internal/sdnotify"
	"github.com/esper-lite/weatherlight/supervise"
)

func TestServiceManagerHearsReadyWatchdogAndStopping(t *testing.T) {
	manager := notifytest.Listen(t)
	t.Setenv("WATCHDOG_USEC", "100000")
	r := start(t, newService(t, nil))
	manager.Hear("WATCHDOG=1", 3)
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	manager.Hear(sdnotify.Stopping, 1)
	if times := manager.Hear(sdnotify.Ready, 1); times != 1 {
		t.Errorf("told %d times that it is ready", times)
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
