package weatherlight

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/internal/notifytest"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal/shmsignaltest"
)

// A service with every setting that starts a worker boots as the outline says.
func TestServiceBootsAsItsOutlineSays(t *testing.T) {
	notifytest.Listen(t)
	t.Setenv("WATCHDOG_USEC", "10000000")
	rollback, _ := shmsignaltest.Name(t)
	emergency, _ := shmsignaltest.Name(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(testSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	resolved := loadSettings(t, map[string]string{
		"TOLARIA_ROLLBACK_SIGNAL_NAME": rollback, "TOLARIA_EMERGENCY_SIGNAL_NAME": emergency,
		"NISSA_URL": "http://127.0.0.1:1", "TEZZERET_FORGE_ON_START": "true",
		"ESPER_LEYLINE_SECRET": "", "ESPER_LEYLINE_SECRET_FILE": secret,
	})
	var booted []string
	service, err := New(Config{Settings: resolved, OnBoot: func(trace supervise.Trace) { booted = append(booted, trace.Step) }})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, service)
	var steps, workers, finite []string
	for _, step := range Outline() {
		steps = append(steps, step.Name)
		for _, worker := range step.Workers {
			workers = append(workers, worker.Name)
			if worker.Finite {
				finite = append(finite, worker.Name)
			}
		}
	}
	if diff := cmp.Diff(steps, booted); diff != "" {
		t.Errorf("steps (-outline +service):\n%s", diff)
	}
	var started, ended []string
	eventually(t, "every finite worker is done", func() bool {
		started, ended = nil, nil
		for _, status := range service.supervisor.Status() {
			started = append(started, status.Name)
			if status.State == supervise.Finished {
				ended = append(ended, status.Name)
			}
		}
		return slices.Equal(ended, finite)
	})
	if diff := cmp.Diff(workers, started); diff != "" {
		t.Errorf("workers (-outline +service):\n%s", diff)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
