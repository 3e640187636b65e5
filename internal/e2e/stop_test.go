package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

// refusal is the first answer of /readyz that was not 200.
type refusal struct {
	said string // "" when there was none
	at   time.Time
}

// watchReadiness asks /readyz over and over until nobody listens any more.
func watchReadiness(addr string) <-chan refusal {
	first := make(chan refusal, 1)
	go func() {
		var found refusal
		for {
			code, body, err := get(addr, "/readyz")
			if err != nil {
				first <- found
				return
			}
			if code != http.StatusOK && found.said == "" {
				found = refusal{fmt.Sprintf("%d %s", code, body), time.Now()}
			}
		}
	}()
	return first
}

// watchedStops is how many stops may be over between two questions of a busy machine
// before one of them must have been seen.
const watchedStops = 5

// mustDrain checks that readiness went because of the stop, and not because of
// something that had stopped already.
func mustDrain(t testing.TB, first refusal) {
	t.Helper()
	if !strings.HasPrefix(first.said, "503") || !strings.Contains(first.said, "draining") {
		t.Errorf("the first that /readyz said to the stop is %q, want 503 and draining", first.said)
	}
}

func TestStopTurnsReadinessOffFirstAndReportsLast(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	w.ask("before", compiled, patience)
	var refused refusal
	var asked time.Time
	for stops := 0; refused.said == "" && stops < watchedStops; stops++ {
		if stops > 0 {
			w.bootForged()
		}
		readiness := watchReadiness(w.http)
		asked = time.Now()
		took(t, "SIGTERM", "signal to exit 0, idle", w.stop(), 0)
		refused = <-readiness
	}
	mustDrain(t, refused)
	took(t, "SIGTERM", "signal to /readyz 503", refused.at.Sub(asked), 0)
	last := w.lastSummary()
	if !last.at.After(asked) {
		t.Errorf("the last summary packet is of %s, the stop was asked for at %s", last.at, asked)
	}
	if running := last.value("weatherlight.worker.urza_prefetch.running"); running != 0 {
		t.Errorf("the last summary packet was made while workers still ran: urza_prefetch.running is %g", running)
	}
	w.nothingPending()
}

// nothingPending checks every stream of the group.
func (w *world) nothingPending() {
	w.t.Helper()
	for _, stream := range []string{streamNormal, streamEmergency, "oona.policy", streamRequests, streamReady, streamErrors} {
		if g := w.bus.group(stream, group); g["pending"] != "0" {
			w.t.Errorf("%s has pending entries after the stop: %v", stream, g)
		}
	}
}

func TestStopUnderLoadFinishesWhatItTook(t *testing.T) {
	begin(t)
	w := newWorld(t, redistest.AOF()...)
	w.bootForged()
	var refused refusal
	for stops := 0; refused.said == "" && stops < watchedStops; stops++ {
		refused = w.stopUnderLoad(stops)
	}
	mustDrain(t, refused)
}

// stopUnderLoad stops the service while requests come, boots it again, and returns how
// it refused.
func (w *world) stopUnderLoad(round int) (first refusal) {
	t := w.t
	t.Helper()
	before := w.bus.length(streamReady)
	load := startLoad(w, "load", round)
	eventually(t, "the load is being answered", patience, func() bool { return w.bus.length(streamReady) > before+500 })
	readiness := watchReadiness(w.http)
	asked := time.Now()
	took(t, "SIGTERM", "signal to exit 0, under load", w.stop(), stopBound)
	sent := load.end(t)
	first = <-readiness
	w.nothingPending()
	taken := w.bus.group(streamRequests, group)["last-delivered-id"]
	took(t, "SIGTERM", "signal to the last request that was sent and still taken", storedAt(taken).Sub(asked), 0)
	ids := make([]string, 0, len(sent))
	answers := w.answers()
	late := 0
	for _, one := range sent {
		ids = append(ids, one.request)
		switch n := len(answers[one.request]); {
		case compareEntryIDs(one.entry, taken) <= 0 && n != 1:
			t.Errorf("request %s was taken and answered %d times", one.request, n)
		case compareEntryIDs(one.entry, taken) > 0 && n != 0:
			t.Errorf("request %s was not taken and answered %d times", one.request, n)
		case n == 0:
			late++
		}
	}
	w.boot()
	w.settled(streamRequests, patience)
	lost, duplicated := w.mustBeAnsweredOnce(ids)
	t.Logf("%d requests, %d of them answered after the restart, lost %d, duplicated %d", len(sent), late, lost, duplicated)
	return first
}

// sentRequest is a request and the entry that carries it.
type sentRequest struct{ request, entry string }

// load sends requests until it is told to end.
type load struct {
	name   string
	done   chan struct{}
	result chan error
	sent   []sentRequest
}

// startLoad sends 4,000 requests a second, at most 3,000: the stream of
// answers keeps 10,000 entries.
func startLoad(w *world, name string, round int) *load {
	l := &load{name: fmt.Sprintf("%s-%d", name, round), done: make(chan struct{}), result: make(chan error, 1)}
	sender := newRedisClient(w.t, w.redis.Addr)
	go func() { l.result <- l.run(sender) }()
	return l
}

func (l *load) run(sender *redisClient) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for number := 0; ; number++ {
		select {
		case <-l.done:
			return nil
		case <-tick.C:
		}
		if number == 150 {
			<-l.done
			return nil
		}
		ids, commands := burstOf(fmt.Sprintf("%s-%d", l.name, number), 20)
		replies, err := sender.pipeline(commands)
		if err != nil {
			return err
		}
		for i, id := range ids {
			l.sent = append(l.sent, sentRequest{request: id, entry: replies[i].(string)})
		}
	}
}

func (l *load) end(t testing.TB) []sentRequest {
	t.Helper()
	close(l.done)
	if err := <-l.result; err != nil {
		t.Fatalf("load: %v", err)
	}
	return l.sent
}

// storedAt is when Redis took an entry in.
func storedAt(entryID string) time.Time {
	var ms int64
	_, _ = fmt.Sscanf(entryID, "%d-", &ms)
	return time.UnixMilli(ms)
}

// compareEntryIDs orders stream entry ids.
func compareEntryIDs(a, b string) int {
	var left, right [2]uint64
	_, _ = fmt.Sscanf(a, "%d-%d", &left[0], &left[1])
	_, _ = fmt.Sscanf(b, "%d-%d", &right[0], &right[1])
	return slices.Compare(left[:], right[:])
}

// TestSecondSignalLeavesAtOnce keeps the drain busy with a Redis that is frozen.
func TestSecondSignalLeavesAtOnce(t *testing.T) {
	begin(t)
	w := newWorld(t, redistest.AOF()...)
	w.bootForged()
	t.Cleanup(w.redis.Thaw)
	ids, commands := burstOf("second", 300)
	if _, err := w.bus.pipeline(commands); err != nil {
		t.Fatal(err)
	}
	w.redis.Freeze()
	w.process.signal(syscall.SIGTERM)
	eventually(t, "the first signal is heard", patience, func() bool {
		_, body := w.get("/readyz")
		return strings.Contains(body, "draining")
	})
	first := time.Now()
	// A repeated signal within 300 ms is the first one heard twice.
	eventually(t, "the first signal is 400 ms old", patience, func() bool { return time.Since(first) > 400*time.Millisecond })
	if !w.process.running() {
		t.Fatal("the drain was over before the second signal")
	}
	w.process.signal(syscall.SIGTERM)
	code, left := w.process.exit(stopBound)
	if code != 1 {
		t.Errorf("after the second signal: exit code %d after %s, want 1", code, left)
	}
	took(t, "double SIGTERM", "second signal to exit 1", left, 2*time.Second)
	w.redis.Thaw()
	w.boot()
	w.settled(streamRequests, patience)
	w.mustBeAnsweredOnce(ids)
}

// TestStopWithoutRedisIsBounded: the last packet cannot be sent, and that is
// said.
func TestStopWithoutRedisIsBounded(t *testing.T) {
	begin(t)
	w := newWorld(t, redistest.AOF()...)
	w.bootForged()
	w.redis.Kill()
	t.Cleanup(w.redis.Restart) // its own end is part of the test's end
	eventually(t, "/readyz says 503 without Redis", patience, func() bool {
		code, _ := w.get("/readyz")
		return code == http.StatusServiceUnavailable
	})
	w.process.signal(syscall.SIGTERM)
	code, took := w.process.exit(stopBound)
	t.Logf("exit code %d after %s", code, took)
	if code == 0 {
		return
	}
	if lines := strings.Count(reportLines(w.process.stderr.String()), "\n"); code != 1 || lines == 0 {
		t.Errorf("exit code %d with %d lines that say why", code, lines)
	}
}

// reportLines are the lines that a command wrote about its own end.
func reportLines(stderr string) (report string) {
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, "esper") {
			report += line
		}
	}
	return report
}
