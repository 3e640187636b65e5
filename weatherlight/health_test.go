package weatherlight

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/supervise"
)

// rounds lets a book see one round a second, and notes what it raised and ended.
type rounds struct {
	book *alarmBook
	now  time.Time
	said []string
}

func newRounds() *rounds {
	return &rounds{book: newAlarmBook(alarmConditions(time.Minute)), now: time.Unix(1_700_000_000, 0)}
}

// see lets some seconds pass in which the named conditions hold.
func (r *rounds) see(seconds int, holding ...string) {
	for range seconds {
		found := make(map[string][]finding)
		for _, text := range holding {
			name, subject, _ := strings.Cut(text, "/")
			found[name] = append(found[name], finding{subject: subject, detail: "because"})
		}
		for _, change := range r.book.observe(r.now, found) {
			verb := "raised "
			if change.ended {
				verb = "ended "
			}
			r.said = append(r.said, strings.TrimSuffix(verb+change.Name+"/"+change.Subject, "/"))
		}
		r.now = r.now.Add(time.Second)
	}
}

func (r *rounds) says(t *testing.T, when string, want ...string) {
	t.Helper()
	if !slices.Equal(r.said, want) {
		t.Errorf("%s: said %q, want %q", when, r.said, want)
	}
	r.said = nil
}

func TestBlipIsNoAlarm(t *testing.T) {
	r := newRounds()
	r.see(3, alarmBusDown)
	r.see(60)
	r.see(2, alarmWorkerFails+"/a")
	r.see(60)
	r.says(t, "after two blips")
}

func TestRedisDownIsOneAlarmNotEight(t *testing.T) {
	r := newRounds()
	everything := []string{
		alarmBusDown, alarmCircuitOpen + "/oona_publish", alarmCircuitOpen + "/oona_consume", alarmWorkerFails + "/a",
		alarmWorkerFails + "/b", alarmWorkerFails + "/c", alarmDropping, alarmChoreFails + "/oona_trim",
	}
	r.see(300, everything...)
	r.says(t, "while redis is down", "raised "+alarmBusDown)
	if alarms := r.book.alarms(); len(alarms) != 1 || alarms[0].Severity != severityCritical || alarms[0].Detail != "because" {
		t.Errorf("alarms %+v", alarms)
	}
	// The workers take a moment longer than the bus to be well again.
	r.see(8, alarmWorkerFails+"/a", alarmCircuitOpen+"/oona_publish")
	r.see(300)
	r.says(t, "after redis came back", "ended "+alarmBusDown)
}

func TestSymptomThatOutlivesItsCauseIsAnAlarm(t *testing.T) {
	r := newRounds()
	r.see(30, alarmBusDown, alarmWorkerFails+"/a")
	r.see(30, alarmWorkerFails+"/a")
	r.says(t, "a worker did not recover", "raised "+alarmBusDown, "ended "+alarmBusDown, "raised "+alarmWorkerFails+"/a")
}

func TestSymptomSeenBeforeItsCauseGivesWay(t *testing.T) {
	r := newRounds()
	r.see(20, alarmWorkerFails+"/a")
	r.see(20, alarmWorkerFails+"/a", alarmBusDown)
	if alarms := r.book.alarms(); len(alarms) != 1 || alarms[0].Name != alarmBusDown {
		t.Errorf("alarms %+v", alarms)
	}
}

func TestWorkerThatComesAndGoesIsOneAlarm(t *testing.T) {
	r := newRounds()
	for range 30 {
		r.see(1, alarmWorkerFails+"/a")
		r.see(9)
	}
	r.says(t, "a worker that fails each ten seconds", "raised "+alarmWorkerFails+"/a")
	r.see(60)
	r.says(t, "a minute after its last failure", "ended "+alarmWorkerFails+"/a")
}

func TestNothingExplainsAWorkerThatWasLeftDown(t *testing.T) {
	r := newRounds()
	r.see(5, alarmBusDown, alarmDiskFull, alarmLibraryDown, alarmWorkerDown+"/a")
	if !slices.Contains(r.said, "raised "+alarmWorkerDown+"/a") {
		t.Errorf("said %q", r.said)
	}
}

func TestCausesComeBeforeWhatTheyCause(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range alarmConditions(time.Minute) {
		for _, cause := range c.causes {
			if !seen[cause] {
				t.Errorf("%s comes before its cause %s, or has none of that name", c.name, cause)
			}
		}
		if seen[c.name] {
			t.Errorf("%s is there twice", c.name)
		}
		seen[c.name] = true
	}
}

// Whatever holds when, an alarm is raised before it ends, never twice in a row,
// never beside one of its causes, and all end when all is well.
func TestAlarmsAlternateWhateverHappens(t *testing.T) {
	conditions := alarmConditions(time.Minute)
	rapid.Check(t, func(t *rapid.T) {
		r := newRounds()
		for range rapid.IntRange(1, 30).Draw(t, "phases") {
			var holding []string
			for _, c := range conditions {
				if rapid.Bool().Draw(t, c.name) {
					holding = append(holding, c.name)
				}
			}
			r.see(rapid.IntRange(1, 100).Draw(t, "seconds"), holding...)
			raised := map[string]bool{}
			for _, alarm := range r.book.alarms() {
				raised[alarm.Name] = true
			}
			for _, c := range conditions {
				for _, cause := range c.causes {
					if raised[c.name] && raised[cause] {
						t.Fatalf("%s beside its cause %s", c.name, cause)
					}
				}
			}
		}
		r.see(1000)
		if left := r.book.alarms(); len(left) > 0 {
			t.Fatalf("left over: %v", left)
		}
	})
}

// healthOf is a watch over workers alone.
func healthOf(s *Service) *healthWatch {
	workers := &workerSensor{status: s.supervisor.Status, restarts: make(map[string]int)}
	return &healthWatch{
		sensors: []sensor{{alarmWorkerDown, workers.down}, {alarmCircuitOpen, workers.open}, {alarmWorkerFails, workers.failing}},
		book:    newAlarmBook(alarmConditions(time.Minute)),
		logger:  slog.New(slog.DiscardHandler),
	}
}

func TestWorkerIsInOneKindOfTroubleAtATime(t *testing.T) {
	once := func(err error) supervise.WorkerFunc {
		failed := false
		return func(ctx context.Context) error {
			if !failed {
				failed = true
				return err
			}
			<-ctx.Done()
			return nil
		}
	}
	always := func(err error) supervise.WorkerFunc { return func(context.Context) error { return err } }
	for _, test := range []struct {
		name   string
		worker supervise.WorkerFunc
		after  time.Duration
		want   string
	}{
		{"failed once", once(errBroken), 5 * time.Minute, ""},
		{"fails always", always(errBroken), 30 * time.Second, alarmWorkerFails},
		{"fails always, for long", always(errBroken), 10 * time.Minute, alarmCircuitOpen},
		{"was left down", always(supervise.Permanent(errBroken)), 5 * time.Second, alarmWorkerDown},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := supervised()
				watch := healthOf(s)
				for name, worker := range map[string]supervise.Worker{"ill": test.worker, "watch": watch} {
					if err := s.supervisor.Start(t.Context(), supervise.Spec{Name: name, Worker: worker}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(test.after)
				var got []string
				for _, alarm := range watch.alarms() {
					got = append(got, alarm.Name)
					if alarm.Subject != "ill" || alarm.Detail != errBroken.Error() {
						t.Errorf("alarm %+v", alarm)
					}
				}
				if text := strings.Join(got, " "); text != test.want {
					t.Errorf("alarms %q, want %q", text, test.want)
				}
				if err := s.supervisor.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestRiseIsFoundOnce(t *testing.T) {
	count := int64(0)
	r := &riseSensor{count: func() map[string]int64 { return map[string]int64{"a": count} }}
	for i, step := range []struct {
		count int64
		found int
	}{{0, 0}, {2, 1}, {2, 0}, {3, 1}} {
		count = step.count
		if got := r.look(t.Context()); len(got) != step.found {
			t.Errorf("look %d: %v", i, got)
		}
	}
}

func TestFullDiskIsFound(t *testing.T) {
	folder := t.TempDir()
	if lack := lackOfRoom(folder, 1); lack != "" {
		t.Errorf("lack of one byte: %s", lack)
	}
	if lack := lackOfRoom(folder, 1<<62); !strings.Contains(lack, "MiB free") {
		t.Errorf("lack of 4 EiB: %q", lack)
	}
	if lack := lackOfRoom(folder+"/gone", 1); lack == "" {
		t.Error("a folder that is not there has room")
	}
}

func TestOutageOfTheBusIsOneAlarmEverywhere(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	if got, found := scrape(t, r.Service)["weatherlight_alarm{alarm="+alarmBusDown+"}"]; !found || got != 0 {
		t.Errorf("alarm metric is %v (found %v) while all is well", got, found)
	}
	redis.Kill()
	eventually(t, "the alarm", func() bool { return len(r.health.alarms()) > 0 })
	if alarms := r.health.alarms(); len(alarms) != 1 || alarms[0].Name != alarmBusDown {
		t.Errorf("alarms %+v", alarms)
	}
	if got := scrape(t, r.Service)["weatherlight_alarm{alarm="+alarmBusDown+"}"]; got != 1 {
		t.Errorf("alarm metric is %v", got)
	}
	packet := r.summaryPacket(t.Context())
	health := packet.GetSystemHealth()
	if health.GetStatus() != leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY || health.GetIndicators()["alarms"] != alarmBusDown {
		t.Errorf("health %v", health)
	}
	if status := r.status(t.Context()); len(status.Alarms) != 1 || status.State != "ready" {
		t.Errorf("status %+v", status)
	}
	redis.Restart()
	eventually(t, "the alarm ends", func() bool { return len(r.health.alarms()) == 0 })
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestWorstAlarmSpeaksForTheService(t *testing.T) {
	nissa := Alarm{Name: alarmNissaDown, Severity: severityInfo}
	worker := Alarm{Name: alarmWorkerFails, Severity: severityWarning}
	bus := Alarm{Name: alarmBusDown, Severity: severityCritical}
	for _, test := range []struct {
		alarms  []Alarm
		status  leyline.HealthStatus
		summary string
	}{
		{nil, leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "steady"},
		{[]Alarm{nissa}, leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "steady"},
		{[]Alarm{nissa, worker}, leyline.HealthStatus_HEALTH_STATUS_DEGRADED, alarmWorkerFails},
		{[]Alarm{bus, worker, nissa}, leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY, alarmBusDown},
	} {
		if status, summary := overall(workerHealth{}, test.alarms); status != test.status || summary != test.summary {
			t.Errorf("%v: %s %q", test.alarms, status, summary)
		}
	}
	if status, summary := overall(workerHealth{backingOff: 1}, []Alarm{worker}); summary != "backoff" ||
		status != leyline.HealthStatus_HEALTH_STATUS_DEGRADED {
		t.Errorf("a known symptom is renamed: %s %q", status, summary)
	}
}
