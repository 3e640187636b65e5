package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

// takeoverBound is how long nobody may lead after the leader was killed.
const takeoverBound = 5 * time.Second

// pair boots two instances on one Redis, each with its own folder and library.
func pair(t *testing.T) (first, second *world) {
	t.Helper()
	first = newWorld(t, redistest.AOF()...)
	first.bootForged()
	second = first.second()
	second.bootForged()
	return first, second
}

func (w *world) leads() bool { return w.metric("weatherlight_leader") == 1 }

func TestTwoInstancesShareTheWorkAndAnswerOnce(t *testing.T) {
	begin(t)
	first, second := pair(t)
	ids, commands := burstOf("shared", 2000)
	sent := time.Now()
	if _, err := first.bus.pipeline(commands); err != nil {
		t.Fatal(err)
	}
	first.settled(streamRequests, patience)
	took(t, "second instance", "2000 requests to two instances have answered all", time.Since(sent), 0)
	lost, duplicated := first.mustBeAnsweredOnce(ids)
	hits := []float64{first.metric("urza_prefetch_hits"), second.metric("urza_prefetch_hits")}
	t.Logf("%d requests, lost %d, duplicated %d, hits %v", len(ids), lost, duplicated, hits)
	if hits[0] <= 0 || hits[1] <= 0 {
		t.Errorf("the instances answered %v of the requests: one of them did all the work", hits)
	}
	if n := first.bus.length(streamDeadLetter); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	for _, w := range []*world{first, second} {
		// Who was there first hears of the other with its next beat.
		eventually(t, "each instance counts both", patience, func() bool { return w.metric("weatherlight_instances") == 2 })
	}
	if first.leads() == second.leads() {
		t.Errorf("leaders: first %v, second %v", first.leads(), second.leads())
	}
	first.stop()
	second.stop()
}

func TestKilledLeaderIsReplaced(t *testing.T) {
	begin(t)
	leader, other := pair(t)
	if !leader.leads() || other.leads() {
		t.Fatal("the first instance does not lead")
	}
	token := leader.metric("weatherlight_leader_token")
	leader.process.kill()
	killed := time.Now()
	eventually(t, "the other instance leads", takeoverBound, other.leads)
	took(t, "leader killed", "kill -9 to another one leads", time.Since(killed), takeoverBound)
	if now := other.metric("weatherlight_leader_token"); now <= token {
		t.Errorf("the new leader's token is %g, the old one's was %g", now, token)
	}
	leader.boot()
	if leader.leads() || !other.leads() {
		t.Error("the old leader took the lead back")
	}
	other.stop()
	stopped := time.Now()
	eventually(t, "the lead that was given up is taken", takeoverBound, leader.leads)
	took(t, "leader killed", "leader has stopped to another one leads", time.Since(stopped), takeoverBound)
	leader.stop()
}

// TestFrozenLeaderIsReplacedAndStepsBack: a leader that wakes up must not go on
// as if nothing had happened.
func TestFrozenLeaderIsReplacedAndStepsBack(t *testing.T) {
	begin(t)
	leader, other := pair(t)
	leader.process.signal(syscall.SIGSTOP)
	eventually(t, "the other instance leads", takeoverBound, other.leads)
	leader.process.signal(syscall.SIGCONT)
	eventually(t, "the old leader knows", takeoverBound, func() bool { return !leader.leads() })
	if !other.leads() {
		t.Error("the new leader lost the lead to the old one")
	}
	leader.stop()
	other.stop()
}

// TestTwoInstancesOfOneNameAreRefused: they would take each other's messages.
func TestTwoInstancesOfOneNameAreRefused(t *testing.T) {
	begin(t)
	first := newWorld(t)
	first.boot()
	second := first.second()
	second.environ = first.environ
	p := launch(t, second.folder, second.environ, service)
	code, refused := p.exit(patience)
	took(t, "second instance", "launch under a name in use to exit 3", refused, 0)
	if code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	line, _, _ := strings.Cut(reportLines(p.stderr.String()), "\n")
	mustSay(t, "the first line", line, "WEATHERLIGHT_INSTANCE", "e2e")
	// The one that was there is not disturbed, and starts again at once.
	first.ask("still there", missing, patience)
	first.process.kill()
	first.boot()
	if !first.leads() {
		t.Error("an instance that starts again waits for its own lease")
	}
	first.stop()
}
