package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

const (
	healBound     = 5 * time.Second // after Redis is back
	recreateBound = 2 * time.Second // after the groups were lost
	idleLook      = 3 * time.Second // between two looks of a reader that waits for nothing
)

func TestServiceOutlivesARestartOfRedis(t *testing.T) {
	begin(t)
	w := newWorld(t, redistest.AOF()...)
	w.bootForged()
	w.ask("before", compiled, patience)
	w.redis.Kill()
	killed := time.Now()
	w.bus.close()
	eventually(t, "/readyz says 503 without Redis", patience, func() bool {
		code, _ := w.get("/readyz")
		return code == http.StatusServiceUnavailable
	})
	took(t, "Redis stopped and started", "Redis is killed to /readyz 503", time.Since(killed), 0)
	down := time.Now()
	eventually(t, "Redis has been down for 3 s", patience, func() bool { return time.Since(down) > 3*time.Second })
	if code, _ := w.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz is %d without Redis: the process would be restarted for nothing", code)
	}
	w.redis.Restart()
	restarted := time.Now()
	if got := w.ask("after", compiled, healBound); got.kind != typeReady {
		t.Errorf("the answer after the outage is %+v", got)
	}
	took(t, "Redis stopped and started", "Redis answers to a request is answered", time.Since(restarted), healBound)
	eventually(t, "/readyz says 200 again", healBound, func() bool {
		code, _ := w.get("/readyz")
		return code == http.StatusOK
	})
	took(t, "Redis stopped and started", "Redis answers to /readyz 200", time.Since(restarted), 0)
	w.mustBeAnsweredOnce([]string{"before", "after"})
	// Telemetry comes back too.
	back := time.Now()
	eventually(t, "a new summary packet is on the bus", patience, func() bool { return w.lastSummary().at.After(back) })
	t.Logf("telemetry was back %s after Redis", time.Since(back).Round(time.Millisecond))
	w.stop()
}

func TestLostGroupsAreRecreated(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	for _, id := range []string{"first flush", "second flush"} {
		w.bus.do("FLUSHALL")
		flushed := time.Now()
		if got := w.ask(id, compiled, recreateBound); got.kind != typeReady {
			t.Errorf("the answer after FLUSHALL is %+v", got)
		}
		took(t, "Redis flushed", id+" to a request is answered", time.Since(flushed), recreateBound)
	}
	groups := map[string]string{
		streamNormal: group, streamRequests: group, "oona.policy": group, "oona.emergency": group,
		streamReady: group, streamErrors: group,
	}
	for stream, name := range groups {
		bound := recreateBound
		if stream == streamReady || stream == streamErrors {
			bound += idleLook // while nobody waits for an answer nobody looks at once
		}
		eventually(t, "the group of "+stream+" is back", bound, func() bool {
			return w.bus.do("EXISTS", stream) == int64(1) && w.bus.group(stream, name) != nil
		})
	}
	w.stop()
}

// TestRedisThatIsEmptyAfterARestartIsServed: without persistence everything in
// Redis is gone, groups and scripts too.
func TestRedisThatIsEmptyAfterARestartIsServed(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	w.ask("before", compiled, patience)
	w.redis.Restart()
	w.bus.close()
	if got := w.ask("after", compiled, healBound); got.kind != typeReady {
		t.Errorf("the answer after the loss is %+v", got)
	}
	w.stop()
}

func TestFrozenRedisHeals(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	t.Cleanup(w.redis.Thaw)
	w.redis.Freeze()
	frozen := time.Now()
	eventually(t, "/readyz says 503 while Redis is frozen", patience, func() bool {
		code, _ := w.get("/readyz")
		return code == http.StatusServiceUnavailable
	})
	eventually(t, "Redis has been frozen for 5 s", patience, func() bool { return time.Since(frozen) > 5*time.Second })
	w.redis.Thaw()
	if got := w.ask("thawed", compiled, healBound); got.kind != typeReady {
		t.Errorf("the answer after the thaw is %+v", got)
	}
	w.mustBeAnsweredOnce([]string{"thawed"})
	w.stop()
}
