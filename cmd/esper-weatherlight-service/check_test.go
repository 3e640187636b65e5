package main

import (
	"bytes"
	"errors"
	"flag"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// environment points every setting that a check looks at into the test's own
// folder.
func environment(t *testing.T, pairs ...string) {
	t.Helper()
	folder := t.TempDir()
	t.Chdir(folder)
	for i := 0; i+1 < len(pairs); i += 2 {
		t.Setenv(pairs[i], pairs[i+1])
	}
	t.Setenv("WEATHERLIGHT_DATA_DIR", filepath.Join(folder, "data"))
	t.Setenv("URZA_ARTIFACT_DIR", filepath.Join(folder, "artifacts"))
	t.Setenv("TAMIYO_POLICY_DIR", filepath.Join(folder, "policies"))
	t.Setenv("URZA_DATABASE_URL", "sqlite:///"+filepath.Join(folder, "catalog.db"))
}

func TestCheckExitsAsTheStartWould(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		name                 string
		secret, redis, http  string
		code                 int
		failed, passed, says string
	}{
		{"sound", "a secret of some length", "embedded:", "127.0.0.1:0", process.ExitClean, "", "data folder", "embedded"},
		{"no secret", "", "embedded:", "off", process.ExitConfiguration, "secret", "bus", "ESPER_LEYLINE_SECRET"},
		{"no redis", "a secret of some length", "redis://127.0.0.1:1/0", "off", process.ExitDependency, "bus", "secret", "127.0.0.1:1"},
		{"port taken", "a secret of some length", "embedded:", taken.Addr().String(), process.ExitDependency, "http port", "bus", "in use"},
		{"both", "", "redis://127.0.0.1:1/0", "off", process.ExitConfiguration, "bus", "clock", "refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			environment(t, "ESPER_LEYLINE_SECRET", test.secret, "REDIS_URL", test.redis, "WEATHERLIGHT_HTTP_ADDR", test.http)
			var out bytes.Buffer
			err := check(t.Context(), &out)
			if got := process.ExitCode(err); got != test.code {
				t.Errorf("exit code %d, want %d (%v)", got, test.code, err)
			}
			lines := make(map[string]string)
			for line := range strings.Lines(out.String()) {
				for _, name := range []string{"settings", "secret", "bus", "clock", "catalogue", "kernel files", "policies", "data folder", "http port", "shared memory", "service manager"} {
					if strings.HasPrefix(line, name+" ") {
						lines[name] = line
					}
				}
			}
			if len(lines) != 11 {
				t.Errorf("table:\n%s", out.String())
			}
			if test.failed != "" && !strings.Contains(lines[test.failed], "FAILED") || !strings.Contains(lines[test.passed], " ok ") ||
				!strings.Contains(out.String(), test.says) {
				t.Errorf("table:\n%s", out.String())
			}
		})
	}
}

func TestCheckListsTheFaultsOfTheSettings(t *testing.T) {
	environment(t, "KERNEL_NONCE_CACHE_SIZE", "many")
	var out bytes.Buffer
	if code := process.ExitCode(check(t.Context(), &out)); code != process.ExitConfiguration {
		t.Errorf("exit code %d", code)
	}
}

func TestCommandLine(t *testing.T) {
	for _, test := range []struct {
		args []string
		want options
		code int
	}{
		{nil, options{}, process.ExitClean},
		{[]string{"--check"}, options{check: true}, process.ExitClean},
		{[]string{"-check"}, options{check: true}, process.ExitClean},
		{[]string{"--version"}, options{version: true}, process.ExitClean},
		{[]string{"--dev"}, options{dev: true}, process.ExitClean},
		{[]string{"--dev-dir", "x"}, options{dev: true, devDir: "x"}, process.ExitClean},
		{[]string{"--dev", "--check"}, options{}, process.ExitConfiguration},
		{[]string{"--check", "--dev-dir", "x"}, options{}, process.ExitConfiguration},
		{[]string{"--dev-dir"}, options{}, process.ExitConfiguration},
		{[]string{"--chek"}, options{}, process.ExitConfiguration},
		{[]string{"now"}, options{}, process.ExitConfiguration},
	} {
		asked, err := parse(test.args)
		if asked != test.want || process.ExitCode(err) != test.code {
			t.Errorf("%v: %+v, %v", test.args, asked, err)
		}
	}
	if _, err := parse([]string{"--help"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("help: %v", err)
	}
}
