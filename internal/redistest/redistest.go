// Package redistest runs a real redis-server for one test: its own process, its
// own folder, a free loopback port.
package redistest

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// startTimeout bounds the wait for a server to answer.
const startTimeout = 20 * time.Second

// AOF makes every acknowledged write survive Kill.
func AOF() []string { return []string{"--appendonly", "yes", "--appendfsync", "always"} }

// Server is one redis-server. It is stopped when the test ends.
type Server struct {
	Addr string // 127.0.0.1:port
	URL  string // redis://127.0.0.1:port/0

	t     testing.TB
	dir   string
	args  []string
	clock *Clock // nil: that of the machine
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
}

// Start runs a server without persistence, unless args say otherwise, and waits
// until it answers.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartWith(t, nil, args...)
}

// StartWith starts a server that goes by a clock of its own.
func StartWith(t testing.TB, clock *Clock, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server not found: apt-get install redis-server")
	}
	addr := freeport.Must(t)
	s := &Server{t: t, dir: t.TempDir(), args: args, clock: clock, Addr: addr, URL: "redis://" + addr + "/0"}
	t.Cleanup(s.Stop)
	s.launch()
	return s
}

func (s *Server) launch() {
	s.t.Helper()
	s.start()
	if !s.awaitAnswer() {
		s.t.Fatalf("redis-server on %s did not answer within %s, or ended", s.Addr, startTimeout)
	}
}

func (s *Server) start() {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.Addr)
	args := []string{"--bind", host, "--port", port, "--dir", s.dir, "--save", "", "--daemonize", "no"}
	cmd, ended := exec.Command("redis-server", append(args, s.args...)...), make(chan struct{})
	cmd.Env = append(cmd.Environ(), s.clock.environ()...)
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start redis-server: %v", err)
	}
	go func() {
		_ = cmd.Wait() // its exit status is the signal
		close(ended)
	}()
	s.cmd, s.ended = cmd, ended
}

// awaitAnswer polls until the server says PONG, or asks for a password: while it
// loads its data it accepts connections and says LOADING. It returns false when
// the server ended by itself.
func (s *Server) awaitAnswer() bool {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		select {
		case <-s.ended:
			return false
		case <-poll.C:
		}
		if s.answers() {
			return true
		}
	}
	return false
}

func (s *Server) answers() bool {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	reply := make([]byte, 5)
	_, err = conn.Read(reply)
	return err == nil && (string(reply) == "+PONG" || string(reply) == "-NOAU")
}

// Pid is the process id of the running server.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Kill ends the server as a power cut would, and waits for it. Until it is started
// again nobody listens on its port, and nobody else is given it.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server in good order, and waits for it.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

func (s *Server) end(signal syscall.Signal) {
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("end redis-server %d: %v", s.Pid(), err)
	}
	_ = s.cmd.Process.Signal(syscall.SIGCONT) // a frozen server ends too
	<-s.ended
	s.cmd = nil
}

// Freeze stops the process without closing its connections; Thaw goes on.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatalf("signal redis-server: %v", err)
	}
}

// Restart ends the server, if it runs, and starts it again on the same port and
// folder: with AOF it comes back with its data, without it comes back empty.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.launch()
}
