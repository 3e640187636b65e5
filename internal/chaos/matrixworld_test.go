package chaos_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/faultproxy"
	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/proctest"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona"
)

// binaries are the built commands, once for all tests.
var binaries struct {
	folder string
	build  func() error
}

// prepareBinaries returns what removes them.
func prepareBinaries() (remove func()) {
	folder, err := os.MkdirTemp("", "weatherlight-chaos-")
	binaries.folder = folder
	binaries.build = sync.OnceValue(func() error {
		if err != nil {
			return err
		}
		return proctest.Build(filepath.Join("..", ".."), folder)
	})
	return func() { _ = os.RemoveAll(folder) }
}

// site is a service, or two, and Nissa around one bus, as built and as its users meet it.
type site struct {
	t         *testing.T
	server    *redistest.Server   // the bus, or the node that is struck
	standby   *redistest.Server   // its replica, nil without
	cluster   *redistest.Cluster  // nil for one server
	nodes     []*redistest.Server // of a cluster
	proxy     *faultproxy.Proxy   // before the bus, nil before a cluster
	side      *faultproxy.Proxy   // the way of who watches, which no fault is on
	url       string              // of the bus, as services and peers have it
	redis     rueidis.Client      // the bus itself
	folder    string
	environ   []string
	instances []*instance
	nissa     string // host:port
}

// instance is one service.
type instance struct {
	folder  string
	environ []string
	process *proctest.Process
	http    string // host:port
}

// newSite has one bus, and nothing that runs on it yet.
func newSite(t *testing.T, clock *redistest.Clock) *site {
	t.Helper()
	server := redistest.StartWith(t, clock, redistest.AOF()...)
	s := &site{t: t, server: server, proxy: proxyTo(t, server.Addr), side: proxyTo(t, server.Addr)}
	s.redis = raw(t, "redis://"+s.side.Addr()+"/0")
	s.settle("redis://" + s.proxy.Addr() + "/0")
	return s
}

func (s *site) settle(url string) {
	s.url, s.folder = url, s.t.TempDir()
	s.environ = []string{
		"ESPER_LEYLINE_SECRET=" + secret, "REDIS_URL=" + url, "WEATHERLIGHT_HTTP_ADDR=127.0.0.1:0",
		"WEATHERLIGHT_TELEMETRY_INTERVAL=1s",
	}
}

func proxyTo(t *testing.T, addr string) *faultproxy.Proxy {
	t.Helper()
	proxy, err := faultproxy.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	return proxy
}

// instance adds a service, which boots with the library forged.
func (s *site) instance(name string, environ ...string) *instance {
	s.t.Helper()
	folder := filepath.Join(s.folder, name)
	if err := os.MkdirAll(folder, 0o750); err != nil {
		s.t.Fatal(err)
	}
	i := &instance{folder: folder, environ: slices.Concat(s.environ, []string{"WEATHERLIGHT_INSTANCE=" + name}, environ)}
	s.instances = append(s.instances, i)
	i.boot(s.t)
	return i
}

func (i *instance) boot(t *testing.T) {
	t.Helper()
	i.process = proctest.Launch(t, i.folder, i.environ, filepath.Join(binaries.folder, "esper-weatherlight-service"))
	await(t, "the service is ready", func() bool {
		if !i.process.Running() {
			t.Fatalf("the service ended with exit code %d at boot", i.process.Code())
		}
		i.http = loggedAddress(i.process.Stderr.String())
		return i.http != ""
	})
}

// loggedAddress is where a service says that it is ready.
func loggedAddress(log string) (addr string) {
	for line := range strings.Lines(log) {
		var record struct{ Msg, HTTP string }
		if json.Unmarshal([]byte(line), &record) == nil && record.Msg == "ready" {
			addr = record.HTTP
		}
	}
	return addr
}

// forged waits until the forge has been over the catalogue.
func (i *instance) forged(t *testing.T) {
	t.Helper()
	await(t, "the forge is done", func() bool {
		var status struct {
			Forge struct{ Compiled, Present, Refused, Failed int }
		}
		_, body, err := get(i.http, "/status")
		f := &status.Forge
		return err == nil && json.Unmarshal([]byte(body), &status) == nil && f.Compiled+f.Present+f.Refused+f.Failed == 50
	})
}

// cold boots the service again with a full library of which it remembers nothing.
func (i *instance) cold(t *testing.T) {
	t.Helper()
	i.process.Signal(syscall.SIGTERM) // a kill would leave the catalogue in its log
	if code := i.process.Code(); code != 0 {
		t.Fatalf("the service stopped with exit code %d", code)
	}
	i.environ = append(i.environ, "TEZZERET_FORGE_ON_START=false")
	i.boot(t)
}

// watch starts Nissa.
func (s *site) watch() {
	s.t.Helper()
	s.nissa = freeport.Must(s.t)
	environ := append(slices.Clip(s.environ), "NISSA_HTTP_ADDR="+s.nissa)
	proctest.Launch(s.t, s.t.TempDir(), environ, filepath.Join(binaries.folder, "esper-nissa-service"))
	await(s.t, "Nissa is ready", func() bool {
		code, _, err := get(s.nissa, "/readyz")
		return err == nil && code == http.StatusOK
	})
}

// peer is a client of the bus like those of trainers and controllers.
func (s *site) peer() *oona.Client {
	s.t.Helper()
	return connect(s.t, oona.Config{URL: s.url, MaxStreamLength: unbounded})
}

func get(addr, path string) (code int, body string, err error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + addr + path)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// await polls until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); !holds(); pause(context.Background(), 20*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// keyed runs a command about one key, on whichever node has it.
func keyed(client rueidis.Client, name, key string, words ...string) rueidis.RedisResult {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return client.Do(ctx, client.B().Arbitrary(name).Keys(key).Args(words...).Build())
}
