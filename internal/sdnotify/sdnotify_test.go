package sdnotify_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/notifytest"
	"github.com/esper-lite/weatherlight/internal/sdnotify"
)

func alive(context.Context) bool { return true }

func TestNotify(t *testing.T) {
	if heard, err := sdnotify.Notify(sdnotify.Ready); heard || err != nil {
		t.Errorf("without a manager: %v, %v", heard, err)
	}
	manager := notifytest.Listen(t)
	if heard, err := sdnotify.Notify(sdnotify.Ready); !heard || err != nil {
		t.Errorf("with a manager: %v, %v", heard, err)
	}
	manager.Hear("READY=1", 1)
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	if heard, err := sdnotify.Notify(sdnotify.Stopping); heard || err == nil {
		t.Errorf("with a manager that is gone: %v, %v", heard, err)
	}
}

func TestWatchdogIsFedAtHalfItsInterval(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	if dog := sdnotify.Watchdog(alive, logger); dog != nil {
		t.Errorf("watchdog %+v without a manager", dog)
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	if dog := sdnotify.Watchdog(alive, logger); dog != nil {
		t.Errorf("watchdog %+v of a malformed interval", dog)
	}
	t.Setenv("WATCHDOG_USEC", "30000000")
	manager := notifytest.Listen(t)
	dog := sdnotify.Watchdog(alive, logger)
	if dog == nil || dog.Interval != 15*time.Second {
		t.Fatalf("watchdog %+v of 30 s", dog)
	}
	if err := dog.Feed(); err != nil {
		t.Error(err)
	}
	manager.Hear("WATCHDOG=1", 1)
}
