//go:build linux

// Package pgtest runs a real PostgreSQL server for tests: its own process, its own
// folder, a free loopback port. The binaries are those of Debian's package
// "postgresql"; the cluster that the package may have made is not touched.
package pgtest

import (
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// startTimeout bounds the wait for a server to answer.
const startTimeout = 30 * time.Second

// packageBin is where Debian's package keeps what is not on the path.
const packageBin = "/usr/lib/postgresql/*/bin"

// Server is one PostgreSQL server. Every local user may connect to it.
type Server struct {
	Addr string // 127.0.0.1:port

	let     func() // lets go of the port
	dir     string
	account *syscall.Credential
	cmd     *exec.Cmd
	schemas atomic.Int64 // that NewSchema made
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	server, err := Launch()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// Launch runs a server until Close. It is for a TestMain that shares one server
// between its tests.
func Launch() (*Server, error) {
	account, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, fmt.Errorf("postgres folder: %w", err)
	}
	addr, let, err := freeport.Hold()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := &Server{Addr: addr, let: let, dir: dir, account: account}
	if err := s.create(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.Restart(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// URL of the server's database, with the tables in a schema of that name, which is
// not made by it.
func (s *Server) URL(schema string) string {
	address := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: s.Addr, Path: "/postgres"}
	options := url.Values{"sslmode": {"disable"}}
	if schema != "" {
		options.Set("search_path", schema)
	}
	address.RawQuery = options.Encode()
	return address.String()
}

// NewSchema makes a schema, and returns the URL of the database with the tables in it. It
// takes the driver that whoever opens the database has.
func (s *Server) NewSchema(t testing.TB) string {
	t.Helper()
	db, err := sql.Open("pgx", s.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	schema := fmt.Sprint("t_", s.schemas.Add(1))
	_, err = db.ExecContext(t.Context(), "CREATE SCHEMA "+schema)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return s.URL(schema)
}

// binary finds a program of the server on the path or where Debian puts it.
func binary(name string) (string, error) {
	if found, err := exec.LookPath(name); err == nil {
		return found, nil
	}
	found, err := filepath.Glob(filepath.Join(packageBin, name))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%s not found: apt-get install postgresql", name)
	}
	return found[len(found)-1], nil
}

// unprivileged is whom the server runs as when we are root, whom it refuses.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nobody to switch to
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("user postgres not found: apt-get install postgresql: %w", err)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user postgres: %w", err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user postgres: %w", err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func (s *Server) create() error {
	if s.account != nil {
		if err := os.Chown(s.dir, int(s.account.Uid), int(s.account.Gid)); err != nil {
			return fmt.Errorf("postgres folder: %w", err)
		}
	}
	initdb, err := s.command("initdb", "-D", s.data(), "-U", "postgres", "--auth=trust",
		"--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
	if err != nil {
		return err
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) (*exec.Cmd, error) {
	path, err := binary(name)
	if err != nil {
		return nil, err
	}
	command := exec.Command(path, args...)
	command.Dir = s.dir
	// A test that is killed takes its server along.
	command.SysProcAttr = &syscall.SysProcAttr{Credential: s.account, Pdeathsig: syscall.SIGQUIT}
	return command, nil
}

// Restart ends the server as a crash would, if it runs, and starts it again on the
// same port and data.
func (s *Server) Restart() error {
	if err := s.Kill(); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return fmt.Errorf("postgres address: %w", err)
	}
	cmd, err := s.command("postgres", "-D", s.data(), "-p", port, "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=200")
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.cmd = cmd
	return s.awaitAnswer()
}

// awaitAnswer polls until the server serves.
func (s *Server) awaitAnswer() error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); <-poll.C {
		if s.ready() {
			return nil
		}
	}
	return fmt.Errorf("postgres on %s did not answer within %s", s.Addr, startTimeout)
}

// ready asks the package's own program, which tells a server that still starts from
// one that serves.
func (s *Server) ready() bool {
	host, port, _ := net.SplitHostPort(s.Addr)
	check, err := s.command("pg_isready", "-q", "-h", host, "-p", port, "-U", "postgres")
	return err == nil && check.Run() == nil
}

// Kill ends the server at once, without a word to its clients. Until it is started
// again nobody listens on its port, and nobody else is given it.
func (s *Server) Kill() error {
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		return fmt.Errorf("end postgres: %w", err)
	}
	_ = s.cmd.Wait() // its exit status is the signal
	s.cmd = nil
	return nil
}

// Close ends the server and removes its data.
func (s *Server) Close() error {
	err := s.Kill()
	s.let()
	return errors.Join(err, os.RemoveAll(s.dir))
}
