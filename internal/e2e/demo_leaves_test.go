package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	ossignal "os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

// TestDemoLeavesABusThatItWasNotToldToJoinAlone: whoever has REDIS_URL set beside a bus in
// production had the demo's service, seeds and kernels there.
func TestDemoLeavesABusThatItWasNotToldToJoinAlone(t *testing.T) {
	begin(t)
	server := redistest.Start(t)
	folder := t.TempDir()
	p := launch(t, folder, []string{"REDIS_URL=" + server.URL}, "esperctl", "demo")
	eventually(t, "the demo trains", patience, func() bool { return strings.Contains(p.stdout.String(), "epoch") })
	if keys := newRedisClient(t, server.Addr).do("DBSIZE"); keys != int64(0) {
		t.Errorf("the demo has %v keys on a bus that it was not told to join", keys)
	}
	mustSay(t, "the demo", p.stdout.String(), "--join")
	p.signal(syscall.SIGINT)
	p.exit(stopBound)
	for name, environ := range map[string][]string{"none": nil, "malformed": {"REDIS_URL=gopher://x"}} {
		p := launch(t, t.TempDir(), environ, "esperctl", "demo", "--join")
		if code, _ := p.exit(stopBound); code != exitConfiguration {
			t.Errorf("--join with a REDIS_URL that is %s: exit code %d", name, code)
		}
		mustSay(t, "--join", p.stderr.String(), "REDIS_URL")
	}
}

// TestR23DemoBesideAServiceWithTheSameExports: it failed with "instance name in use" beside the
// very service that README has one start, or joined its bus unasked; a curve that could not be
// written lost the result at the end.
func TestR23DemoBesideAServiceWithTheSameExports(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.boot()
	for name, flags := range map[string][]string{"alone": nil, "joined": {"--join"}} {
		folder := t.TempDir()
		printed := run(t, folder, w.environ, "esperctl", append([]string{"demo", "--repeats", "1", "--json"}, flags...)...)
		if !json.Valid([]byte(printed)) {
			t.Errorf("%s: prints %s", name, tail(printed))
		}
		mustLeaveNothing(t, name, w.redis, filepath.Join(folder, "tmp"))
	}
	p := launch(t, t.TempDir(), w.environ, "esperctl", "demo", "--curve", "none/curve.svg")
	if code, _ := p.exit(patience); code == 0 || p.stdout.String() != "" {
		t.Errorf("a curve that cannot be written: exit code %d after %s", code, tail(p.stdout.String()))
	}
	mustSay(t, "a curve that cannot be written", p.stderr.String(), "--curve")
	w.stop()
}

// TestDemoThatJoinedLeavesNoGroupBehind ends one by its end, one by Ctrl-C and one by
// a reader that goes away.
func TestDemoThatJoinedLeavesNoGroupBehind(t *testing.T) {
	begin(t)
	server := redistest.Start(t)
	environ := []string{"REDIS_URL=" + server.URL, "ESPER_LEYLINE_SECRET=" + secret}
	flags := []string{"demo", "--join", "--repeats", "1"}
	for name, end := range map[string]func(*process) int{
		"its end": func(*process) int { return 0 },
		"Ctrl-C": func(p *process) int {
			eventually(t, "the demo trains", patience, func() bool { return strings.Contains(p.stdout.String(), "epoch") })
			p.signal(syscall.SIGINT)
			return exitStopped
		},
	} {
		folder := t.TempDir()
		p := launch(t, folder, environ, "esperctl", flags...)
		want := end(p)
		if code, _ := p.exit(patience); code != want {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, want, tail(p.stderr.String()))
		}
		mustLeaveNothing(t, name, server, filepath.Join(folder, "tmp"))
	}
	folder := t.TempDir()
	p := launchUnread(t, folder, environ, "esperctl", flags...)
	if code, _ := p.exit(patience); code != 1 {
		t.Errorf("nobody reads: exit code %d", code)
	}
	mustSay(t, "the demo", p.stderr.String(), "broken pipe")
	mustLeaveNothing(t, "a closed pipe", server, filepath.Join(folder, "tmp"))
}

// launchUnread starts a command whose output nobody reads.
func launchUnread(t *testing.T, folder string, environ []string, command string, args ...string) *process {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	scratch := filepath.Join(folder, "tmp")
	if err := os.Mkdir(scratch, 0o755); err != nil {
		t.Fatal(err)
	}
	// A shell hands the pipe on: the test would collect what is written.
	shell := exec.Command("/bin/sh", "-c", `exec "$0" "$@" >&3`, filepath.Join(suite.binaries, command))
	shell.Args = append(shell.Args, args...)
	shell.Dir, shell.Env = folder, append([]string{"HOME=" + folder, "TMPDIR=" + scratch}, environ...)
	shell.ExtraFiles = []*os.File{writer}
	return start(t, shell, command+" unread")
}

// mustLeaveNothing looks for groups, consumers and files of a demo that is over.
func mustLeaveNothing(t *testing.T, how string, server *redistest.Server, scratch string) {
	t.Helper()
	mustBeEmpty(t, scratch)
	bus := newRedisClient(t, server.Addr)
	keys, _ := bus.do("KEYS", "*").([]any)
	for _, key := range keys {
		name := fmt.Sprint(key)
		if bus.do("TYPE", name) != "stream" {
			continue
		}
		groups, _ := bus.do("XINFO", "GROUPS", name).([]any)
		for _, group := range groups {
			if text := fmt.Sprint(group); strings.Contains(text, "demo-") {
				t.Errorf("after %s %s has a group: %s", how, name, text)
			}
		}
		if len(groups) == 0 {
			continue
		}
		if text := fmt.Sprint(bus.do("XINFO", "CONSUMERS", name, group)); strings.Contains(text, "demo-") {
			t.Errorf("after %s %s has a consumer: %s", how, name, text)
		}
	}
}

// TestDemoThatIsWatchedShowsAlerts: the page of a demo has all that Nissa's page has.
func TestDemoThatIsWatchedShowsAlerts(t *testing.T) {
	begin(t)
	p := launch(t, t.TempDir(), nil, "esperctl", "demo", "--watch", "--repeats", "1", "--pace", "0")
	page := regexp.MustCompile(`page +http://(\S+)/`)
	eventually(t, "the page is there", patience, func() bool { return page.MatchString(p.stdout.String()) })
	addr := page.FindStringSubmatch(p.stdout.String())[1]
	for path, want := range map[string]string{"/api/alerts": `"alerts":`, "/api/objectives": "bus_messages"} {
		if code, body, err := get(addr, path); err != nil || code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, %v", path, code, tail(body), err)
		}
	}
	eventually(t, "the demo has grown", patience, func() bool { return strings.Contains(p.stdout.String(), "stays until Ctrl-C") })
	p.signal(syscall.SIGINT)
	p.exit(stopBound)
}

// TestInterruptedDemoCleansUp presses Ctrl-C in the middle.
func TestInterruptedDemoCleansUp(t *testing.T) {
	begin(t)
	// Under nohup a test hands down that it ignores SIGHUP, unless it takes the signal itself.
	taken := make(chan os.Signal, 1)
	ossignal.Notify(taken, syscall.SIGHUP)
	defer ossignal.Stop(taken)
	for _, sign := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} { // the terminal is closed
		folder := t.TempDir()
		p := launch(t, folder, nil, "esperctl", "demo")
		eventually(t, "the demo trains", patience, func() bool { return strings.Contains(p.stdout.String(), "epoch") })
		p.signal(sign)
		if code, _ := p.exit(stopBound); code != exitStopped {
			t.Errorf("a demo ended by %s ends with exit code %d", sign, code)
		}
		if said := p.stderr.String(); said != "esperctl: stopped\n" {
			t.Errorf("it says %q", said)
		}
		mustBeEmpty(t, filepath.Join(folder, "tmp"))
	}
}
