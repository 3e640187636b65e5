package weatherlight

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/urza"
)

func TestOutageOfTheCatalogueIsFoundThoughNobodyAsksForAKernel(t *testing.T) {
	service := newService(t, nil)
	library, err := urza.Open(t.Context(), urza.Config{
		DatabaseURL: "sqlite:///" + filepath.Join(t.TempDir(), "catalog.db"), ArtifactDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	service.library = library
	before := library.Metrics()["cache_misses"]
	if found := service.lookAtLibrary(t.Context()); len(found) != 0 {
		t.Errorf("findings %v of a sound catalogue", found)
	}
	if after := library.Metrics()["cache_misses"]; after != before {
		t.Errorf("the look counted as %v look-ups", after-before)
	}
	if err := library.Close(); err != nil {
		t.Fatal(err)
	}
	if found := service.lookAtLibrary(t.Context()); len(found) != 1 {
		t.Errorf("findings %v of a catalogue that is gone, want one", found)
	}
}

func TestMessageThatTheBusNeverTakesIsAnAlarm(t *testing.T) {
	r := start(t, newService(t, nil))
	if found := r.lookAtOutbox(t.Context()); len(found) != 0 {
		t.Errorf("findings %v of an empty outbox", found)
	}
	tooLarge := &leyline.FieldReport{Notes: strings.Repeat("x", 1<<20)}
	if err := r.outbox.Put(t.Context(), oona.Message{Payload: tooLarge}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the refusal", func() bool { return len(r.lookAtOutbox(t.Context())) == 1 })
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestCostlyLookIsTakenRarelyWhileAllIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		look := rarely(func(context.Context) []finding {
			asked++
			return nil
		})
		for range 11 {
			if found := look(t.Context()); len(found) != 0 {
				t.Fatalf("findings %v", found)
			}
			time.Sleep(healthInterval)
		}
		if asked != 3 {
			t.Errorf("asked %d times in 11 s, want 3", asked)
		}
	})
}

// One answer that came too late is a blip, however rarely it is asked.
func TestOneSlowAnswerOfTheCatalogueIsNoAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := 1
		look := rarely(func(context.Context) []finding {
			if slow--; slow < 0 {
				return nil
			}
			return []finding{{detail: "context deadline exceeded"}}
		})
		watch := &healthWatch{
			sensors: []sensor{{alarmLibraryDown, look}}, book: newAlarmBook(alarmConditions(time.Minute)),
			logger: slog.New(slog.DiscardHandler),
		}
		rounds := func(n int) (raised int) {
			for range n {
				watch.round(t.Context())
				raised += len(watch.alarms())
				time.Sleep(healthInterval)
			}
			return raised
		}
		if raised := rounds(20); raised != 0 {
			t.Errorf("an alarm for %d rounds", raised)
		}
		slow = 5
		if raised := rounds(20); raised == 0 {
			t.Error("an outage of 5 s is no alarm")
		}
	})
}

func TestServiceWhoseSupervisorHangsIsNotHealthy(t *testing.T) {
	service := newService(t, nil)
	for _, test := range []struct {
		alive  bool
		code   int
		status string
	}{
		{true, http.StatusOK, "ok"},
		{false, http.StatusServiceUnavailable, "supervisor does not answer"},
	} {
		service.alive = func(ctx context.Context) bool {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("the question has no bound")
			}
			return test.alive
		}
		answer := httptest.NewRecorder()
		service.routes(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		var body map[string]string
		if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		if answer.Code != test.code || body["status"] != test.status {
			t.Errorf("alive %v: %d %v, want %d %q", test.alive, answer.Code, body, test.code, test.status)
		}
	}
}

func TestSecondLiveTrainerOfARunIsAnAlarm(t *testing.T) {
	g := newGarden(t, "BP002")
	g.tell()
	if alarms := g.health.alarms(); len(alarms) > 0 {
		t.Fatalf("alarms before there are two: %+v", alarms)
	}
	g.plant() // another process under the same run id
	eventually(t, "the alarm", func() bool {
		g.graft.Report(&leyline.SystemStatePacket{Version: 1, CurrentEpoch: g.epoch}, nil)
		return len(g.health.alarms()) > 0
	})
	alarm := g.health.alarms()[0]
	if alarm.Name != alarmContested || alarm.Subject != gardenRun || !strings.Contains(alarm.Detail, g.graft.TrainerID()) {
		t.Errorf("alarm %+v", alarm)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}
