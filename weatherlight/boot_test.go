package weatherlight

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/supervise"
)

// bootList is the order that operators know.
var bootList = []string{
	"data folder and HTTP listener", "oona connection", "streams and groups", "urza catalogue", "urza prefetch worker",
	"kasmina coordinator", "tamiyo and command consumer", "tezzeret forge", "loops", "ready",
}

// diary notes the steps as they start and stop.
type diary struct{ entries []string }

func (d *diary) keep(steps []supervise.Step) []supervise.Step {
	for i, step := range steps {
		steps[i].Start = func(ctx context.Context) error {
			if err := step.Start(ctx); err != nil {
				return err
			}
			d.entries = append(d.entries, "start "+step.Name)
			return nil
		}
		steps[i].Stop = func(ctx context.Context) error {
			d.entries = append(d.entries, "stop "+step.Name)
			if step.Stop == nil {
				return nil
			}
			return step.Stop(ctx)
		}
	}
	return steps
}

func rolledBack(failing int) []string {
	var want []string
	for _, name := range bootList[:failing] {
		want = append(want, "start "+name)
	}
	for _, name := range slices.Backward(bootList[:failing]) {
		want = append(want, "stop "+name)
	}
	return want
}

func TestFailedBootStepTakesDownExactlyWhatWasUp(t *testing.T) {
	redis := redistest.Start(t)
	for _, bus := range []string{"embedded:", redis.URL} {
		for failing, name := range bootList {
			t.Run(strings.SplitN(bus, ":", 2)[0]+"/"+name, func(t *testing.T) {
				leaks := goleak.IgnoreCurrent()
				service := newService(t, map[string]string{"REDIS_URL": bus})
				steps := service.steps()
				steps[failing].Start = func(context.Context) error { return errBroken }
				kept := &diary{}
				booted, err := supervise.Boot(t.Context(), kept.keep(steps), service.bootLog.Step)
				var failure *supervise.BootError
				if !errors.As(err, &failure) || failure.Step != name || !errors.Is(err, errBroken) || booted != nil {
					t.Fatalf("Boot = %v, want step %q", err, name)
				}
				if failure.Teardown != nil {
					t.Errorf("taking down: %v", failure.Teardown)
				}
				if diff := cmp.Diff(rolledBack(failing), kept.entries); diff != "" {
					t.Error("steps (-want +got):", diff)
				}
				wantNoLeaks(t, leaks)
			})
		}
	}
}

func TestBootAndStopFollowOneList(t *testing.T) {
	for range 5 {
		service := newService(t, nil)
		kept := &diary{}
		booted, err := supervise.Boot(t.Context(), kept.keep(service.steps()), service.bootLog.Step)
		if err != nil {
			t.Fatal(err)
		}
		if err := booted.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(rolledBack(len(bootList)), kept.entries); diff != "" {
			t.Error("steps (-want +got):", diff)
		}
		for i, step := range service.bootLog.Steps() {
			if step.Step != bootList[i] || step.Err != nil || step.Took < 0 {
				t.Errorf("trace %d: %+v, want %s", i, step, bootList[i])
			}
		}
	}
}

// The page that shows the list to readers shows this one.
func TestArchitecturePageShowsTheBootList(t *testing.T) {
	page, err := os.ReadFile("../docs/architecture.md")
	if errors.Is(err, os.ErrNotExist) {
		t.Log("docs/architecture.md is not there")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	text, last := string(page), -1
	for _, name := range bootList {
		at := strings.Index(text[last+1:], name)
		if at < 0 {
			t.Fatalf("docs/architecture.md does not name the boot step %q after the one before it", name)
		}
		last += 1 + at
	}
}

// What really goes wrong at a boot, and the step that the first line names.
func TestBootFailureNamesItsStepAndCause(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("not a database, and not a folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, variable, value, step, cause string }{
		{"port in use", "WEATHERLIGHT_HTTP_ADDR", taken.Addr().String(), bootList[0], "WEATHERLIGHT_HTTP_ADDR " + taken.Addr().String()},
		{"data folder is a file", "WEATHERLIGHT_DATA_DIR", file, bootList[0], file},
		{"no redis", "REDIS_URL", "redis://:pa55@127.0.0.1:1/0", bootList[1], "127.0.0.1:1"},
		{"catalogue is no database", "URZA_DATABASE_URL", "sqlite:///" + file, bootList[3], file},
		{"artifact folder is a file", "URZA_ARTIFACT_DIR", file, bootList[3], file},
		{"policy folder is a file", "TAMIYO_POLICY_DIR", file, bootList[6], file},
	} {
		t.Run(test.name, func(t *testing.T) {
			leaks := goleak.IgnoreCurrent()
			service := newService(t, map[string]string{test.variable: test.value})
			err := service.Run(t.Context())
			var failure *supervise.BootError
			if !errors.As(err, &failure) || failure.Step != test.step {
				t.Fatalf("Run = %v, want a failure of step %q", err, test.step)
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			if !strings.Contains(first, test.step) || !strings.Contains(first, test.cause) {
				t.Errorf("first line %q does not name %q and %q", first, test.step, test.cause)
			}
			if strings.Contains(err.Error(), "pa55") {
				t.Errorf("the password is in %q", err)
			}
			wantNoLeaks(t, leaks)
		})
	}
}

func TestUnreachableRedisIsAConnectError(t *testing.T) {
	redis := redistest.Start(t)
	redis.Kill()
	err := newService(t, map[string]string{"REDIS_URL": redis.URL}).Run(t.Context())
	var unreachable *oona.ConnectError
	if !errors.As(err, &unreachable) || unreachable.Addr != redis.Addr {
		t.Errorf("Run = %v, want a ConnectError of %s", err, redis.Addr)
	}
}

func TestSignalDuringTheBootIsACleanStop(t *testing.T) {
	for _, name := range bootList {
		t.Run(name, func(t *testing.T) {
			leaks := goleak.IgnoreCurrent()
			ctx, cancel := context.WithCancel(t.Context())
			service, err := New(Config{Settings: loadSettings(t, nil), OnBoot: func(trace supervise.Trace) {
				if trace.Step == name {
					cancel()
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if err := service.Run(ctx); err != nil {
				t.Errorf("Run = %v", err)
			}
			wantNoLeaks(t, leaks)
		})
	}
}

func TestSignalAtAnyMomentOfTheBootLeavesNothingBehind(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	for i := range 40 {
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(time.Duration(i)*time.Millisecond, cancel)
		if err := newService(t, nil).Run(ctx); err != nil {
			t.Errorf("stopped after %d ms: %v", i, err)
		}
		timer.Stop()
	}
	wantNoLeaks(t, leaks)
}

func TestBrokerThatNobodyWaitsForIsClosed(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := startBroker(ctx, newService(t, nil).foundation); !errors.Is(err, context.Canceled) {
		t.Errorf("startBroker = %v", err)
	}
	wantNoLeaks(t, leaks)
}

func TestBlankSecretIsAFaultOfTheConfiguration(t *testing.T) {
	resolved := loadSettings(t, nil)
	blank := *resolved
	blank.Secret = settings.NewSecret("  ")
	if _, err := New(Config{Settings: &blank}); err == nil || !strings.Contains(err.Error(), "ESPER_LEYLINE_SECRET") {
		t.Errorf("New = %v", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a service without settings")
	}
}
