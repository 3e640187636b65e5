package nissa

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/pgtest"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/supervise/supervisetest"
	"github.com/esper-lite/weatherlight/trainer"
)

func sqliteURL(t testing.TB) string { return "sqlite:///" + filepath.Join(t.TempDir(), "runs.db") }

// answers reads JSON of the API.
func (r *running) answers(path string, into any) bool {
	status, body := r.get(path)
	return status == http.StatusOK && json.Unmarshal([]byte(body), into) == nil
}

// reportsOf is how many reports of a run are counted, and kept.
func (r *running) reportsOf(run string) (counted, kept int) {
	var record struct{ Reports int }
	var rows struct{ Reports []struct{ Epoch int } }
	if !r.answers("/api/runs/"+run, &record) || !r.answers("/api/runs/"+run+"/reports?points=10000", &rows) {
		return 0, 0
	}
	epochs := map[int]bool{}
	for _, row := range rows.Reports {
		epochs[row.Epoch] = true
	}
	if len(epochs) != len(rows.Reports) {
		r.t.Fatalf("%d reports of %d epochs", len(rows.Reports), len(epochs))
	}
	return record.Reports, len(rows.Reports)
}

func (r *running) keeps(run string, n int) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%d reports of %s", n, run), func() bool {
		counted, kept := r.reportsOf(run)
		if counted > n || kept > n {
			r.t.Fatalf("%d reports are counted and %d kept, %d were published", counted, kept, n)
		}
		return counted == n && kept == n
	})
}

func stateOf(run string, epoch int) oona.Message {
	return oona.Message{Payload: &leyline.SystemStatePacket{
		PacketId: fmt.Sprint(run, "-", epoch), TrainingRunId: run, CurrentEpoch: uint32(epoch), ValidationLoss: 0.5, SourceSubsystem: "tolaria",
	}}
}

func TestWhatIsSaidOfRunsIsKept(t *testing.T) {
	onEveryBus(t, func(t *testing.T, url string) {
		store := sqliteURL(t)
		config := Config{Bus: connect(t, url, secret), Store: Store{URL: store}}
		r := runWith(t, config).ready()
		sender := connectAs(t, url, secret, "sender")
		publish(t, sender.Publish(t.Context(), stateOf("run-1", 1), stateOf("run-1", 2), stateOf("run-1", 2), oona.Message{
			Payload: &leyline.AdaptationCommand{CommandId: "c-1", IssuedBy: "tamiyo", TargetSeedId: "s", CommandType: leyline.CommandType_COMMAND_PAUSE,
				Annotations: map[string]string{"training_run_id": "run-1", "risk_reason": "loss_spike"}}},
			oona.Message{Payload: &leyline.FieldReport{ReportId: "f-1", TrainingRunId: "run-1", SeedId: "s",
				Outcome: leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS}},
			oona.Message{Payload: &leyline.EmergencySignal{RunId: "run-1", Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT}}))
		urgent := packet("kasmina").Indicator("training_run_id", "run-1").Indicator("seed_id", "s").
			Event("run_silent", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING).Build()
		publish(t, sender.PublishTelemetry(t.Context(), urgent, leyline.MessagePriority_MESSAGE_PRIORITY_HIGH))
		r.keeps("run-1", 2)
		for _, kind := range []string{"command", "field_report", "emergency", "event"} {
			r.eventually(kind, func() bool {
				var feed struct{ Events []struct{ Kind string } }
				return r.answers("/api/runs/run-1/events?kind="+kind, &feed) && len(feed.Events) == 1
			})
		}
		publish(t, sender.Publish(t.Context(), oona.Message{Stream: trainer.Stream("run-1"), Payload: trainer.Order{
			Kind: trainer.Judge, Run: "run-1", TrainerID: "t", Number: 3, Seed: "s"}.Command()}))
		r.eventually("the order", func() bool {
			var feed struct{ Events []struct{ Name string } }
			return r.answers("/api/runs/run-1/events?kind=order", &feed) && len(feed.Events) == 1 && feed.Events[0].Name == "judge"
		})
		r.shows(`nissa_repeated_messages_total{type="system_state"} 1`)
		r.shows(`esper_system_state_packets_total{phase="tolaria"} 2`)
		r.stop()

		again := runWith(t, config).ready() // it is there after a restart
		again.keeps("run-1", 2)
		again.shows("nissa_store_runs 1")
	})
}

// A forge that compiles everything anew sends hundreds of events in one packet.
func TestEventsOfAPacketAreKeptOrCounted(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL
	r := runWith(t, Config{Bus: connect(t, url, secret), Store: Store{URL: sqliteURL(t)}}).ready()
	sender := connectAs(t, url, secret, "sender")
	for source, events := range map[string]int{"tezzeret": 256, "urza": 300} {
		told := packet(source)
		for i := range events {
			told.Event(fmt.Sprint("event_", i), leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO)
		}
		publish(t, sender.PublishTelemetry(t.Context(), told.Build(), leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL))
	}
	r.eventually("256 events of each", func() bool {
		var feed struct{ Events []struct{ Source string } }
		return r.answers("/api/events?kind=event&limit=1000", &feed) && len(feed.Events) == 512
	})
	r.shows("nissa_events_dropped_total 44")
}

// While the store is away nothing is acknowledged, and nothing is lost.
func TestOutageOfTheStoreLosesNothing(t *testing.T) {
	t.Parallel()
	bus, database := redistest.Start(t), pgtest.Start(t)
	r := runWith(t, Config{Bus: connect(t, bus.URL, secret), Store: Store{URL: database.URL("")}}).ready()
	sender := connectAs(t, bus.URL, secret, "sender")
	publish(t, sender.Publish(t.Context(), stateOf("run-1", 0)))
	r.keeps("run-1", 1)
	if err := database.Kill(); err != nil {
		t.Fatal(err)
	}
	for epoch := range 200 {
		publish(t, sender.Publish(t.Context(), stateOf("run-1", epoch+1)))
	}
	r.unready()
	if err := database.Restart(); err != nil {
		t.Fatal(err)
	}
	r.ready().keeps("run-1", 201)
	if _, body := r.get("/metrics"); strings.Contains(body, "esper_system_state_packets_total") &&
		!strings.Contains(body, `esper_system_state_packets_total{phase="tolaria"} 201`) {
		t.Error("not each report is counted once")
	}
}

// A message that the store cannot take ends as a dead letter, and holds nobody up.
func TestMessageThatCannotBeStoredIsADeadLetter(t *testing.T) {
	t.Parallel()
	url, store := embeddedURL(t), sqliteURL(t)
	bus := connect(t, url, secret)
	r := runWith(t, Config{Bus: bus, Store: Store{URL: store}}).ready()
	db, err := sql.Open("sqlite", strings.TrimPrefix(store, "sqlite:///")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `CREATE TRIGGER poison BEFORE INSERT ON nissa_reports WHEN NEW.epoch = 13
		BEGIN SELECT RAISE(ABORT, 'poison'); END`)
	if err != nil {
		t.Fatal(err)
	}
	sender := connectAs(t, url, secret, "sender")
	for epoch := range 20 {
		publish(t, sender.Publish(t.Context(), stateOf("run-1", epoch)))
	}
	r.keeps("run-1", 19)
	r.eventually("a dead letter", func() bool {
		stats, err := bus.Stats(t.Context())
		return err == nil && stats.Consuming.DeadLettered == 1
	})
}

func TestN16ServicesShareTheWorkAndTheTruth(t *testing.T) {
	t.Parallel()
	bus, database := redistest.Start(t), pgtest.Start(t)
	var all []*running
	for i := range 2 {
		all = append(all, runWith(t, Config{Bus: connectAs(t, bus.URL, secret, fmt.Sprint("nissa-", i)), Store: Store{URL: database.URL("")}}).ready())
	}
	sender := connectAs(t, bus.URL, secret, "sender")
	const n = 3000
	for epoch := range n {
		publish(t, sender.Publish(t.Context(), stateOf("run-1", epoch)))
	}
	for _, r := range all {
		r.keeps("run-1", n)
	}
	shares := 0
	for _, r := range all {
		_, body := r.get("/metrics")
		var share int
		if at := strings.Index(body, "\nesper_system_state_packets_total{"); at >= 0 {
			_, rest, _ := strings.Cut(body[at:], "} ")
			if _, err := fmt.Sscan(rest, &share); err != nil {
				t.Fatal(err)
			}
		}
		if share == 0 {
			t.Error("a service took no share of the work")
		}
		shares += share
	}
	if shares != n {
		t.Errorf("%d reports are counted by the two, %d were published", shares, n)
	}
}

func TestStoreThatCannotBeOpenedIsSaidClearly(t *testing.T) {
	service, err := New(Config{Bus: connect(t, embeddedURL(t), secret), HTTP: HTTP{Addr: "127.0.0.1:0"},
		Store: Store{URL: "postgres://user:hunter2@127.0.0.1:1/db"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "store of runs postgres 127.0.0.1:1/db") ||
		strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// TestKeepersPassTheStress: each of the workers is of a service of its own, which has one of its kind.
func TestKeepersPassTheStress(t *testing.T) {
	bus := connect(t, embeddedURL(t), secret)
	for _, name := range []string{"store_watch", "store_tidy", "members", "orders"} {
		t.Run(name, func(t *testing.T) {
			supervisetest.Stress(t, func() supervise.Worker {
				service, err := New(Config{Bus: bus, Store: Store{URL: sqliteURL(t)}})
				if err == nil {
					err = service.openStore(context.Background())
				}
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := service.closeStore(); err != nil {
						t.Error(err)
					}
				})
				all := service.keepers()
				at := slices.IndexFunc(all, func(s supervise.Spec) bool { return s.Name == name })
				if at < 0 || len(all) != 4 {
					t.Fatalf("%d keepers, and %q is at %d", len(all), name, at)
				}
				return all[at].Worker
			})
		})
	}
}

// TestPageIsServedWhereRunsAreKept: it draws what is kept, and is not there where nothing is.
func TestPageIsServedWhereRunsAreKept(t *testing.T) {
	url := embeddedURL(t)
	for store, want := range map[string]int{sqliteURL(t): http.StatusOK, "": http.StatusNotFound} {
		r := runWith(t, Config{Bus: connect(t, url, secret), Store: Store{URL: store}}).ready()
		if status, body := r.get("/"); status != want || want == http.StatusOK && !strings.Contains(body, `content="runs"`) {
			t.Errorf("store %q: %d %s", store, status, body)
		}
		if status, body := r.get("/api/deadletters"); status != http.StatusOK || !strings.Contains(body, `"letters":[]`) {
			t.Errorf("store %q: %d %s", store, status, body)
		}
		r.stop()
	}
}
