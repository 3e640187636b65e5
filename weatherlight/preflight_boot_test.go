package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/faultproxy"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/internal/health"
	"github.com/esper-lite/weatherlight/weatherlight/preflight"
)

// What the boot stumbles over, the preflight has told before, and in its words; what it does
// not, neither.
func TestR33R35CheckAndBootSayTheSameOfEachFault(t *testing.T) {
	for _, fault := range slices.Concat(busFaults(), listenerFaults(), diskFaults(), placeFaults()) {
		t.Run(fault.name, func(t *testing.T) {
			redis := redistest.Start(t, redistest.AOF()...)
			resolved := loadSettings(t, map[string]string{"REDIS_URL": redis.URL, "ESPER_LEYLINE_SECRET": "sixteen bytes at least"})
			if fault.spoil != nil {
				fault.spoil(t, redis, resolved)
			}
			checks := preflight.Run(t.Context(), resolved)
			for _, check := range checks {
				want, named := preflight.Passed, slices.Contains(strings.Split(fault.check, ", "), check.Name)
				switch {
				case named && fault.warns:
					want = preflight.Warned
				case named:
					want = preflight.Failed
				case check.Name == "rights" && fault.check == "bus":
					continue // not asked
				}
				if check.Result != want || named && !strings.Contains(check.Detail, fault.says) ||
					check.Configuration != (named && fault.configuration) {
					t.Errorf("%+v, want %s and %q", check, want, fault.says)
				}
			}
			service, err := New(Config{Settings: resolved})
			if err != nil {
				t.Fatal(err)
			}
			if fault.says == "" || fault.warns {
				if err := start(t, service).stop(t); err != nil {
					t.Errorf("the boot: %v", err)
				}
				return
			}
			err = service.Run(t.Context())
			var failure *supervise.BootError
			if !errors.As(err, &failure) || !strings.Contains(err.Error(), fault.says) {
				t.Errorf("the boot says %v, not %q", err, fault.says)
			}
		})
	}
}

// One that turns to evicting while a service runs is an alarm.
func TestR35BusThatBeginsToEvictIsAnAlarm(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	raised := func() bool {
		return slices.ContainsFunc(r.health.Alarms(), func(a health.Alarm) bool {
			return a.Name == "bus_evicts" && strings.Contains(a.Detail, "allkeys-lru")
		})
	}
	tell(t, redis, "CONFIG", "SET", "maxmemory", "1gb")
	tell(t, redis, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	eventually(t, "the alarm is raised", raised)
	tell(t, redis, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	eventually(t, "the alarm has ended", func() bool { return !raised() })
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

// A bus that has no memory left refuses all that a service has to say.
func TestBusThatRefusesWritesIsAnAlarm(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	told := func() bool {
		return strings.Contains(r.notReady(t.Context()), "bus_refuses_writes") && strings.Contains(r.notReady(t.Context()), "OOM")
	}
	tell(t, redis, "CONFIG", "SET", "maxmemory", "1")
	eventually(t, "the service is not ready, and says why", told)
	tell(t, redis, "CONFIG", "SET", "maxmemory", "0")
	eventually(t, "the service is ready", func() bool { return r.notReady(t.Context()) == "" })
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

// A service that has run leaves what the next preflight looks at, and that looks on.
func TestPreflightBetweenTwoStartsPassesAndLeavesEveryFile(t *testing.T) {
	redis := redistest.Start(t, redistest.AOF()...)
	resolved := loadSettings(t, map[string]string{"REDIS_URL": redis.URL, "ESPER_LEYLINE_SECRET": "sixteen bytes at least"})
	service, err := New(Config{Settings: resolved})
	if err != nil {
		t.Fatal(err)
	}
	if err := start(t, service).stop(t); err != nil {
		t.Fatal(err)
	}
	files := func() (paths []string) {
		err := filepath.WalkDir(filepath.Dir(resolved.Weatherlight.DataDir), func(path string, _ fs.DirEntry, err error) error {
			paths = append(paths, path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return paths
	}
	before := files()
	for _, check := range preflight.Run(t.Context(), resolved) {
		if check.Result != preflight.Passed {
			t.Errorf("%+v", check)
		}
	}
	if diff := cmp.Diff(before, files()); diff != "" {
		t.Errorf("the preflight leaves behind (-before +after):\n%s", diff)
	}
}

// anotherTime has a server answer TIME with a clock that is off.
func anotherTime(seconds int64) func([]byte) []byte {
	answered := regexp.MustCompile(`(\*2\r\n\$10\r\n)(\d{10})(\r\n\$\d\r\n)`)
	return func(answer []byte) []byte {
		return answered.ReplaceAllFunc(answer, func(found []byte) []byte {
			parts := answered.FindSubmatch(found)
			at, _ := strconv.ParseInt(string(parts[2]), 10, 64) // ten digits
			return fmt.Appendf(nil, "%s%d%s", parts[1], at+seconds, parts[3])
		})
	}
}

// anotherVersion has a server answer INFO as one of long ago.
func anotherVersion(answer []byte) []byte {
	return regexp.MustCompile(`(redis_version:)\d`).ReplaceAll(answer, []byte("${1}4"))
}

func TestBootRefusesAnOldBusAndOneOfAnotherTime(t *testing.T) {
	for _, test := range []struct {
		name, check, says string
		rewrite           func([]byte) []byte
	}{
		{"old", "bus", "is too old", anotherVersion},
		{"ahead", "clock", "ahead of ours", anotherTime(60)},
		{"behind", "clock", "behind ours", anotherTime(-60)},
	} {
		t.Run(test.name, func(t *testing.T) {
			redis := redistest.Start(t)
			leaks := goleak.IgnoreCurrent()
			proxy, err := faultproxy.Start(redis.Addr)
			if err != nil {
				t.Fatal(err)
			}
			proxy.Rewrite(test.rewrite)
			resolved := loadSettings(t, map[string]string{"REDIS_URL": "redis://" + proxy.Addr() + "/0"})
			if check := named(t, preflight.Run(t.Context(), resolved), test.check); check.Result != preflight.Failed || !strings.Contains(check.Detail, test.says) {
				t.Errorf("%+v does not say %q", check, test.says)
			}
			// One that boots all the same is stopped by the next step.
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			service, err := New(Config{Settings: resolved, OnBoot: func(trace supervise.Trace) {
				if trace.Step == bootList[2] {
					cancel()
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			err = service.Run(ctx)
			var failure *supervise.BootError
			if !errors.As(err, &failure) || failure.Step != bootList[1] || !strings.Contains(err.Error(), test.says) {
				t.Errorf("the boot says %v, not %q", err, test.says)
			}
			if err := proxy.Close(); err != nil {
				t.Error(err)
			}
			wantNoLeaks(t, leaks)
		})
	}
}
