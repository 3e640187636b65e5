package weatherlight

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/status"
)

func TestStatusShowsWhatTheServiceUses(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	bus := connect(t, redis.URL, "peer")
	if err := bus.PublishKernelPrefetchRequest(t.Context(), &leyline.KernelPrefetchRequest{
		RequestId: "r", BlueprintId: "b", IssuedAt: timestamppb.Now(),
	}); err != nil {
		t.Fatal(err)
	}
	status := r.status(t.Context())
	roles := make([]string, len(status.Streams))
	for i, stream := range status.Streams {
		roles[i] = stream.Role
		if stream.Stream == "" {
			t.Errorf("%s has no name", stream.Role)
		}
		if stream.Role == "kernel_requests" && stream.Depth != 1 {
			t.Errorf("%s: depth %d, want 1", stream.Stream, stream.Depth)
		}
	}
	if want := strings.Fields("normal emergency telemetry policy kernel_requests kernel_ready kernel_errors dead_letter"); !slices.Equal(roles, want) {
		t.Errorf("streams %v", roles)
	}
	for _, breaker := range status.Breakers {
		if breaker.State != "closed" {
			t.Errorf("breaker %+v", breaker)
		}
	}
	if len(status.Breakers) != 3 || status.Catalogue == nil || status.Catalogue.Blueprints != 50 || status.Catalogue.Kernels != 0 {
		t.Errorf("breakers %v, catalogue %+v", status.Breakers, status.Catalogue)
	}
	for name, value := range status.BusMetrics {
		if rounded := math.Round(value*1e3) / 1e3; value != rounded {
			t.Errorf("%s has more decimals than anybody reads: %v", name, value)
		}
	}
	if len(status.Versions) < 3 || len(status.LastErrors) != 0 {
		t.Errorf("versions %v, errors %v", status.Versions, status.LastErrors)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestR20StatusSaysWhichGroupIsBehind(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	peer := connect(t, redis.URL, "peer")
	if err := peer.EnsureGroups(t.Context(), "finished", "oona.telemetry"); err != nil {
		t.Fatal(err)
	}
	server := askServed(t, redis.Addr)
	if _, err := fmt.Fprint(server.server, "XGROUP CREATECONSUMER oona.telemetry finished c\r\n"); err != nil {
		t.Fatal(err)
	}
	server.figure("uptime_in_seconds") // an answer later it is there
	for range 5 {
		if err := peer.PublishTelemetry(t.Context(), telemetry.New("peer", "peer").Build(), leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL); err != nil {
			t.Fatal(err)
		}
	}
	for _, stream := range r.status(t.Context()).Streams {
		if stream.Role == "telemetry" && (stream.Slowest != "finished" || stream.Lag < 5) {
			t.Errorf("stream %+v", stream)
		}
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestStatusOfADeadBusHasTheRest(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	redis.Kill()
	begun := time.Now()
	status := r.status(t.Context())
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if len(status.Streams) != 0 || len(status.Workers) == 0 || status.Catalogue == nil || len(status.Breakers) != 3 {
		t.Errorf("status %+v", status)
	}
	if err := r.stop(t); err == nil {
		t.Error("nothing was lost on a dead bus")
	}
}

func TestStatusInTheLogIsJSON(t *testing.T) {
	var out bytes.Buffer
	service, err := New(Config{Settings: loadSettings(t, nil), Logger: slog.New(slog.NewJSONHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	service.LogStatus(t.Context())
	var line struct {
		Msg    string
		Status status.Status
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Msg != "status" || line.Status.State != "booting" {
		t.Errorf("%s: %v", out.String(), err)
	}
	var text status.Status
	if err := json.Unmarshal([]byte(service.status(t.Context()).String()), &text); err != nil || text.State != "booting" {
		t.Errorf("as text: %+v, %v", text, err)
	}
}

func TestLatencyOfEveryPathIsAHistogram(t *testing.T) {
	r := start(t, newService(t, nil))
	eventually(t, "a summary goes out", func() bool {
		packet := r.summaryPacket(t.Context())
		return r.bus.PublishTelemetry(t.Context(), packet, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL) == nil
	})
	code, body := ask(t, r.Service, "/metrics")
	for _, line := range []string{
		`oona_latency_seconds_count{path="publish",stream="oona.telemetry"} 1`,
		`oona_latency_seconds_bucket{path="publish",stream="oona.telemetry",le="10"} 1`,
		`oona_latency_seconds_bucket{path="publish",stream="oona.telemetry",le="+Inf"} 1`,
	} {
		if code != 200 || !strings.Contains(body, line) {
			t.Errorf("/metrics (%d) lacks %s", code, line)
		}
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

// What goes out once must not be there twice: the bus's figures are in the
// summary, and in no packet of their own.
func TestBusFiguresGoOutOnce(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL, "WEATHERLIGHT_TELEMETRY_INTERVAL": "50ms"}))
	heard := listen(t, connect(t, redis.URL, "nissa"), "oona.telemetry", "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	eventually(t, "three summaries", func() bool { return len(summaries(heard)) > 2 })
	for _, packet := range heard.packets() {
		count := 0
		for _, metric := range packet.GetMetrics() {
			if metric.GetName() == "oona.publish_total" {
				count++
			}
		}
		if want := strings.HasPrefix(packet.GetPacketId(), "weatherlight-"); (count == 1) != want || count > 1 {
			t.Errorf("packet %s of %s has the bus's figures %d times", packet.GetPacketId(), packet.GetSourceSubsystem(), count)
		}
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
