// Package notifytest stands for the service manager that a service tells of its
// states.
package notifytest

import (
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must be told.
const patience = 20 * time.Second

// Manager is the service manager's end of the notification socket. It takes in what
// it is told at once, as the real one does: the socket holds a few messages only, and
// who tells more waits.
type Manager struct {
	t testing.TB

	mu    sync.Mutex
	heard map[string]int
	news  chan struct{} // closed and replaced when something is heard
}

// Listen makes the socket, names it in the environment, and listens until the test
// ends.
func Listen(t testing.TB) *Manager {
	t.Helper()
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	socket, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	m := &Manager{t: t, heard: make(map[string]int), news: make(chan struct{})}
	var listening sync.WaitGroup
	listening.Go(func() { m.listen(socket) })
	t.Cleanup(func() {
		_ = socket.Close() // ends the listening
		listening.Wait()
	})
	t.Setenv("NOTIFY_SOCKET", address.Name)
	return m
}

func (m *Manager) listen(socket net.Conn) {
	var text [128]byte
	for {
		n, err := socket.Read(text[:])
		if err != nil {
			return
		}
		m.mu.Lock()
		m.heard[strings.TrimSpace(string(text[:n]))]++
		close(m.news)
		m.news = make(chan struct{})
		m.mu.Unlock()
	}
}

// Hear waits until a state was told so many times, and returns how often it was.
func (m *Manager) Hear(state string, times int) int {
	m.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		m.mu.Lock()
		told, news := m.heard[state], m.news
		m.mu.Unlock()
		if told >= times {
			return told
		}
		select {
		case <-news:
		case <-limit.C:
			m.t.Fatalf("%s was told %d times, want %d", state, told, times)
		}
	}
}
