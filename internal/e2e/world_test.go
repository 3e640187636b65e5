package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

const (
	service = "esper-weatherlight-service"
	secret  = "e2e-secret-0123456789"
	group   = "weatherlight"

	streamNormal     = "oona.normal"
	streamTelemetry  = "oona.telemetry"
	streamRequests   = "oona.kernels.requests"
	streamReady      = "oona.kernels.ready"
	streamErrors     = "oona.kernels.errors"
	streamDeadLetter = "oona.deadletter"
	streamPolicy     = "oona.policy"

	// stopBound is how long a stop may take.
	stopBound = 10 * time.Second
)

// world is one service with its own Redis, folder and port.
type world struct {
	t       *testing.T
	redis   *redistest.Server
	bus     *redisClient
	folder  string // working directory: the default paths are below it
	environ []string
	process *process
	http    string // host:port
}

func newWorld(t *testing.T, redisArgs ...string) *world {
	t.Helper()
	return worldOn(t, redistest.Start(t, redisArgs...))
}

func worldOn(t *testing.T, server *redistest.Server) *world {
	return &world{
		t: t, redis: server, bus: newRedisClient(t, server.Addr), folder: t.TempDir(),
		environ: []string{
			"ESPER_LEYLINE_SECRET=" + secret,
			"REDIS_URL=" + server.URL,
			"WEATHERLIGHT_HTTP_ADDR=127.0.0.1:0",
			"WEATHERLIGHT_INSTANCE=e2e",
			"WEATHERLIGHT_TELEMETRY_INTERVAL=200ms",
		},
	}
}

// boot starts the service and waits until it says that it is ready.
func (w *world) boot() {
	w.t.Helper()
	w.process = launch(w.t, w.folder, w.environ, service)
	eventually(w.t, "the service is ready", patience, func() bool {
		if !w.process.running() {
			w.t.Fatalf("the service ended with exit code %d at boot", w.process.Code())
		}
		ready := w.logged("ready")
		w.http, _ = ready["http"].(string)
		return ready != nil
	})
	if code, _ := w.get("/readyz"); code != http.StatusOK {
		w.t.Fatalf("/readyz is %d after the boot", code)
	}
}

// bootForged boots and waits until the forge has been over the catalogue.
func (w *world) bootForged() {
	w.t.Helper()
	w.boot()
	w.awaitForged()
}

func (w *world) awaitForged() {
	w.t.Helper()
	eventually(w.t, "the forge has been over the catalogue", patience, func() bool {
		var status struct {
			Forge struct{ Compiled, Present, Refused, Failed int }
		}
		_, body := w.get("/status")
		if err := json.Unmarshal([]byte(body), &status); err != nil {
			w.t.Fatalf("/status: %v\n%s", err, body)
		}
		forge := status.Forge
		return forge.Compiled+forge.Present+forge.Refused+forge.Failed == blueprints
	})
}

// blueprints is how many the catalogue holds.
const blueprints = 50

// logged returns the last log line with the message, nil when there is none.
func (w *world) logged(message string) (found map[string]any) {
	for _, record := range w.records() {
		if record["msg"] == message {
			found = record
		}
	}
	return found
}

// records are the log lines so far.
func (w *world) records() (records []map[string]any) {
	for line := range strings.Lines(w.process.stderr.String()) {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) == nil {
			records = append(records, record)
		}
	}
	return records
}

// stop asks the service to end, checks that it does so in good order and
// returns how long it took.
func (w *world) stop() time.Duration {
	w.t.Helper()
	w.process.signal(syscall.SIGTERM)
	code, took := w.process.exit(stopBound)
	if code != 0 {
		w.t.Fatalf("the service stopped with exit code %d after %s", code, took)
	}
	return took
}

func (w *world) get(path string) (code int, body string) {
	w.t.Helper()
	code, body, err := get(w.http, path)
	if err != nil {
		w.t.Fatalf("GET %s: %v", path, err)
	}
	return code, body
}

func get(addr, path string) (code int, body string, err error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + addr + path)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// metric returns the value of one series of /metrics; absent is -1.
func (w *world) metric(series string) float64 {
	w.t.Helper()
	_, body := w.get("/metrics")
	return metricOf(body, series)
}

func metricOf(body, series string) float64 {
	for line := range strings.Lines(body) {
		if text, found := strings.CutPrefix(strings.TrimSpace(line), series+" "); found {
			if value, err := strconv.ParseFloat(text, 64); err == nil {
				return value
			}
		}
	}
	return -1
}

func refusedSeries(reason, stream string) string {
	return `oona_refused_total{reason="` + reason + `",stream="` + stream + `"}`
}

// listedKernel is one line of esperctl kernels list --json.
type listedKernel struct {
	BlueprintID string `json:"blueprint_id"`
	Checksum    string `json:"checksum"`
	ArtifactRef string `json:"artifact_ref"`
	Bytes       int64  `json:"bytes"`
}

// kernels is what esperctl says the library holds, by blueprint.
func (w *world) kernels() map[string]listedKernel {
	w.t.Helper()
	var list []listedKernel
	printed := run(w.t, w.folder, w.environ, "esperctl", "kernels", "list", "--json")
	if err := json.Unmarshal([]byte(printed), &list); err != nil {
		w.t.Fatalf("esperctl kernels list --json: %v\n%s", err, printed)
	}
	kernels := make(map[string]listedKernel, len(list))
	for _, kernel := range list {
		kernels[kernel.BlueprintID] = kernel
	}
	return kernels
}

// compiled is a blueprint that the forge can compile, and missing one that no
// library has.
const (
	compiled = "BP001"
	missing  = "BP999"
)
