package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/alertapi"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/nissa/internal/letterapi"
	"github.com/esper-lite/weatherlight/nissa/internal/route"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// requestTimeout bounds requests and answers of the tests' server.
const requestTimeout = 2 * time.Second

// served is a store that is served.
type served struct {
	t      *testing.T
	store  *runstore.Store
	server *httptest.Server
	told   int
}

func serve(t *testing.T) *served {
	t.Helper()
	store, err := runstore.Open(t.Context(), runstore.Config{URL: "sqlite:///" + filepath.Join(t.TempDir(), "runs.db")})
	if err != nil {
		t.Fatal(err)
	}
	stopping := make(chan struct{})
	mux, everybody := http.NewServeMux(), httpserver.NewGuard(&net.UnixAddr{}, "")
	route.Register(mux, everybody, []route.Route{Document()})
	route.Register(mux, everybody, Routes(Config{Store: store, Stopping: stopping}))
	route.Register(mux, everybody, letterapi.Routes(letterapi.Config{Queue: oneLetter{}}))
	route.Register(mux, everybody, alertapi.Routes(oneAlert(t)))
	mux.HandleFunc("/api/", Elsewhere)
	s := &served{t: t, store: store, server: httptest.NewUnstartedServer(mux)}
	s.server.Config.ReadTimeout, s.server.Config.WriteTimeout = requestTimeout, requestTimeout
	s.server.Start()
	t.Cleanup(func() {
		close(stopping)
		s.server.Close()
		s.server.Client().CloseIdleConnections()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// oneLetter is a queue of dead letters.
type oneLetter struct{ letterapi.Queue }

func (oneLetter) letter() deadletter.Letter {
	return deadletter.Letter{ID: "1-1", Time: time.Now(), Stream: "oona.normal", Reason: "permanent", Payload: []byte("no envelope"), Replayed: "2-1"}
}

func (o oneLetter) List(context.Context, string, int) ([]deadletter.Letter, error) {
	return []deadletter.Letter{o.letter()}, nil
}

func (oneLetter) Replayable(deadletter.Letter) error { return deadletter.ErrNotReplayable }

func (o oneLetter) Get(context.Context, string) (deadletter.Letter, error) { return o.letter(), nil }

// oneAlert is a desk with an alert that is silenced and taken up, and an objective that is missed.
func oneAlert(t *testing.T) *alerting.Desk {
	t.Helper()
	const file = `
rules: [{name: hot, summary: It is hot, severity: warning, metric: heat, when: value > 9}]
objectives: [{name: cool, summary: s, target: 0.5, window: 1h, metric: heat, good: value < 9}]`
	desk, err := alerting.New(alerting.Config{Read: func() ([]byte, string, error) { return []byte(file), "", nil }})
	if err != nil {
		t.Fatal(err)
	}
	desk.Observe(telemetry.New("oven", "p").Metric("heat", math.Inf(1), "", "run", "r").Build())
	if _, err := desk.Acknowledge(t.Context(), desk.Alerts()[0].ID, "ann", "on it"); err != nil {
		t.Fatal(err)
	}
	if _, err := desk.Silence(t.Context(), alert.Silence{Rule: "hot", Until: time.Now().Add(time.Hour), By: "ann"}); err != nil {
		t.Fatal(err)
	}
	return desk
}

// tell puts messages into the store, a second apart.
func (s *served) tell(payloads ...proto.Message) {
	s.t.Helper()
	var messages []runs.Message
	for _, payload := range payloads {
		s.told++
		messages = append(messages, runs.Message{Stream: "s", Entry: fmt.Sprint(s.told), Payload: payload,
			At: time.Now().Add(time.Duration(s.told-1000) * time.Second)})
	}
	if _, err := s.store.Put(s.t.Context(), messages); err != nil {
		s.t.Fatal(err)
	}
}

func report(run string, epoch int) *leyline.SystemStatePacket {
	return &leyline.SystemStatePacket{
		TrainingRunId: run, CurrentEpoch: uint32(epoch), ValidationLoss: 1 / float32(epoch+1), ExperimentName: "digits",
		TrainingMetrics: map[string]float32{"lr": 0.5},
		SeedStates: []*leyline.SeedState{{SeedId: "s-1", Stage: leyline.SeedLifecycleStage_SEED_STAGE_BLENDING,
			Metrics: map[string]float32{trainer.MetricAlpha: 0.5}}},
	}
}

func command(run string) *leyline.AdaptationCommand {
	return &leyline.AdaptationCommand{TargetSeedId: "s-1", IssuedBy: "tamiyo", CommandType: leyline.CommandType_COMMAND_SEED,
		Annotations: map[string]string{"training_run_id": run, "risk_reason": "validation_stalled"}}
}

func summary() *leyline.TelemetryPacket {
	return &leyline.TelemetryPacket{SourceSubsystem: "weatherlight", SystemHealth: &leyline.SystemHealth{Summary: "steady"},
		Metrics: []*leyline.MetricPoint{
			{Name: "weatherlight.worker.forge.running", Value: 1}, {Name: "urza.library.cache_size", Value: 3}, {Name: "tezzeret.forge.left", Value: 0.5}},
		Events: []*leyline.TelemetryEvent{{Description: "alarm", Attributes: map[string]string{"alarm": "lag", "severity": "warning", "since": "5"}}},
	}
}

func (s *served) fill() {
	for epoch := range 30 {
		s.tell(report("run-1", epoch))
	}
	s.tell(command("run-1"), report("run/2 ?", 0), &leyline.TelemetryPacket{SourceSubsystem: "kasmina", Timestamp: timestamppb.Now(),
		SystemHealth: &leyline.SystemHealth{Indicators: map[string]string{"training_run_id": "run-1", "seed_id": "s-1"}},
		Events: []*leyline.TelemetryEvent{
			{Description: "gate_event", Attributes: map[string]string{"seed_id": "s-1", "gate": "SEED_GATE_G4_SYSTEM_IMPACT", "passed": "true"}},
			{Description: "seed_stage", Attributes: map[string]string{"stage": "SEED_STAGE_FOSSILIZED", "alpha": "1"}}}})
	s.tell(summary())
}

func (s *served) get(path string) (int, http.Header, string) {
	s.t.Helper()
	response, err := s.server.Client().Get(s.server.URL + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(body)
}

// into reads an answer.
func into[T any](s *served, path string) (answer T) {
	s.t.Helper()
	status, _, body := s.get(path)
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		s.t.Fatalf("%s: %d %s %v", path, status, body, err)
	}
	return answer
}
