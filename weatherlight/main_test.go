package weatherlight

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testSecret = "test-secret"

var errBroken = errors.New("broken")

// patience bounds every wait of these tests; a machine under load takes long.
const patience = 20 * time.Second

// eventually polls until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-poll.C {
		if holds() {
			return
		}
	}
	t.Fatalf("waited %v in vain: %s", patience, what)
}

// wantNoLeaks waits until no goroutine is left but those that were there before:
// one that nobody waits for may be halted at its last step.
func wantNoLeaks(t testing.TB, before goleak.Option) {
	t.Helper()
	leaked := goleak.Find(before)
	for deadline := time.Now().Add(patience); leaked != nil && time.Now().Before(deadline); {
		leaked = goleak.Find(before)
	}
	if leaked != nil {
		t.Error(leaked)
	}
}

// loadSettings resolves settings whose folders are the test's own.
func loadSettings(t testing.TB, extra map[string]string) *settings.Settings {
	t.Helper()
	dir := t.TempDir()
	variables := map[string]string{
		"ESPER_LEYLINE_SECRET":      testSecret,
		"REDIS_URL":                 "embedded:",
		"WEATHERLIGHT_HTTP_ADDR":    "127.0.0.1:0",
		"WEATHERLIGHT_DATA_DIR":     filepath.Join(dir, "data"),
		"WEATHERLIGHT_INSTANCE":     "test",
		"TAMIYO_POLICY_DIR":         filepath.Join(dir, "tamiyo", "policies"),
		"URZA_DATABASE_URL":         "sqlite:///" + filepath.Join(dir, "urza", "catalog.db"),
		"URZA_ARTIFACT_DIR":         filepath.Join(dir, "urza", "artifacts"),
		"TEZZERET_FORGE_ON_START":   "false",
		"KERNEL_NONCE_CACHE_SIZE":   "64",
		"WEATHERLIGHT_BOOT_TIMEOUT": "20s",
		// What goes by the clock must not fall into a test by chance.
		"WEATHERLIGHT_TELEMETRY_INTERVAL":    "1h",
		"WEATHERLIGHT_HOUSEKEEPING_INTERVAL": "1h",
	}
	maps.Copy(variables, extra)
	var environ []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		environ = append(environ, name+"="+variables[name])
	}
	resolved, err := settings.Load(settings.Options{Environ: environ, EnvFile: filepath.Join(dir, "no.env")})
	if err != nil {
		t.Fatalf("settings: %v", err)
	}
	return resolved
}

func newService(t testing.TB, extra map[string]string) *Service {
	t.Helper()
	service, err := New(Config{Settings: loadSettings(t, extra)})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return service
}

// running is a service that was started, and the way to stop it.
type running struct {
	*Service

	cancel context.CancelFunc
	done   chan error
}

func start(t testing.TB, service *Service) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Service: service, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- service.Run(ctx) }()
	t.Cleanup(cancel)
	select {
	case <-service.Ready():
	case err := <-r.done:
		t.Fatalf("the boot failed: %v", err)
	case <-time.After(patience):
		t.Fatal("not ready")
	}
	return r
}

// stop stops the service and returns what Run returned.
func (r *running) stop(t testing.TB) error {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		return err
	case <-time.After(patience):
		t.Fatal("the service did not stop")
		return nil
	}
}

// ask makes one HTTP request on a connection of its own.
func ask(t testing.TB, service *Service, path string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://" + service.HTTPAddr() + path)
	if err != nil {
		t.Errorf("GET %s: %v", path, err)
		return 0, ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("GET %s: %v", path, err)
	}
	return response.StatusCode, string(body)
}

// connect is a peer on the bus with a group of its own.
func connect(t testing.TB, url, group string) *oona.Client {
	t.Helper()
	keyring, err := signing.NewKeyring(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	client, err := oona.Connect(t.Context(), oona.Config{URL: url, Group: group, Consumer: "peer", Keyring: keyring})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// listener collects what travels on one stream.
type listener struct {
	mu   sync.Mutex
	seen []*oona.Delivery
}

// listen reads a stream from its beginning, for a group of its own, until the
// test ends.
func listen(t testing.TB, bus *oona.Client, stream, group string, types ...leyline.BusMessageType) *listener {
	t.Helper()
	l := &listener{}
	handlers := make(map[leyline.BusMessageType]oona.Handler)
	for _, kind := range types {
		handlers[kind] = l.take
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- bus.Consume(ctx, ctx, oona.Subscription{Stream: stream, Group: group, Handlers: handlers, Concurrency: 1})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("listen on %s: %v", stream, err)
		}
	})
	return l
}

func (l *listener) take(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, d)
	return nil, nil
}

func (l *listener) deliveries() []*oona.Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.seen)
}

// packets are the telemetry packets heard so far.
func (l *listener) packets() []*leyline.TelemetryPacket {
	return heardOf[*leyline.TelemetryPacket](l)
}

func heardOf[M proto.Message](l *listener) []M {
	var found []M
	for _, d := range l.deliveries() {
		if m, ok := d.Payload.(M); ok {
			found = append(found, m)
		}
	}
	return found
}

// metrics are the points of a packet by name; labels follow the name.
func metricsOf(packet *leyline.TelemetryPacket) map[string]float64 {
	found := make(map[string]float64)
	for _, point := range packet.GetMetrics() {
		found[point.GetName()] = point.GetValue()
	}
	return found
}

const (
	notice = leyline.EmergencyLevel_EMERGENCY_LEVEL_NOTICE
	halt   = leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT
)
