package weatherlight

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatchdogIsFedOnlyWhileTheSupervisorLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		var fed atomic.Int64
		dog := &watchdog{
			interval: 10 * time.Second,
			alive:    func(context.Context) bool { return !dead.Load() },
			notify:   func(string) error { fed.Add(1); return nil },
		}
		stop := run(t, dog)
		time.Sleep(65 * time.Second)
		if got := fed.Load(); got != 7 {
			t.Errorf("fed %d times in 65 s", got)
		}
		dead.Store(true)
		time.Sleep(time.Minute)
		if got := fed.Load(); got != 7 {
			t.Errorf("fed %d times by a dead supervisor", got-7)
		}
		stop()
	})
}

func TestWatchdogDoesNotWaitForeverForADeadSupervisor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dog := &watchdog{
			interval: 10 * time.Second,
			alive:    func(ctx context.Context) bool { <-ctx.Done(); return false },
			notify:   func(string) error { t.Error("fed"); return nil },
		}
		begun := time.Now()
		if err := dog.feed(t.Context()); err != nil || time.Since(begun) != 10*time.Second {
			t.Errorf("feed = %v after %v", err, time.Since(begun))
		}
	})
}

// manager is the service manager's end of the notification socket.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	socket, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	t.Setenv("NOTIFY_SOCKET", address.Name)
	return socket
}

func TestServiceManagerHearsReadyWatchdogAndStopping(t *testing.T) {
	socket := manager(t)
	t.Setenv("WATCHDOG_USEC", "100000")
	r := start(t, newService(t, nil))
	heard := map[string]int{}
	listen := func(until string) {
		t.Helper()
		_ = socket.SetReadDeadline(time.Now().Add(patience))
		for heard[until] < 3 {
			var text [128]byte
			n, err := socket.Read(text[:])
			if err != nil {
				t.Fatalf("heard %v, then %v", heard, err)
			}
			heard[strings.TrimSpace(string(text[:n]))]++
			if until != notifyWatchdog && heard[until] > 0 {
				return
			}
		}
	}
	listen(notifyWatchdog)
	if heard[notifyReady] != 1 {
		t.Errorf("heard %v", heard)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	listen(notifyStopping)
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
	if dog := service.newWatchdog(); dog == nil || dog.interval != 15*time.Second {
		t.Errorf("watchdog %+v of 30 s", dog)
	}
}
