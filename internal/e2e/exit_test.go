package e2e

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/redistest"
)

const (
	exitConfiguration = 2
	exitDependency    = 3
	exitStopped       = 130
	password          = "hunter2-top-secret"
	nissaService      = "esper-nissa-service"
)

func TestConfigurationFaultsExitTwo(t *testing.T) {
	begin(t)
	withSecret := "ESPER_LEYLINE_SECRET=" + secret
	for name, table := range map[string]struct {
		environ []string
		says    []string
	}{
		"missing secret": {nil, []string{"ESPER_LEYLINE_SECRET"}},
		"empty secret":   {[]string{"ESPER_LEYLINE_SECRET="}, []string{"ESPER_LEYLINE_SECRET"}},
		"blank secret":   {[]string{"ESPER_LEYLINE_SECRET=  \t "}, []string{"ESPER_LEYLINE_SECRET"}},
		"three malformed settings": {
			[]string{withSecret, "REDIS_URL=gopher://x", "KERNEL_NONCE_CACHE_SIZE=many", "WEATHERLIGHT_TELEMETRY_INTERVAL=soon"},
			[]string{"REDIS_URL", "KERNEL_NONCE_CACHE_SIZE", "WEATHERLIGHT_TELEMETRY_INTERVAL"},
		},
		"malformed settings and no secret": {
			[]string{"KERNEL_NONCE_CACHE_SIZE=many"}, []string{"KERNEL_NONCE_CACHE_SIZE", "ESPER_LEYLINE_SECRET"},
		},
		"malformed URL with a password": {
			[]string{withSecret, "REDIS_URL=redis://user:" + password + "@host:port:port/0"}, []string{"REDIS_URL"},
		},
	} {
		for _, command := range []string{service, nissaService} {
			p := launch(t, t.TempDir(), table.environ, command)
			if code, _ := p.exit(patience); code != exitConfiguration {
				t.Errorf("%s, %s: exit code %d, want %d", command, name, code, exitConfiguration)
			}
			said := p.stderr.String()
			first, _, _ := strings.Cut(said, "\n")
			mustSay(t, command+", "+name, first, table.says...)
			mustNotSay(t, command+", "+name, said+p.stdout.String(), password)
			if lines := strings.Count(said, "\n"); lines != 1 {
				t.Errorf("%s, %s: %d lines, want 1:\n%s", command, name, lines, said)
			}
		}
	}
}

// TestCrashIsNoFaultOfTheConfiguration: a service manager, whose watchdog ends what
// hangs by SIGABRT, restarts a process that died by a signal, and none that said 2.
func TestCrashIsNoFaultOfTheConfiguration(t *testing.T) {
	begin(t)
	w := newWorld(t)
	for _, crash := range []syscall.Signal{syscall.SIGABRT, syscall.SIGQUIT} {
		w.boot()
		w.process.mustDieOf(crash)
		addr := freeport.Must(t)
		nissa := launch(t, t.TempDir(), append(slices.Clone(w.environ), "NISSA_HTTP_ADDR="+addr), nissaService)
		eventually(t, "Nissa is ready", patience, func() bool {
			code, _, err := get(addr, "/readyz")
			return err == nil && code == http.StatusOK
		})
		nissa.mustDieOf(crash)
	}
}

// mustDieOf sends a signal that the runtime answers with a crash.
func (p *process) mustDieOf(crash syscall.Signal) {
	p.t.Helper()
	p.signal(crash)
	code, _ := p.exit(patience)
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		p.t.Errorf("%s exits with %d on %v, and does not die by a signal", filepath.Base(p.cmd.Path), code, crash)
	}
}

func TestSecretFromTheEnvFileIsEnough(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.environ = slices.DeleteFunc(w.environ, func(pair string) bool { return strings.HasPrefix(pair, "ESPER_LEYLINE_SECRET") })
	file := filepath.Join(w.folder, ".env")
	if err := os.WriteFile(file, []byte("ESPER_LEYLINE_SECRET="+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.boot()
	w.ask("dotenv", missing, patience)
	mustNotSay(t, "the log", w.process.stderr.String(), secret)
	w.stop()
}

// TestUnreachableRedisExitsThree: closed says no, deaf takes the connection and
// says nothing.
func TestUnreachableRedisExitsThree(t *testing.T) {
	begin(t)
	closed := freeport.Must(t)
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	locked := redistest.Start(t)
	newRedisClient(t, locked.Addr).do("CONFIG", "SET", "requirepass", "another")
	for name, table := range map[string]struct{ addr, cause string }{
		"closed":         {closed, "refused"},
		"deaf":           {deaf.Addr().String(), ""},
		"wrong password": {locked.Addr, "WRONGPASS"},
	} {
		for _, command := range []string{service, nissaService} {
			environ := []string{
				"ESPER_LEYLINE_SECRET=" + secret, "REDIS_URL=redis://:" + password + "@" + table.addr + "/0",
				"WEATHERLIGHT_HTTP_ADDR=127.0.0.1:0", "NISSA_HTTP_ADDR=" + freeport.Must(t),
			}
			begun := time.Now()
			p := launch(t, t.TempDir(), environ, command)
			code, _ := p.exit(patience)
			if took := time.Since(begun); code != exitDependency || took > 5*time.Second {
				t.Errorf("%s, %s: exit code %d after %s, want %d within 5 s", command, name, code, took, exitDependency)
			}
			mustSay(t, command+", "+name, reportLines(p.stderr.String()), table.addr, table.cause)
			mustNotSay(t, command+", "+name, p.stderr.String()+p.stdout.String(), password)
		}
	}
}

func TestPasswordOfRedisIsNeverPrinted(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bus.do("CONFIG", "SET", "requirepass", password)
	w.bus.do("AUTH", password)
	w.environ = append(w.environ, "REDIS_URL=redis://:"+password+"@"+w.redis.Addr+"/0", "ESP_LOG_LEVEL=DEBUG")
	w.boot()
	w.ask("locked", missing, patience)
	for _, path := range []string{"/status", "/metrics", "/readyz", "/healthz"} {
		_, body := w.get(path)
		mustNotSay(t, path, body, password)
	}
	w.stop()
	mustNotSay(t, "the log", w.process.stderr.String()+w.process.stdout.String(), password)
}

func TestSecondServiceLeavesTheFirstAlone(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.boot()
	for name, table := range map[string]struct{ folder, http, says string }{
		"same data folder": {w.folder, "127.0.0.1:0", "in use"},
		"same port":        {t.TempDir(), w.http, "WEATHERLIGHT_HTTP_ADDR"},
	} {
		environ := append(slices.Clone(w.environ), "WEATHERLIGHT_HTTP_ADDR="+table.http)
		p := launch(t, table.folder, environ, service)
		if code, _ := p.exit(patience); code != exitDependency {
			t.Errorf("%s: exit code %d, want %d", name, code, exitDependency)
		}
		mustSay(t, name, reportLines(p.stderr.String()), table.says)
		if code, _ := w.get("/readyz"); code != http.StatusOK {
			t.Errorf("%s: /readyz of the first service is %d", name, code)
		}
		w.ask("first still answers: "+name, missing, patience)
	}
	w.stop()
}
