package health

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/supervise"
)

func TestOneOldErrorDoesNotKeepTheSystemDegraded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := supervise.New(supervise.Config{})
		var runs atomic.Int64
		once := supervise.WorkerFunc(func(ctx context.Context) error {
			if runs.Add(1) == 1 {
				return errBroken
			}
			<-ctx.Done()
			return nil
		})
		if err := s.Start(t.Context(), supervise.Spec{Name: "once", Worker: once}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		says := func(when string, want leyline.HealthStatus, summary, mode string) {
			t.Helper()
			health := SumUp(s.Status())
			if status, text := health.status(); status != want || text != summary || health.Mode() != mode {
				t.Errorf("%s: %s %q, mode %s", when, status, text, health.Mode())
			}
		}
		says("after the failure", leyline.HealthStatus_HEALTH_STATUS_DEGRADED, "backoff", "degraded")
		time.Sleep(10 * time.Second)
		says("while it has just come back", leyline.HealthStatus_HEALTH_STATUS_DEGRADED, "recent_error", "operational")
		time.Sleep(2 * time.Minute)
		says("when it is well again", leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "steady", "operational")
		if SumUp(s.Status()).LastErrorAt.IsZero() {
			t.Error("the time of the last error was forgotten")
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestWorkerThatEndsIsNotReportedAsRunning(t *testing.T) {
	for _, test := range []struct {
		name   string
		err    error
		finite bool
		want   leyline.HealthStatus
		mode   string
	}{
		{"returned unasked", nil, false, leyline.HealthStatus_HEALTH_STATUS_DEGRADED, "degraded"},
		{"gave up", supervise.Permanent(errBroken), false, leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY, "degraded"},
		{"finished", nil, true, leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "operational"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := supervise.New(supervise.Config{})
				ends := supervise.WorkerFunc(func(context.Context) error { return test.err })
				spec := supervise.Spec{Name: "ends", Worker: ends, Finite: test.finite}
				if err := s.Start(t.Context(), spec); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				health := SumUp(s.Status())
				if status, _ := health.status(); status != test.want || health.Mode() != test.mode || health.Running != 0 {
					t.Errorf("%s, mode %s, %d running", status, health.Mode(), health.Running)
				}
				if err := s.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
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
		if status, summary := (Workers{}).Overall(test.alarms); status != test.status || summary != test.summary {
			t.Errorf("%v: %s %q", test.alarms, status, summary)
		}
	}
	if status, summary := (Workers{BackingOff: 1}).Overall([]Alarm{worker}); summary != "backoff" ||
		status != leyline.HealthStatus_HEALTH_STATUS_DEGRADED {
		t.Errorf("a known symptom is renamed: %s %q", status, summary)
	}
}
