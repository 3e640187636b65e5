package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// growth bounds the life of a seed, from the first report to the last stage. It
// takes about thirty reports, twenty a second.
const growth = 50 * time.Second

// typeEmergency is the type of an EmergencySignal on the bus.
const typeEmergency = 10

// TestPythonTrainerHoldsToTheVectors: the peer of another language agrees with
// every golden vector.
func TestPythonTrainerHoldsToTheVectors(t *testing.T) {
	begin(t)
	p := &trainerProcess{startPeer(t, "--vectors", filepath.Join("..", "..", "testdata", "trainer")), ""}
	if code, _ := p.exit(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	results := p.all("vectors")
	if len(results) != 1 || results[0].Failures != 0 || results[0].Checked < 100 {
		t.Errorf("results are %+v", results)
	}
	for _, difference := range p.all("differs") {
		t.Errorf("differs: %+v", difference)
	}
}

// TestPythonTrainerGrowsItsNetwork: a peer that shares no code brings a seed to
// its last stage through a running service (R11).
func TestPythonTrainerGrowsItsNetwork(t *testing.T) {
	t.Parallel()
	for name, access := range map[string]string{"kernels by path": "path", "kernels by HTTP": "http"} {
		t.Run(name, func(t *testing.T) {
			begin(t)
			w := newWorld(t)
			w.bootForged()
			began := time.Now()
			p := w.trainer("grow-1", "--access", access, "--kernel-origin", "http://"+w.http)
			seed := p.await(growth, fossilized)
			t.Logf("first report to FOSSILIZED: %s", time.Since(began))
			p.awaitReports(3)
			p.mustBeLegal()
			if fetched := p.all("fetched_by_http"); len(fetched) > 0 != (access == "http") {
				t.Errorf("fetched by HTTP: %+v", fetched)
			}
			mustBeRecorded(t, w, "grow-1", seed, "FOSSILIZED")
			w.mustHaveNoDeadLetters()
			p.end()
			w.stop()
		})
	}
}

// mustBeRecorded waits until the service's record of the run tells of a seed.
func mustBeRecorded(t *testing.T, w *world, run, seed, stage string) {
	t.Helper()
	eventually(t, "the record of "+run+" says that "+seed+" is "+stage, patience, func() bool {
		code, body := w.record(run)
		return code == http.StatusOK && json.Valid([]byte(body)) && strings.Contains(body, seed) && strings.Contains(body, stage)
	})
	code, body := w.get("/runs")
	var list struct{ Runs []string }
	if err := json.Unmarshal([]byte(body), &list); err != nil || code != http.StatusOK || !slices.Contains(list.Runs, run) {
		t.Errorf("/runs is %d %s, %v", code, body, err)
	}
}

// TestBadSeedIsDropped: a blueprint that harms the model is not kept.
func TestBadSeedIsDropped(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	p := w.trainer("bad-1", "--good", "none")
	var seed string
	eventually(t, "a seed was attached and dropped again", growth, func() bool {
		p.mustRun()
		dropped := p.all("dropped")
		if len(dropped) > 0 {
			seed = dropped[0].Seed
		}
		return seed != ""
	})
	p.awaitReports(2)
	p.mustBeLegal()
	if _, there := p.report().Seeds[seed]; there {
		t.Errorf("%s is still there", seed)
	}
	w.mustHaveNoDeadLetters()
	p.end()
	w.stop()
}

// reportsWatched is how many reports a trainer sends that does nothing else.
const reportsWatched = 60

// TestTrainerThatOnlyReportsIsWatched: all that it reports is handled, and it is
// sent nothing.
func TestTrainerThatOnlyReportsIsWatched(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	p := w.trainer("watched-1", "--only-reports", "--reports", strconv.Itoa(reportsWatched), "--interval", "0.02")
	if code, _ := p.exit(patience); code != 0 {
		t.Fatalf("the trainer ended with exit code %d", code)
	}
	if n := w.bus.length(streamNormal); n != reportsWatched {
		t.Fatalf("%d reports are on the bus", n)
	}
	w.settled(streamNormal, patience)
	w.stop() // whatever was on its way is out now
	if commands := w.commands(streamNormal); len(commands) != 0 {
		t.Errorf("%d commands", len(commands))
	}
	if n := w.bus.length("oona.run.watched-1"); n != 0 {
		t.Errorf("%d orders", n)
	}
	if n := w.bus.length(streamEmergency); n != 0 {
		t.Errorf("%d entries on the emergency stream", n)
	}
	w.mustHaveNoDeadLetters()
	noted := 0
	for _, event := range w.told() {
		if event.description == "trainer_watched" && event.tells("watched-1") {
			noted++
		}
	}
	if noted != 1 {
		t.Errorf("%d events say that it only reports", noted)
	}
}

// TestSecondLiveTrainerOfARunIsRefused by its name, and the first goes on.
func TestSecondLiveTrainerOfARunIsRefused(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	first := w.trainer("twice-1")
	first.await(growth, training, blending)
	second := w.trainer("twice-1")
	second.awaitReports(5)
	eventually(t, "an event names the second trainer", patience, func() bool {
		return slices.ContainsFunc(w.told(), func(e event) bool {
			return e.description == "trainer_refused" && e.tells(second.id(), first.id())
		})
	})
	first.await(growth, fossilized)
	first.mustBeLegal()
	if orders := second.all("order"); len(orders) != 0 {
		t.Errorf("the second trainer was given orders: %+v", orders)
	}
	for _, refused := range second.all("refused") {
		if refused.Why != "other_trainer" {
			t.Errorf("the second trainer refused %+v", refused)
		}
	}
	w.mustHaveNoDeadLetters()
	w.stop()
}

// TestEmergencyHaltsTheRunThatItNames, and no other.
func TestEmergencyHaltsTheRunThatItNames(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	halted, other := w.trainer("halted-1"), w.trainer("other-1")
	halted.await(growth, training, blending)
	signal := stringField(varintField(varintField(nil, 1, 1), 2, 4), 3, "smoke") // version, level, reason
	signal = stringField(stringField(signal, 4, "operator"), 7, "halted-1")      // origin, run
	raw := envelope(typeEmergency, signal)
	w.bus.do("XADD", streamEmergency, "*", "payload", string(raw), "signature", sign(secret, raw))
	eventually(t, "the trainer was told to stop", patience, func() bool { return halted.report().Halted })
	other.await(growth, fossilized)
	if other.report().Halted {
		t.Error("the other run was halted too")
	}
	halted.mustBeLegal()
	other.mustBeLegal()
	w.mustHaveNoDeadLetters()
	w.stop()
}

// TestTrainerUnderItsOwnRedisUser: the access list of docs/trainers.md is enough
// for a trainer, and too little to give orders.
func TestTrainerUnderItsOwnRedisUser(t *testing.T) {
	begin(t)
	w := newWorld(t)
	for name, page := range map[string]string{"trainer": "trainers.md", "service": "delivery.md"} {
		w.bus.do(append([]string{"ACL", "SETUSER", name}, documentedUser(t, name, page)...)...)
	}
	w.environ = append(w.environ, "REDIS_URL=redis://service:hunter2@"+w.redis.Addr+"/0")
	w.bootForged()
	w.bus.do("ACL", "LOG", "RESET")
	t.Cleanup(func() { mustHaveRefusedNothing(w) })
	p := w.trainer("restricted-1", "--user", "trainer", "--password", "hunter2")
	p.await(growth, fossilized)
	p.mustBeLegal()
	mustHaveRefusedNothing(w)
	restricted := newRedisClient(t, w.redis.Addr)
	restricted.do("AUTH", "trainer", "hunter2")
	for _, command := range [][]string{
		{"XADD", "oona.run.restricted-1", "*", "payload", "x"},
		{"XADD", streamRequests, "*", "payload", "x"},
		{"XREAD", "STREAMS", streamNormal, "0-0"},
		{"XTRIM", streamNormal, "MAXLEN", "0"},
		{"DEL", "oona.run.restricted-1"},
		{"GET", "weatherlight:kasmina:{oona.run.restricted-1}"},
		{"FLUSHALL"},
	} {
		if _, err := restricted.pipeline([][]string{command}); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%v: %v", command, err)
		}
	}
	w.bus.do("ACL", "LOG", "RESET") // those were meant to be
	p.end()
	w.stop()
}

// mustHaveRefusedNothing fails when the access list kept somebody from something.
func mustHaveRefusedNothing(w *world) {
	w.t.Helper()
	log, _ := w.bus.do("ACL", "LOG").([]any)
	for _, refused := range log {
		if entry := pairsOf(refused); entry["client-info"] != "" {
			w.t.Errorf("the access list refused %s %s %s %s", entry["username"], entry["reason"], entry["context"], entry["object"])
		}
	}
	w.bus.do("ACL", "LOG", "RESET")
}

// documentedUser are the rules of a Redis user as a page of docs gives them, with
// a password of ours.
func documentedUser(t *testing.T, name, in string) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", in))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "\nuser "+name+" ")
	rules, _, _ := strings.Cut(rest, "\n")
	if !found {
		t.Fatalf("docs/%s has no user %s", in, name)
	}
	return strings.Fields(strings.ReplaceAll(rules, ">SECRET", ">hunter2"))
}
