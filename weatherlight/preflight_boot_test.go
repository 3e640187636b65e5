package weatherlight

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/faultproxy"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/preflight"
)

// tell gives Redis a command whose answer is OK.
func tell(t *testing.T, redis *redistest.Server, words ...string) {
	t.Helper()
	if reply := replyTo(t, redis, words...); reply != "+OK" {
		t.Fatalf("%v: %s", words, reply)
	}
}

// replyTo is the first line of what Redis answers to a command.
func replyTo(t *testing.T, redis *redistest.Server, words ...string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", redis.Addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s\r\n", strings.Join(words, " ")); err != nil {
		t.Fatal(err)
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	return strings.TrimSpace(reply)
}

// spoil makes a folder, or a file of no known kind, in the data folder.
func spoil(t *testing.T, resolved *settings.Settings, name, content string) {
	t.Helper()
	path := filepath.Join(resolved.Weatherlight.DataDir, name)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if content == "" {
		err = errors.Join(err, os.Mkdir(path, 0o700))
	} else {
		err = errors.Join(err, os.WriteFile(path, []byte(content), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What the boot stumbles over, the preflight has told before, and in its words.
func TestPreflightTellsWhatTheBootStumblesOver(t *testing.T) {
	const garbage = "no database, whatever it is called"
	for _, test := range []struct {
		name, check, says string
		spoil             func(t *testing.T, redis *redistest.Server, resolved *settings.Settings)
	}{
		{"replica", "bus", "READONLY", func(t *testing.T, redis *redistest.Server, _ *settings.Settings) {
			tell(t, redis, "REPLICAOF", "127.0.0.1", "1")
		}},
		{"out of memory", "bus", "OOM", func(t *testing.T, redis *redistest.Server, _ *settings.Settings) {
			tell(t, redis, "CONFIG", "SET", "maxmemory", "1")
		}},
		{"text in place of a stream", "bus", "WRONGTYPE", func(t *testing.T, redis *redistest.Server, _ *settings.Settings) {
			tell(t, redis, "SET", "oona.kernels.requests", "text")
		}},
		{"text in place of a stream", "bus", "WRONGTYPE", func(t *testing.T, redis *redistest.Server, _ *settings.Settings) {
			tell(t, redis, "SET", "oona.kernels.ready", "text")
		}},
		{"spoilt outbox", "data folder", "outbox.db", func(t *testing.T, _ *redistest.Server, resolved *settings.Settings) {
			spoil(t, resolved, "outbox.db", garbage)
		}},
		{"outbox is a folder", "data folder", "outbox.db", func(t *testing.T, _ *redistest.Server, resolved *settings.Settings) {
			spoil(t, resolved, "outbox.db", "")
		}},
		{"name is a folder", "data folder", "instance-id", func(t *testing.T, _ *redistest.Server, resolved *settings.Settings) {
			spoil(t, resolved, "instance-id", "")
		}},
		{"service manager is gone", "service manager", "notify service manager", func(t *testing.T, _ *redistest.Server, resolved *settings.Settings) {
			t.Setenv("NOTIFY_SOCKET", filepath.Join(filepath.Dir(resolved.Weatherlight.DataDir), "nobody"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			redis := redistest.Start(t)
			resolved := loadSettings(t, map[string]string{"REDIS_URL": redis.URL})
			test.spoil(t, redis, resolved)
			check := named(t, preflight.Run(t.Context(), resolved), test.check)
			if check.Result != preflight.Failed || check.Configuration || !strings.Contains(check.Detail, test.says) {
				t.Errorf("%+v does not say %q", check, test.says)
			}
			service, err := New(Config{Settings: resolved})
			if err != nil {
				t.Fatal(err)
			}
			err = service.Run(t.Context())
			var failure *supervise.BootError
			if !errors.As(err, &failure) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("the boot says %v, not %q", err, test.says)
			}
		})
	}
}

// A service that has run leaves what the next preflight looks at, and that looks on.
func TestPreflightBetweenTwoStartsPassesAndLeavesEveryFile(t *testing.T) {
	redis := redistest.Start(t)
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
