package weatherlight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/status"
	"github.com/esper-lite/weatherlight/weatherlight/internal/telemetryqueue"
)

func TestTwentyStartsAndStopsLeaveNothingBehind(t *testing.T) {
	redis := redistest.Start(t)
	for _, test := range []struct{ name, url string }{{"redis", redis.URL}, {"embedded", "embedded:"}} {
		t.Run(test.name, func(t *testing.T) {
			leaks := goleak.IgnoreCurrent()
			// The folders stay the same, as they do for an operator.
			resolved := loadSettings(t, map[string]string{"REDIS_URL": test.url})
			for i := range 20 {
				service, err := New(Config{Settings: resolved})
				if err != nil {
					t.Fatal(err)
				}
				if err := start(t, service).stop(t); err != nil {
					t.Fatalf("stop %d: %v", i+1, err)
				}
			}
			wantNoLeaks(t, leaks)
		})
	}
}

func TestWorkersStopInTheReverseOfTheirStart(t *testing.T) {
	service := newService(t, map[string]string{
		"TOLARIA_ROLLBACK_SIGNAL_NAME": "esper-test-none", "TOLARIA_EMERGENCY_SIGNAL_NAME": "esper-test-none-either",
	})
	events, unsubscribe := service.supervisor.Subscribe(1024)
	if err := start(t, service).stop(t); err != nil {
		t.Fatal(err)
	}
	unsubscribe()
	var started, stopped []string
	for event := range events {
		if event.Err != nil {
			t.Errorf("%s failed: %v", event.Worker, event.Err)
		}
		switch event.To {
		case supervise.Starting:
			started = append(started, event.Worker)
		case supervise.Stopped:
			stopped = append(stopped, event.Worker)
		}
	}
	slices.Reverse(stopped)
	// HTTP starts first and stops last; the broker outlives the bus client.
	if !slices.Equal(started, stopped) || len(started) < 15 {
		t.Errorf("started %v\nstopped, reversed %v", started, stopped)
	}
	for _, name := range []string{workerSignals, workerSignalReports} {
		if !slices.Contains(started, name) {
			t.Errorf("%s was not started", name)
		}
	}
}

func TestNoMonitorWithoutASignalName(t *testing.T) {
	r := start(t, newService(t, nil))
	for _, worker := range r.supervisor.Status() {
		if worker.Name == workerSignals || worker.Name == workerSignalReports {
			t.Errorf("%s runs", worker.Name)
		}
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestLastWordComesAfterTheWorkersStopped(t *testing.T) {
	redis := redistest.Start(t)
	service := newService(t, map[string]string{"REDIS_URL": redis.URL})
	if err := start(t, service).stop(t); err != nil {
		t.Fatal(err)
	}
	bus := connect(t, redis.URL, "nissa")
	heard := listen(t, bus, "oona.telemetry", "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	eventually(t, "the last summary", func() bool { return len(summaries(heard)) > 0 })
	all := heard.packets()
	last := all[len(all)-1]
	if last.GetSourceSubsystem() != "weatherlight" || !strings.HasPrefix(last.GetPacketId(), "weatherlight-") {
		t.Fatalf("the last packet is %s of %s", last.GetPacketId(), last.GetSourceSubsystem())
	}
	for name, value := range metricsOf(last) {
		if worker, found := strings.CutSuffix(name, ".running"); found && strings.HasPrefix(worker, "weatherlight.worker.") {
			outlives := []string{workerHTTP, workerFleet, workerOutbox}
			if running := slices.Contains(outlives, strings.TrimPrefix(worker, "weatherlight.worker.")); (value == 1) != running {
				t.Errorf("%s is %v in the last packet", name, value)
			}
		}
	}
	if health := last.GetSystemHealth(); health.GetStatus() != leyline.HealthStatus_HEALTH_STATUS_HEALTHY {
		t.Errorf("a clean stop says %v", health)
	}
}

// A queue that takes the bus too long is given up, and the last word is said all the
// same.
func TestLastWordIsSaidBehindALongQueue(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	if err := r.supervisor.StopWorker(t.Context(), workerTelemetry); err != nil {
		t.Fatal(err)
	}
	r.telemetry = telemetryqueue.New(telemetryqueue.Config{
		Publish: func(ctx context.Context, _ ...oona.Message) error {
			<-ctx.Done()
			return ctx.Err()
		},
		Keep: r.durable.Keep,
	})
	r.telemetry.Offer(telemetry.New("test", "test").WithID("slow").Build())
	if err := r.stop(t); err == nil || !strings.Contains(err.Error(), "flush telemetry") || strings.Contains(err.Error(), "last summary") {
		t.Errorf("stop = %v, want that the queue alone was given up", err)
	}
	heard := listen(t, connect(t, redis.URL, "nissa"), "oona.telemetry", "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	eventually(t, "the last summary", func() bool { return len(summaries(heard)) == 1 })
}

// summaries are the summary packets heard so far.
func summaries(heard *listener) []*leyline.TelemetryPacket {
	return slices.DeleteFunc(heard.packets(), func(p *leyline.TelemetryPacket) bool {
		return p.GetSourceSubsystem() != "weatherlight" || p.GetLevel() != leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO
	})
}

func TestReadinessSaysWhatTheServiceIsDoing(t *testing.T) {
	for name, url := range map[string]string{"redis": redistest.Start(t).URL, "embedded": "embedded:"} {
		t.Run(name, func(t *testing.T) {
			service := newService(t, map[string]string{"REDIS_URL": url})
			steps := service.steps()
			last := len(steps) - 1
			for i, step := range steps[:last] {
				steps[i].Start = func(ctx context.Context) error {
					err := step.Start(ctx)
					inHand := fmt.Sprintf("booting: step %d of %d, %s", i+1, len(steps), step.Name)
					probe(t, service, "after step "+step.Name, http.StatusServiceUnavailable, inHand)
					status := service.status(ctx)
					if status.State != "booting" || status.Reason != inHand || status.SystemMode != "degraded" || len(status.Boot) != i {
						t.Errorf("in step %s /status says %s", step.Name, status)
					}
					return err
				}
				steps[i].Stop = func(ctx context.Context) error {
					probe(t, service, "before the stop of "+step.Name, http.StatusServiceUnavailable, "draining")
					if step.Stop == nil {
						return nil
					}
					return step.Stop(ctx)
				}
			}
			booted, err := supervise.Boot(t.Context(), steps, service.bootLog.Step)
			if err != nil {
				t.Fatal(err)
			}
			probe(t, service, "when it is up", http.StatusOK, "ready")
			if err := booted.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReadinessSaysAtWhichStepTheBootEnded(t *testing.T) {
	service := newService(t, nil)
	steps := service.steps()
	probed := false
	stop := steps[1].Stop
	steps[1].Stop = func(ctx context.Context) error {
		probe(t, service, "while the boot is taken back", http.StatusServiceUnavailable, "booting: streams and groups failed")
		probed = true
		return stop(ctx)
	}
	steps[2].Start = func(context.Context) error { return errBroken }
	if _, err := supervise.Boot(t.Context(), steps, service.bootLog.Step); !errors.Is(err, errBroken) || !probed {
		t.Errorf("Boot = %v, probed %v", err, probed)
	}
}

// probe asks every page; none of them may fail whatever is closed already.
func probe(t *testing.T, service *Service, when string, code int, reason string) {
	t.Helper()
	if got, body := ask(t, service, "/readyz"); got != code || !strings.Contains(body, reason) {
		t.Errorf("%s: /readyz answers %d %s, want %d %s", when, got, body, code, reason)
	}
	for _, page := range []string{"/healthz", "/status", "/metrics"} {
		if got, _ := ask(t, service, page); got != http.StatusOK {
			t.Errorf("%s: %s answers %d", when, page, got)
		}
	}
}

func TestReadinessFollowsTheBus(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	redis.Kill()
	probe(t, r.Service, "without redis", http.StatusServiceUnavailable, "bus: ")
	redis.Restart()
	eventually(t, "readiness comes back with redis", func() bool {
		code, _ := ask(t, r.Service, "/readyz")
		return code == http.StatusOK
	})
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestStatusPageShowsBootAndWorkers(t *testing.T) {
	r := start(t, newService(t, nil))
	_, body := ask(t, r.Service, "/status")
	var status status.Status
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatal(err)
	}
	if status.State != "ready" || status.SystemMode != "operational" || len(status.Boot) != len(bootList) {
		t.Errorf("status %+v", status)
	}
	names := make([]string, len(status.Workers))
	for i, worker := range status.Workers {
		names[i] = worker.Name
		if worker.State != supervise.Running.String() {
			t.Errorf("%s is %s", worker.Name, worker.State)
		}
	}
	if names[0] != workerHTTP || !slices.Contains(names, workerEmergency) {
		t.Errorf("workers %v", names)
	}
	if strings.Contains(body, testSecret) {
		t.Error("the secret is on the status page")
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestSecondServiceOnOneDataFolderIsRefused(t *testing.T) {
	resolved := loadSettings(t, nil)
	first, err := New(Config{Settings: resolved})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, first)
	second, err := New(Config{Settings: resolved})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "in use by another Weatherlight (process ") {
		t.Errorf("the second service: %v", err)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestServiceWithoutHTTPRuns(t *testing.T) {
	r := start(t, newService(t, map[string]string{"WEATHERLIGHT_HTTP_ADDR": "off"}))
	if got := r.HTTPAddr(); got != "off" {
		t.Errorf("address %s", got)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestStopOnADeadBusEndsAndSaysWhatWasLost(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	redis.Kill()
	err := r.stop(t)
	if err == nil || !strings.Contains(err.Error(), "publish last summary") {
		t.Errorf("stop = %v, want that the last summary was lost", err)
	}
}
