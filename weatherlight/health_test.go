package weatherlight

import (
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

func TestOutageOfTheBusIsOneAlarmEverywhere(t *testing.T) {
	const busDown = "bus_down"
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	if got, found := scrape(t, r.Service)["weatherlight_alarm{alarm="+busDown+"}"]; !found || got != 0 {
		t.Errorf("alarm metric is %v (found %v) while all is well", got, found)
	}
	redis.Kill()
	eventually(t, "the alarm", func() bool { return len(r.health.Alarms()) > 0 })
	if alarms := r.health.Alarms(); len(alarms) != 1 || alarms[0].Name != busDown {
		t.Errorf("alarms %+v", alarms)
	}
	if got := scrape(t, r.Service)["weatherlight_alarm{alarm="+busDown+"}"]; got != 1 {
		t.Errorf("alarm metric is %v", got)
	}
	packet := r.summaryPacket(t.Context())
	health := packet.GetSystemHealth()
	if health.GetStatus() != leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY || health.GetIndicators()["alarms"] != busDown {
		t.Errorf("health %v", health)
	}
	if status := r.status(t.Context()); len(status.Alarms) != 1 || status.State != "not_ready" || status.Reason == "" {
		t.Errorf("status %+v", status)
	}
	redis.Restart()
	eventually(t, "the alarm ends", func() bool { return len(r.health.Alarms()) == 0 })
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestMessageThatTheBusNeverTakesIsAnAlarm(t *testing.T) {
	r := start(t, newService(t, nil))
	if alarms := r.health.Alarms(); len(alarms) != 0 {
		t.Errorf("alarms %v with an empty outbox", alarms)
	}
	tooLarge := &leyline.FieldReport{Notes: strings.Repeat("x", 1<<20)}
	if err := r.outbox.Put(t.Context(), oona.Message{Payload: tooLarge}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the alarm", func() bool {
		alarms := r.health.Alarms()
		return len(alarms) == 1 && alarms[0].Name == "outbox_refused"
	})
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestSecondLiveTrainerOfARunIsAnAlarm(t *testing.T) {
	g := newGarden(t, "BP002")
	g.tell()
	if alarms := g.health.Alarms(); len(alarms) > 0 {
		t.Fatalf("alarms before there are two: %+v", alarms)
	}
	g.plant() // another process under the same run id
	eventually(t, "the alarm", func() bool {
		g.graft.Report(&leyline.SystemStatePacket{Version: 1, CurrentEpoch: g.epoch}, nil)
		return len(g.health.Alarms()) > 0
	})
	alarm := g.health.Alarms()[0]
	if alarm.Name != "second_trainer" || alarm.Subject != gardenRun || !strings.Contains(alarm.Detail, g.graft.TrainerID()) {
		t.Errorf("alarm %+v", alarm)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}
