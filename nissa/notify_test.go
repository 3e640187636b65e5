package nissa

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// hears waits until the service manager's socket has received a state.
func hears(t *testing.T, socket *net.UnixConn, state string) {
	t.Helper()
	_ = socket.SetReadDeadline(time.Now().Add(patient))
	for {
		var text [128]byte
		n, err := socket.Read(text[:])
		if err != nil {
			t.Fatalf("waited for %s: %v", state, err)
		}
		if string(text[:n]) == state {
			return
		}
	}
}

func TestServiceManagerHearsReadyWatchdogAndStopping(t *testing.T) {
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	socket, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", address.Name)
	t.Setenv("WATCHDOG_USEC", "100000")
	r := run(t, embedded(t))
	hears(t, socket, "READY=1")
	for range 3 {
		hears(t, socket, "WATCHDOG=1")
	}
	r.stop()
	hears(t, socket, "STOPPING=1")
}

func TestNoWatchdogWithoutAServiceManager(t *testing.T) {
	service, err := New(Config{Bus: connect(t, embedded(t), secret)})
	if err != nil {
		t.Fatal(err)
	}
	if specs := service.watchdog(); len(specs) != 0 {
		t.Errorf("watchdog %v", specs)
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	if specs := service.watchdog(); len(specs) != 0 {
		t.Errorf("watchdog %v of a malformed interval", specs)
	}
}
