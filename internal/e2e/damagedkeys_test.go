package e2e

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

const dueIndex = "weatherlight:kasmina:due"

// knows says whether a run is known.
func (w *world) knows(run string) bool {
	w.t.Helper()
	code, _ := w.get("/runs/" + run)
	return code == http.StatusOK
}

// Every report was given up after 4 s while another key lay in place of the due index, and
// /readyz said 200.
func TestReportsWaitWhileTheDueIndexIsDamaged(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.environ = append(w.environ, "TEZZERET_FORGE_ON_START=false")
	w.boot()
	w.bus.do("SET", dueIndex, "something else")
	damaged := time.Now()
	var runs []string
	for time.Since(damaged) < 8*time.Second {
		runs = append(runs, "run-"+strconv.Itoa(len(runs)))
		w.bus.do(reportCommand(runs[len(runs)-1])...)
		if len(runs) == 4 {
			w.mustTell("work_paused", dueIndex)
		}
		<-time.After(200 * time.Millisecond)
	}
	w.bus.do("DEL", dueIndex)
	for _, run := range runs {
		eventually(t, run+" is known", patience, func() bool { return w.knows(run) })
	}
	w.mustHaveNoDeadLetters()
	w.ready()
	w.stop()
}

// One run's key cost an emergency for all runs its attempts.
func TestEmergencyReachesAllButTheDamagedRun(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.environ = append(w.environ, "TEZZERET_FORGE_ON_START=false", "WEATHERLIGHT_HOUSEKEEPING_INTERVAL=1s")
	w.boot()
	runs := []string{"good-1", "no-record", "no-stream", "good-2"}
	for _, run := range runs {
		w.bus.do(reportCommand(run)...)
		eventually(t, run+" is known", patience, func() bool { return w.knows(run) })
	}
	w.bus.do("SET", "weatherlight:kasmina:{oona.run.no-record}", "something else")
	w.bus.do("SET", "oona.run.no-stream", "something else")
	signal := stringField(varintField(varintField(nil, 1, 1), 2, 4), 3, "smoke") // version, level, reason
	raw := envelope(typeEmergency, stringField(signal, 4, "operator"))
	w.bus.do("XADD", streamEmergency, "*", "payload", string(raw), "signature", sign(secret, raw))
	for _, run := range []string{"good-1", "good-2"} {
		eventually(t, run+" is halted", patience, func() bool {
			_, body := w.get("/runs/" + run)
			return strings.Contains(body, "smoke")
		})
	}
	for _, key := range []string{"weatherlight:kasmina:{oona.run.no-record}", "oona.run.no-stream"} {
		eventually(t, "the alarm names "+key, patience, func() bool { return strings.Contains(w.alarms()["run_damaged"], key) })
	}
	w.settled(streamEmergency, patience)
	w.mustHaveNoDeadLetters()
	const job = `{task="capability_fanout"}`
	before := w.metric("weatherlight_housekeeping_runs_total" + job)
	eventually(t, "two more rounds of housekeeping", patience, func() bool {
		return w.metric("weatherlight_housekeeping_runs_total"+job) >= before+2
	})
	if failed := w.metric("weatherlight_housekeeping_failures_total" + job); failed != 0 {
		t.Errorf("capability_fanout failed %v times", failed)
	}
	if told := w.alarms(); told["housekeeping_failing"] != "" || told["worker_failing"] != "" {
		t.Errorf("one run fails what is for all: %v", told)
	}
	w.stop()
}
