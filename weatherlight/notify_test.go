package weatherlight

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
)

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
