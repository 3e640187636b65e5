package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

const roll = "oona:members:" + group

// says waits until alarm, /readyz and /status tell of a trouble alike.
func (w *world) says(alarm string, within time.Duration) {
	w.t.Helper()
	eventually(w.t, "alarm, /readyz and /status tell of "+alarm, within, func() bool {
		code, ready := w.get("/readyz")
		_, body := w.get("/status")
		var status struct {
			State  string
			Alarms []struct{ Alarm string }
		}
		if err := json.Unmarshal([]byte(body), &status); err != nil {
			w.t.Fatal(err)
		}
		told := slices.ContainsFunc(status.Alarms, func(a struct{ Alarm string }) bool { return a.Alarm == alarm })
		return told && code == http.StatusServiceUnavailable && strings.Contains(ready, alarm) && status.State == "not_ready"
	})
}

func (w *world) readyAgain(within time.Duration) {
	w.t.Helper()
	eventually(w.t, "/readyz says 200 again", within, func() bool {
		code, _ := w.get("/readyz")
		return code == http.StatusOK
	})
}

// TestR32NobodyCanLeadAndEverybodySaysSo: the roll of the instances is of another type.
func TestR32NobodyCanLeadAndEverybodySaysSo(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.boot()
	w.bus.do("DEL", roll)
	w.bus.do("SET", roll, "something else")
	broken := time.Now()
	w.says("lease_lost", patience)
	took(t, "place lost", "the roll is of another type to /readyz 503 and the alarm", time.Since(broken), 0)
	if _, body := w.get("/status"); !strings.Contains(body, `"leader": ""`) || !strings.Contains(body, "WRONGTYPE") {
		t.Errorf("/status names a leader, or no cause: %s", tail(body))
	}
	w.bus.do("DEL", roll)
	w.readyAgain(patience)
	if got := w.ask("after", missing, patience); got.kind != typeError {
		t.Errorf("the answer after it is %+v", got)
	}
	w.stop()
}

// TestR32InstanceWhoseNameWasTakenTouchesNothing: it was stopped for longer than its
// lease, and comes back to find its name in use.
func TestR32InstanceWhoseNameWasTakenTouchesNothing(t *testing.T) {
	begin(t)
	first := newWorld(t)
	first.bootForged()
	first.process.signal(syscall.SIGSTOP)
	second := first.second()
	second.environ = slices.Clip(first.environ)
	second.boot()
	// What a reader that waits is given while it is stopped is not its to answer.
	ids, commands := burstOf("zombie", 300)
	if _, err := second.bus.pipeline(commands); err != nil {
		t.Fatal(err)
	}
	first.process.signal(syscall.SIGCONT)
	woken := time.Now()
	code, _ := first.process.exit(patience)
	took(t, "place lost", "a stopped instance whose name was taken wakes to its end", time.Since(woken), 0)
	if code == 0 {
		t.Error("it ended as if nothing had happened")
	}
	told := first.process.stderr.String()
	if !strings.Contains(told, `"level":"ERROR"`) || !strings.Contains(told, "taken this one's name") {
		t.Errorf("it does not say why at ERROR: %s", tail(told))
	}
	second.settled(streamRequests, patience)
	second.mustBeAnsweredOnce(ids)
	for _, stream := range []string{streamReady, streamErrors, streamNormal, streamRequests, streamEmergency} {
		if second.bus.group(stream, group) == nil {
			t.Errorf("the group of %s is gone", stream)
		}
	}
	if code, body := second.get("/readyz"); code != http.StatusOK || !second.leads() {
		t.Errorf("the one that took the name: leads %v, %s", second.leads(), body)
	}
	second.stop()
}

// TestR32ClockIsSetAndTheLeaderReplaced: leases end in time, whatever the clock of the
// bus is set to.
func TestR32ClockIsSetAndTheLeaderReplaced(t *testing.T) {
	begin(t)
	clock := redistest.NewClock(t)
	leader := newWorldAt(t, clock)
	leader.boot()
	other := leader.second()
	other.boot()
	clock.Set(10 * time.Minute)
	eventually(t, "one leads after the clock was set forward", patience, func() bool { return leader.leads() != other.leads() })
	clock.Set(0)
	eventually(t, "one leads after the clock was set back", patience, func() bool { return leader.leads() != other.leads() })
	if other.leads() {
		leader, other = other, leader
	}
	leader.process.kill()
	killed := time.Now()
	eventually(t, "the other leads", patience, other.leads)
	took(t, "Redis's clock is moved", "forward and back, kill -9 to another one leads", time.Since(killed), 2*takeoverBound)
	other.stop()
}

// TestR36InstanceWithAnotherSecret neither joins nor, when its secret changes while it
// runs, takes part any longer; and it is the one that is told.
func TestR36InstanceWithAnotherSecret(t *testing.T) {
	begin(t)
	first := newWorld(t)
	first.bootForged()
	stranger := first.second()
	stranger.environ = append(stranger.environ, "ESPER_LEYLINE_SECRET=another-secret-9876543210")
	p := launch(t, stranger.folder, stranger.environ, service)
	if code, _ := p.exit(patience); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	line, _, _ := strings.Cut(reportLines(p.stderr.String()), "\n")
	mustSay(t, "the first line", line, "ESPER_LEYLINE_SECRET", "e2e")
	mustNotSay(t, "it", p.stderr.String(), "another-secret-9876543210")

	second := first.second()
	file := filepath.Join(second.folder, "secret")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secret + "\n")
	second.environ = append(slices.DeleteFunc(second.environ, func(v string) bool {
		return strings.HasPrefix(v, "ESPER_LEYLINE_SECRET=")
	}), "ESPER_LEYLINE_SECRET_FILE="+file)
	second.bootForged()
	rotate := func(text string) {
		rotated := func() (n int) { return strings.Count(second.process.stderr.String(), "secrets rotated") }
		before := rotated()
		write(text)
		second.process.signal(syscall.SIGHUP)
		eventually(t, "the secrets are taken over", patience, func() bool { return rotated() > before })
	}
	rotate(secret + "\nanother-secret-9876543210\n")
	changed := time.Now()
	rotate("another-secret-9876543210\n")
	second.says("foreign_secret", patience)
	took(t, "place lost", "an instance goes over to another secret to /readyz 503 and the alarm", time.Since(changed), 0)
	ids, commands := burstOf("stranger", 400)
	if _, err := first.bus.pipeline(commands); err != nil {
		t.Fatal(err)
	}
	first.settled(streamRequests, patience)
	first.mustBeAnsweredOnce(ids)
	if n := first.bus.length(streamDeadLetter); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	if code, body := first.get("/readyz"); code != http.StatusOK || first.alarmed("foreign_secret") || !first.leads() {
		t.Errorf("the one with the right secret: leads %v, %s", first.leads(), body)
	}
	rotate(secret + "\nanother-secret-9876543210\n")
	second.readyAgain(patience)
	if second.leads() {
		t.Error("it took the lead")
	}
	second.stop()
	first.stop()
}
