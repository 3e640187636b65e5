package health

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
)

// A Redis that is full, or a replica, refuses answers and reads too: that is one alarm. What a
// message needs may be away for another reason.
func TestBusThatRefusesWritesIsOneAlarm(t *testing.T) {
	r := newRounds()
	r.see(10, alarmUnwritable, alarmUnanswered+"/s", alarmUnread+"/s", alarmPaused+"/s")
	if want := []string{"raised " + alarmUnwritable, "raised " + alarmPaused + "/s"}; !slices.Equal(r.said, want) {
		t.Errorf("said %q, want %q", r.said, want)
	}
}

// rounds lets a tracker see one round a second, and notes what it raised and ended.
type rounds struct {
	tracker *tracker
	now     time.Time
	said    []string
}

func newRounds() *rounds {
	return &rounds{tracker: newTracker(conditions(time.Minute)), now: time.Unix(1_700_000_000, 0)}
}

// see lets some seconds pass in which the named conditions hold.
func (r *rounds) see(seconds int, holding ...string) {
	for range seconds {
		found := make(map[string][]finding)
		for _, text := range holding {
			name, subject, _ := strings.Cut(text, "/")
			found[name] = append(found[name], finding{subject: subject, detail: "because"})
		}
		for _, change := range r.tracker.observe(r.now, found) {
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
		alarmWorkerFails + "/b", alarmWorkerFails + "/c", alarmDropping, alarmJobFails + "/oona_trim",
	}
	r.see(300, everything...)
	r.says(t, "while redis is down", "raised "+alarmBusDown)
	if alarms := r.tracker.alarms(); len(alarms) != 1 || alarms[0].Severity != severityCritical || alarms[0].Detail != "because" {
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
	if alarms := r.tracker.alarms(); len(alarms) != 1 || alarms[0].Name != alarmBusDown {
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
	for _, c := range conditions(time.Minute) {
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
	all := conditions(time.Minute)
	rapid.Check(t, func(t *rapid.T) {
		r := newRounds()
		for range rapid.IntRange(1, 30).Draw(t, "phases") {
			var holding []string
			for _, c := range all {
				if rapid.Bool().Draw(t, c.name) {
					holding = append(holding, c.name)
				}
			}
			r.see(rapid.IntRange(1, 100).Draw(t, "seconds"), holding...)
			raised := map[string]bool{}
			for _, alarm := range r.tracker.alarms() {
				raised[alarm.Name] = true
			}
			for _, c := range all {
				for _, cause := range c.causes {
					if raised[c.name] && raised[cause] {
						t.Fatalf("%s beside its cause %s", c.name, cause)
					}
				}
			}
		}
		r.see(1000)
		if left := r.tracker.alarms(); len(left) > 0 {
			t.Fatalf("left over: %v", left)
		}
	})
}

// Whatever holds when, a service that is hindered has a critical alarm that says so
// and is unhealthy by it, and one without such an alarm is not hindered.
func TestR17HindranceAndAlarmsNeverContradict(t *testing.T) {
	all := conditions(time.Minute)
	rapid.Check(t, func(t *rapid.T) {
		r := newRounds()
		watch := &Monitor{tracker: r.tracker}
		for range rapid.IntRange(1, 30).Draw(t, "phases") {
			var holding []string
			for _, c := range all {
				if rapid.Bool().Draw(t, c.name) {
					holding = append(holding, c.name)
				}
			}
			r.see(rapid.IntRange(1, 20).Draw(t, "seconds"), holding...)
			alarms, hindrance := watch.Alarms(), watch.Hindrance()
			critical := slices.DeleteFunc(slices.Clone(alarms), func(a Alarm) bool { return a.Severity != severityCritical || a.Gone })
			if (hindrance != "") != (len(critical) > 0) {
				t.Fatalf("hindered by %q, critical alarms %+v", hindrance, critical)
			}
			status, _ := Workers{}.Overall(alarms)
			if hindrance != "" && status != leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY {
				t.Fatalf("hindered by %q and %s", hindrance, status)
			}
		}
	})
}
