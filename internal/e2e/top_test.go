package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

// screen is a command on a terminal of tmux's, which stays when the command has ended.
type screen struct {
	t                testing.TB
	socket, exitCode string
}

// show runs esperctl on a terminal of its own.
func show(t testing.TB, environ []string, width, height int, args ...string) *screen {
	t.Helper()
	folder := t.TempDir()
	s := &screen{t, filepath.Join(folder, "tmux"), filepath.Join(folder, "exit")}
	cmd := exec.Command("tmux", append([]string{
		"-S", s.socket, "-f", "/dev/null", "-u", "set-option", "-g", "remain-on-exit", "on", ";", "set-option", "-g", "default-terminal",
		"xterm-256color", ";", "new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height), "-c", folder,
		"sh", "-c", `"$@"; echo $? > ` + s.exitCode + ``, "sh", filepath.Join(suite.binaries, "esperctl"),
	}, args...)...)
	cmd.Env = append(slices.Clone(environ), "HOME="+folder, "TMPDIR="+folder, "PATH=/usr/bin:/bin", "TERM=xterm-256color", "LC_ALL=C.UTF-8", "SHELL=/bin/sh")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v: %s", err, said)
	}
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", s.socket, "kill-server").Run() })
	return s
}

// tmux asks the terminal for something.
func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	said, err := exec.Command("tmux", append([]string{"-S", s.socket}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %v: %v: %s", args, err, said)
	}
	return string(said)
}

func (s *screen) text() string { return s.tmux("capture-pane", "-p") }

// press has keys pressed, one after the other.
func (s *screen) press(keys ...string) { s.tmux(append([]string{"send-keys"}, keys...)...) }

// sees waits until all parts of a text are on the screen at a time.
func (s *screen) sees(parts ...string) {
	s.t.Helper()
	s.becomes(fmt.Sprintf("%q", parts), func(text string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
	})
}

func (s *screen) becomes(what string, ok func(text string) bool) {
	s.t.Helper()
	defer func() {
		if s.t.Failed() {
			s.t.Logf("the screen is\n%s", s.text())
		}
	}()
	eventually(s.t, "the screen shows "+what, patience, func() bool { return ok(s.text()) })
}

// ends waits for the end of the command, with its exit code. The shell around it writes that
// down: tmux now and then hears nothing of the end of a child.
func (s *screen) ends(code int) {
	s.t.Helper()
	got := ""
	eventually(s.t, "the command has ended", patience, func() bool {
		text, _ := os.ReadFile(s.exitCode)
		got = strings.TrimSpace(string(text))
		return got != ""
	})
	if got != strconv.Itoa(code) {
		s.t.Errorf("exit code %s, want %d:\n%s", got, code, s.text())
	}
	if s.tmux("display-message", "-p", "#{alternate_on}") != "0\n" {
		s.t.Error("the terminal is not given back")
	}
}

// pid is that of the command, the only child of the terminal's shell.
func (s *screen) pid() int {
	s.t.Helper()
	shell := strings.TrimSpace(s.tmux("display-message", "-p", "#{pane_pid}"))
	children, err := os.ReadFile(filepath.Join("/proc", shell, "task", shell, "children"))
	if err != nil {
		s.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}

// onTrack is a seed behind its first stage.
var onTrack = regexp.MustCompile(`━+[●✓✕]`)

// colour is an escape sequence that sets a colour.
var colour = regexp.MustCompile("\x1b\\[[0-9;]*3[0-7]m")

// groups are the names of all streams, groups and consumers, as esperctl lists them.
func groups(t testing.TB, environ []string) (names []string) {
	t.Helper()
	listed := run(t, t.TempDir(), environ, "esperctl", "streams", "list", "--json")
	for line := range strings.Lines(listed) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, `"name"`) {
			names = append(names, line)
		}
	}
	return names
}

// TestTopOnATerminal runs the view in a terminal, beside dev mode with a trainer, and beside
// services that go away and come back.
func TestTopOnATerminal(t *testing.T) {
	begin(t)
	passed, failed := 0, 0
	check := func(name string, run func(t *testing.T)) {
		if t.Run(name, run) {
			passed++
		} else {
			failed++
		}
	}
	topBesideDevMode(t, check)
	topBesideOutages(t, check)
	check("elsewhere it is refused", func(t *testing.T) {
		p := launch(t, t.TempDir(), nil, "esperctl", "top")
		if code, _ := p.exit(patience); code != exitConfiguration || !strings.Contains(p.stderr.String(), "esperctl status") {
			t.Errorf("exit code %d, %q", code, p.stderr.String())
		}
	})
	fmt.Printf("RESULT tui passed=%d failed=%d\n", passed, failed)
}

func topBesideDevMode(t *testing.T, check func(string, func(*testing.T))) {
	d := startDev(t, t.TempDir(), "--dev")
	environ := d.environ()
	joining := slices.DeleteFunc(d.environ(), func(pair string) bool { return strings.HasPrefix(pair, "WEATHERLIGHT_HTTP") })
	trainer := launch(t, t.TempDir(), joining, "esperctl", "demo", "--join", "--repeats", "1", "--pace", "100ms", "--json")
	top := show(t, environ, 80, 24, "top", "--interval", "200ms")
	on := func(t *testing.T) *screen { return &screen{t, top.socket, top.exitCode} }
	check("one screen has all of it", func(t *testing.T) {
		on(t).sees("weatherlight  ready", "nissa         ready", "streams", "RUN 1", "running", "STREAM", "oona.normal", "ALARM", "TIME")
	})
	check("a seed moves on its track", func(t *testing.T) { on(t).becomes("a seed on its track", onTrack.MatchString) })
	check("it follows the size of the terminal", func(t *testing.T) { followsTheSize(on(t)) })
	check("keys filter, sort and look inside", func(t *testing.T) { answersToKeys(on(t)) })
	check("there are colours, unless NO_COLOR is set", func(t *testing.T) {
		if coloured := on(t).tmux("capture-pane", "-p", "-e"); !colour.MatchString(coloured) {
			t.Errorf("no colour in %q", coloured)
		}
		without := show(t, append(slices.Clone(environ), "NO_COLOR=1"), 80, 24, "top")
		without.sees("RUN 1", "oona.normal")
		if coloured := without.tmux("capture-pane", "-p", "-e"); colour.MatchString(coloured) {
			t.Errorf("colour in %q", coloured)
		}
		without.press("q")
		without.ends(0)
	})
	check("Ctrl-C, SIGTERM and q end it, and the terminal is as it was", func(t *testing.T) {
		interrupted := show(t, environ, 80, 24, "top")
		interrupted.sees("weatherlight  ready")
		interrupted.press("C-c")
		interrupted.ends(exitStopped)
		terminated := show(t, environ, 80, 24, "top")
		terminated.sees("weatherlight  ready")
		if err := syscall.Kill(terminated.pid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		terminated.ends(exitStopped)
		on(t).press("q")
		on(t).ends(0)
	})
	check("no group and no consumer is left", func(t *testing.T) {
		trainer.signal(syscall.SIGINT) // what it reads by goes with it
		trainer.exit(patience)
		before := groups(t, environ)
		again := show(t, environ, 80, 24, "top", "--interval", "100ms")
		again.becomes("the bus", func(text string) bool {
			return strings.Contains(text, "streams") && strings.Contains(text, "oona.normal")
		})
		again.press("q")
		again.ends(0)
		for _, name := range groups(t, environ) { // one that the trainer had may go meanwhile
			if !slices.Contains(before, name) {
				t.Errorf("there were %v, and now there is %s", before, name)
			}
		}
	})
	d.end(t, syscall.SIGINT)
}

func followsTheSize(top *screen) {
	top.t.Helper()
	for _, size := range [][2]int{{120, 40}, {40, 24}, {80, 24}} {
		top.tmux("resize-window", "-x", strconv.Itoa(size[0]), "-y", strconv.Itoa(size[1]))
		top.becomes(fmt.Sprintf("%d columns", size[0]), func(text string) bool {
			lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			wide := strings.Contains(text, "TRAINER") && strings.Contains(text, "CONSUMERS")
			fits := !slices.ContainsFunc(lines, func(line string) bool { return utf8.RuneCountInString(line) > size[0] })
			return len(lines) == size[1] && fits && strings.HasPrefix(lines[len(lines)-1], "q quit") && wide == (size[0] > 40)
		})
	}
}

func answersToKeys(top *screen) {
	top.t.Helper()
	top.press("2")
	top.sees("> SEED")
	top.press("/", "n", "o", "n", "e")
	top.sees("filter seeds: none_", `has "none"`)
	top.press("Escape")
	top.sees("q quit")
	top.press("s", "s")
	top.sees("TRACK ↓")
	top.press("S")
	top.sees("TRACK ↑")
	top.press("Enter")
	top.sees("blueprint", "kernel", "esc back")
	top.press("Escape")
	top.sees("> SEED")
	top.press("3", "Enter")
	top.sees("stream ", "group ", "pending ", "lag ")
	top.press("Escape") // with a key behind it at once it would be another key
	top.sees("> STREAM")
	top.press("Tab")
	top.sees("> ALARM")
}

func topBesideOutages(t *testing.T, check func(string, func(*testing.T))) {
	h := newHands(t)
	top := show(t, h.operator, 80, 24, "top", "--interval", "200ms")
	on := func(t *testing.T) *screen { return &screen{t, top.socket, top.exitCode} }
	check("Nissa goes away and comes back", func(t *testing.T) {
		on(t).sees("nissa         ready", "weatherlight  ready", "oona.normal")
		h.page.signal(syscall.SIGTERM)
		h.page.exit(patience)
		on(t).sees("nissa         away for", "weatherlight  ready")
		h.startNissa()
		on(t).sees("nissa         ready")
	})
	check("the service goes away, and the view goes on", func(t *testing.T) {
		h.stop()
		on(t).sees("weatherlight  away for", "nissa         ready", "oona.normal")
	})
	check("the bus goes away and comes back", func(t *testing.T) {
		h.redis.Kill()
		on(t).sees("bus           away for")
		h.redis.Restart()
		on(t).becomes("the bus", func(text string) bool {
			return strings.Contains(text, "\nbus ") && !strings.Contains(text, "bus           away") && strings.Contains(text, " groups, ")
		})
	})
	check("all of that takes no key away", func(t *testing.T) {
		on(t).press("q")
		on(t).ends(0)
	})
}
