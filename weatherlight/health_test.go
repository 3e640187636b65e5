package weatherlight

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/certtest"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/internal/health"
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

// A library that is away is told of before its requests are lost, and everywhere alike.
func TestR17R29ReadyzStatusAndAlarmsSayTheSame(t *testing.T) {
	for name, asked := range map[string]bool{"before the first request": false, "with one that waits": true} {
		t.Run(name, func(t *testing.T) {
			r := start(t, newService(t, nil))
			probe(t, r.Service, "when all is well", http.StatusOK, "ready")
			if err := r.library.Close(); err != nil { // as a database that is away, for good
				t.Fatal(err)
			}
			want := "library_down"
			if asked {
				want = "work_paused"
				request := &leyline.KernelPrefetchRequest{RequestId: "r", BlueprintId: "BP001", IssuedAt: timestamppb.Now()}
				if err := connect(t, r.BusURL(), "trainer").Publish(t.Context(), oona.Message{Payload: request}); err != nil {
					t.Fatal(err)
				}
			}
			raised := func() bool {
				return slices.ContainsFunc(r.health.Alarms(), func(a health.Alarm) bool { return a.Name == want && strings.Contains(a.Detail, "closed") })
			}
			eventually(t, "the alarm "+want, raised)
			probe(t, r.Service, "without a library", http.StatusServiceUnavailable, "closed")
			status := r.status(t.Context())
			if status.State != "not_ready" || status.SystemMode != "degraded" || !strings.Contains(status.Reason, "closed") {
				t.Errorf("status %s, %s: %s", status.State, status.SystemMode, status.Reason)
			}
			if drops := r.bus.Drops(); len(drops) != 0 {
				t.Errorf("refused %v", drops)
			}
			if err := r.stop(t); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestR22EveryReasonOfARefusalIsAnAlarm(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	peer := connect(t, redis.URL, "peer")
	run := &leyline.SystemStatePacket{TrainingRunId: " blanks "} // permanent
	old := &leyline.KernelPrefetchRequest{RequestId: "r", BlueprintId: "b", IssuedAt: timestamppb.New(time.Now().Add(-time.Hour))}
	for _, payload := range []proto.Message{run, old} {
		if err := peer.Publish(t.Context(), oona.Message{Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "an alarm for each reason", func() bool {
		subjects := make(map[string]bool)
		for _, alarm := range r.health.Alarms() {
			subjects[alarm.Name+" "+alarm.Subject] = true
		}
		return subjects["messages_refused permanent"] && subjects["messages_refused stale"]
	})
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

// Of a certificate that runs out the log told once, at the start. A renewal ends the alarm without one.
func TestCertificateThatRunsOutIsAnAlarmUntilItIsRenewed(t *testing.T) {
	folder, authority := t.TempDir(), certtest.New(t)
	cert, key := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	renew := func(ends time.Time) {
		t.Helper()
		authority.Ends = ends
		authority.Pair(t, cert, key)
	}
	renew(time.Now().Add(24 * time.Hour))
	r := start(t, newService(t, map[string]string{"WEATHERLIGHT_HTTP_TLS_CERT_FILE": cert, "WEATHERLIGHT_HTTP_TLS_KEY_FILE": key}))
	is := func(want string, hinders bool) {
		t.Helper()
		eventually(t, "the alarm "+want, func() bool {
			var names []string
			for _, alarm := range r.health.Alarms() {
				if strings.Contains(alarm.Detail, "WEATHERLIGHT_HTTP_TLS_CERT_FILE") && !alarm.Gone {
					names = append(names, alarm.Name)
				}
			}
			return strings.Join(names, " ") == want && strings.HasPrefix(r.health.Hindrance(), "certificate_expired") == hinders
		})
	}
	is("certificate_expiring", false)
	renew(time.Now().Add(-time.Minute))
	is("certificate_expired", true)
	renew(time.Now().Add(90 * 24 * time.Hour))
	is("", false)
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

// A summary that has grown too large for the bus goes out no more.
func TestR38SummaryThatDoesNotGoOutIsAnAlarm(t *testing.T) {
	r := start(t, newService(t, nil))
	packet := r.summaryPacket(t.Context())
	for i := range 10_000 {
		packet.Metrics = append(packet.Metrics, &leyline.MetricPoint{Name: fmt.Sprint("weatherlight.tamiyo.coverage.", i), Unit: "ratio"})
	}
	r.telemetry.Offer(packet)
	eventually(t, "the alarm", func() bool {
		alarms := r.health.Alarms()
		return len(alarms) == 1 && alarms[0].Name == "telemetry_dropping" && alarms[0].Subject == "weatherlight"
	})
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
