package nissa

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/supervise/supervisetest"
)

const (
	secret  = "test-secret"
	patient = 15 * time.Second // longest wait for something that must happen
)

func onEveryBus(t *testing.T, test func(t *testing.T, url string)) {
	t.Parallel()
	t.Run("redis", func(t *testing.T) { t.Parallel(); test(t, redistest.Start(t).URL) })
	t.Run("embedded", func(t *testing.T) { t.Parallel(); test(t, embeddedURL(t)) })
}

func embeddedURL(t testing.TB) string {
	t.Helper()
	b, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b.URL()
}

func connect(t testing.TB, url, withSecret string) *oona.Client {
	t.Helper()
	return connectAs(t, url, withSecret, "c")
}

func connectAs(t testing.TB, url, withSecret, consumer string) *oona.Client {
	t.Helper()
	keys, err := signing.NewKeyring(withSecret)
	if err != nil {
		t.Fatal(err)
	}
	bus, err := oona.Connect(t.Context(), oona.Config{URL: url, Group: "sender", Consumer: consumer, Keyring: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
	return bus
}

// running is a service between its start and its stop.
type running struct {
	t    testing.TB
	addr string
	stop func()
}

func run(t testing.TB, url string) *running {
	t.Helper()
	return runWith(t, Config{Bus: connect(t, url, secret)})
}

func runWith(t testing.TB, config Config) *running {
	t.Helper()
	config.HTTP.Addr = "127.0.0.1:0"
	service, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var loop sync.WaitGroup
	loop.Go(func() {
		if err := service.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	r := &running{t: t, stop: sync.OnceFunc(func() { cancel(); loop.Wait() })}
	t.Cleanup(r.stop)
	r.eventually("an HTTP address", func() bool { return service.Addr() != "" })
	r.addr = service.Addr()
	return r
}

func (r *running) ready() *running {
	r.t.Helper()
	r.eventually("readiness", func() bool { status, _ := r.get("/readyz"); return status == http.StatusOK })
	return r
}

func (r *running) unready() {
	r.t.Helper()
	r.eventually("unreadiness", func() bool {
		status, _ := r.get("/readyz")
		return status == http.StatusServiceUnavailable
	})
}

func (r *running) get(path string) (int, string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	response, err := client.Get("http://" + r.addr + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(body)
}

func (r *running) eventually(what string, holds func() bool) {
	r.t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); <-poll.C {
		if holds() {
			return
		}
	}
	r.t.Fatalf("no %s within %s", what, patient)
}

func (r *running) shows(line string) {
	r.t.Helper()
	r.eventually(line, func() bool {
		_, body := r.get("/metrics")
		return strings.Contains(body, "\n"+line+"\n")
	})
}

func publish(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhateverIsSaidOnTheBusIsShown(t *testing.T) {
	onEveryBus(t, func(t *testing.T, url string) {
		r := run(t, url).ready()
		sender := connect(t, url, secret)
		normal := leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL
		told := packet("kasmina").Metric("kasmina.seeds.active", 2, "count").Build()
		publish(t, sender.PublishTelemetry(t.Context(), told, normal))
		publish(t, sender.Publish(t.Context(), oona.Message{Payload: &leyline.SystemStatePacket{
			PacketId: "s-1", TrainingRunId: "run-1", SourceSubsystem: "tolaria",
		}}))
		publish(t, sender.Publish(t.Context(), oona.Message{Payload: &leyline.FieldReport{
			ReportId: "r-1", Outcome: leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION,
		}}))
		r.shows(`kasmina_seeds_active{source="kasmina"} 2`)
		r.shows(`esper_system_state_packets_total{phase="tolaria"} 1`)
		r.shows(`esper_field_reports_total{outcome="regression"} 1`)
		r.shows(`esper_training_runs_total 1`)
	})
}

func TestN1UrgentPacketsAreSeenToo(t *testing.T) {
	onEveryBus(t, func(t *testing.T, url string) {
		r := run(t, url).ready()
		sender := connect(t, url, secret)
		urgent := packet("tamiyo").Metric("tamiyo.conservative_mode", 1, "bool").Build()
		publish(t, sender.PublishTelemetry(t.Context(), urgent, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL))
		publish(t, sender.Publish(t.Context(), oona.Message{Payload: &leyline.EmergencySignal{
			Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT, Origin: "test",
		}}))
		r.shows(`tamiyo_conservative_mode{source="tamiyo"} 1`)
		r.shows(`esper_emergency_signals_total{level="halt"} 1`)
	})
}

func TestWhatWasSaidBeforeTheStartIsShown(t *testing.T) {
	onEveryBus(t, func(t *testing.T, url string) {
		sender := connect(t, url, secret)
		normal := leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL
		publish(t, sender.PublishTelemetry(t.Context(), packet("early").Metric("m", 1, "").Build(), normal))
		run(t, url).shows(`m{source="early"} 1`)
	})
}

func TestForgedTelemetryIsNotShown(t *testing.T) {
	t.Parallel()
	url := embeddedURL(t)
	r := run(t, url).ready()
	normal := leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL
	publish(t, connect(t, url, "another-secret").PublishTelemetry(t.Context(), packet("forged").Build(), normal))
	publish(t, connect(t, url, secret).PublishTelemetry(t.Context(), packet("genuine").Build(), normal))
	r.shows(`esper_telemetry_packets_total{source="genuine"} 1`)
	if _, body := r.get("/metrics"); strings.Contains(body, "forged") {
		t.Error("a packet with a wrong signature is shown")
	}
}

func TestN12BusThatLostItsGroupsIsReadAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := run(t, server.URL).ready()
	server.Kill()
	r.unready()
	if status, body := r.get("/healthz"); status != http.StatusOK {
		t.Errorf("an outage of the bus is not a fault of the process: %d %s", status, body)
	}
	server.Restart() // comes back empty
	r.ready()
	sender := connect(t, server.URL, secret)
	for i := range 5 {
		told := packet("after").Metric("m", float64(i), "").Build()
		publish(t, sender.PublishTelemetry(t.Context(), told, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL))
	}
	r.shows(`esper_telemetry_packets_total{source="after"} 5`)
}

func TestN13StreamThatCannotBeReadMakesTheServiceUnready(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := run(t, server.URL).ready()
	command(t, server.Addr, "SET oona.telemetry not-a-stream")
	r.unready()
	command(t, server.Addr, "DEL oona.telemetry")
	r.ready()
}

// command sends one command past the client.
func command(t *testing.T, addr, line string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s\r\n", line); err != nil {
		t.Fatal(err)
	}
	if reply, err := bufio.NewReader(conn).ReadString('\n'); err != nil || reply[0] == '-' {
		t.Fatalf("%s: %q, %v", line, reply, err)
	}
}

func TestInterruptCutsAStopShort(t *testing.T) {
	t.Parallel()
	service, err := New(Config{Bus: connect(t, embeddedURL(t), secret), HTTP: HTTP{Addr: "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	service.Interrupt()
	if err := service.Run(ctx); err != nil {
		t.Errorf("run after its end: %v", err)
	}
}

func TestHealthNamesTheWorkers(t *testing.T) {
	t.Parallel()
	r := run(t, embeddedURL(t)).ready()
	status, body := r.get("/healthz")
	var health struct {
		Status  string
		Workers map[string]string
	}
	if err := json.Unmarshal([]byte(body), &health); err != nil || status != http.StatusOK || health.Status != "ok" {
		t.Fatalf("%d %s %v", status, body, err)
	}
	if len(health.Workers) != 4 {
		t.Errorf("workers %v, want HTTP and three streams", health.Workers)
	}
	if status, _ := r.get("/nowhere"); status != http.StatusNotFound {
		t.Errorf("unknown path answers %d", status)
	}
}

func TestRolesUnderOneNameAreReadOnce(t *testing.T) {
	s := &Service{config: Config{Streams: oona.Streams{Normal: "one", Telemetry: "one", Emergency: "two"}}}
	if got := fmt.Sprint(s.streams()); got != "[one two]" {
		t.Errorf("streams %s", got)
	}
	if got := len(s.handlers("one")); got != 4 {
		t.Errorf("%d types heard on the shared stream, want 4", got)
	}
}

func TestPortInUseIsSaidClearly(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	service, err := New(Config{Bus: connect(t, embeddedURL(t), secret), HTTP: HTTP{Addr: taken.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	err = service.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), "in use: set NISSA_HTTP_ADDR to another port") {
		t.Errorf("got %v", err)
	}
}

func TestServiceNeedsABus(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("created without a bus")
	}
}

func TestStopIsCleanAtAnyTime(t *testing.T) {
	t.Parallel()
	url := embeddedURL(t)
	for range 3 {
		run(t, url).stop() // as early as possible
	}
	run(t, url).ready().stop()
}

func TestEveryWorkerPassesTheStress(t *testing.T) {
	service, err := New(Config{Bus: connect(t, embeddedURL(t), secret)})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("http", func(t *testing.T) {
		supervisetest.Stress(t, func() supervise.Worker {
			server, err := httpserver.Listen(t.Context(), httpserver.Config{Addr: freeport.Must(t)}, service.config.Logger) // nobody else is given it between two runs
			if err != nil {
				t.Fatal(err)
			}
			return server.Serve(service.handler(server.Guard()))
		})
	})
	t.Run("consumer", func(t *testing.T) {
		supervisetest.Stress(t, func() supervise.Worker { return service.consumer("oona.telemetry") })
	})
}

func TestStopIsLogged(t *testing.T) {
	var log bytes.Buffer
	r := runWith(t, Config{Bus: connect(t, embeddedURL(t), secret), Logger: slog.New(slog.NewTextHandler(&log, nil))}).ready()
	r.stop()
	if !strings.Contains(log.String(), "msg=stopping reason=") {
		t.Errorf("the log says %q", log.String())
	}
}
