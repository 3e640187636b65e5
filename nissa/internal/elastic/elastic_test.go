package elastic

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/esper-lite/weatherlight/internal/elastictest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

func TestScenario57_DocumentsAreSentTogetherAndCounted(t *testing.T) {
	server := elastictest.Start(t)
	x := open(t, config(t, server))
	keep(x, 0, 100)
	x.Keep(&runs.Message{Payload: &leyline.TelemetryPacket{SourceSubsystem: "simic", PacketId: "p"}})
	x.Keep(&runs.Message{Payload: &leyline.SystemStatePacket{PacketId: "s", TimestampNs: 1, TrainingMetrics: map[string]float32{"": 1, "a.": 2}}})
	x.Keep(&runs.Message{Payload: &leyline.FieldReport{ReportId: "f"}})
	x.Keep(&runs.Message{Payload: &leyline.EmergencySignal{}})
	if waits := shows(t, x, "nissa_bulk_waiting_documents"); waits != 103 {
		t.Errorf("%v documents wait", waits)
	}
	started(t, x)
	eventually(t, "all are sent", func() bool { return idle(x) })
	for index, n := range map[string]int{"telemetry": 100, "simic_metrics": 1, "system_state": 1, "field_report": 1} {
		if kept := len(server.Documents(index)); kept != n {
			t.Errorf("%s has %d documents, want %d", index, kept, n)
		}
	}
	for name, want := range map[string]float64{
		"nissa_bulk_batches_total": 4, "nissa_bulk_indexed_total": 103, "nissa_bulk_failed_total": 0, "nissa_bulk_flush_latency_ms": 4,
		"nissa_bulk_dropped_total": 0, "nissa_bulk_retries_total": 0, "nissa_bulk_waiting_max_bytes": 256 << 20,
	} {
		if got := shows(t, x, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	names := server.Templates()
	slices.Sort(names)
	want := []string{"weatherlight-field_report", "weatherlight-simic_metrics", "weatherlight-system_state", "weatherlight-telemetry"}
	if !slices.Equal(names, want) {
		t.Errorf("templates %v, want %v", names, want)
	}
	mustBeStrict(t, server)
}

// Every way in which a server can fail leaves each document there once.
func TestN11EachDocumentIsIndexedOnceWhateverIsAnswered(t *testing.T) {
	t.Parallel()
	always := func(status int, body string) elastictest.Fault {
		return func(*http.Request) (int, string) { return status, body }
	}
	for name, fault := range map[string]elastictest.Fault{
		"503":                  always(503, `{"error":{"type":"cluster_block_exception"},"status":503}`),
		"429":                  always(429, `{"error":{"type":"es_rejected_execution_exception"},"status":429}`),
		"401":                  always(401, `{"error":{"type":"security_exception"},"status":401}`),
		"404":                  always(404, "not found"),
		"500 without words":    always(500, ""),
		"200 of another":       always(200, "<html>"),
		"200 of nobody":        always(200, "{}"),
		"answers for one":      always(200, `{"items":[{"create":{"status":201}}]}`),
		"another action":       always(200, `{"items":[`+strings.Repeat(`{"index":{"status":201}},`, 49)+`{"index":{"status":201}}]}`),
		"400 of a proxy":       always(400, "<html>The plain HTTP request was sent to HTTPS port"),
		"301":                  always(301, ""),
		"answers now and then": nowAndThen(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := elastictest.Start(t)
			var asked atomic.Int32
			server.Refuse(func(r *http.Request) (int, string) {
				if asked.Add(1) > 7 {
					return 0, ""
				}
				return fault(r)
			})
			x := open(t, config(t, server))
			keep(x, 0, 50)
			started(t, x)
			eventually(t, "all are sent", func() bool { return idle(x) })
			if n := len(server.Documents("telemetry")); n != 50 || shows(t, x, "nissa_bulk_indexed_total") != 50 {
				t.Errorf("%d documents are there", n)
			}
			if shows(t, x, "nissa_bulk_dropped_total")+shows(t, x, "nissa_bulk_failed_total") != 0 {
				t.Error("some were dropped")
			}
			mustBeStrict(t, server)
		})
	}
}

// What stands before the server refuses for reasons of its own: neither a template nor a document is
// given up for that.
func TestRefusalsOfSomethingElseLoseNothing(t *testing.T) {
	for name, status := range map[string]int{"400": 400, "403": 403, "405": 405} {
		server := elastictest.Start(t)
		var seen sync.Map
		server.Refuse(func(r *http.Request) (int, string) {
			if _, again := seen.LoadOrStore(r.URL.Path, true); !again {
				return status, "<html>The plain HTTP request was sent to HTTPS port"
			}
			return 0, ""
		})
		x := open(t, config(t, server))
		keep(x, 0, 1)
		started(t, x)
		eventually(t, name+": the document is sent", func() bool { return idle(x) })
		if documents, templates := len(server.Documents("telemetry")), len(server.Templates()); documents != 1 || templates != 1 {
			t.Errorf("%s: %d documents, %d templates", name, documents, templates)
		}
	}
}

func TestN11OneRefusedDocumentTakesNoOtherWithIt(t *testing.T) {
	server := elastictest.Start(t)
	var tries sync.Map
	busy := func(id string) bool {
		n, _ := tries.LoadOrStore(id, new(atomic.Int32))
		return n.(*atomic.Int32).Add(1) < 3
	}
	server.RefuseItems(func(index, id string) (int, string) {
		switch {
		case index == "field_report":
			return 400, "document_parsing_exception"
		case id[len(id)-1]%3 == 0 && busy(id):
			return 429, "es_rejected_execution_exception"
		case id[len(id)-1]%3 == 1 && busy(id):
			return 403, "cluster_block_exception"
		}
		return 0, ""
	})
	log := &lines{}
	c := config(t, server)
	c.Logger = slog.New(slog.NewTextHandler(log, nil))
	x := open(t, c)
	keep(x, 0, 60)
	x.Keep(&runs.Message{Payload: &leyline.FieldReport{ReportId: "secret name"}})
	stop := started(t, x)
	eventually(t, "all have an answer", func() bool { return idle(x) })
	stop()
	if n := len(server.Documents("telemetry")); n != 60 {
		t.Errorf("%d documents are there", n)
	}
	again, _ := server.Repeated()
	if again != 0 || shows(t, x, "nissa_bulk_failed_total") != 1 || shows(t, x, "nissa_bulk_indexed_total") != 60 || shows(t, x, "nissa_bulk_retries_total") == 0 {
		t.Errorf("%d came again, %v failed, %v were indexed", again, shows(t, x, "nissa_bulk_failed_total"), shows(t, x, "nissa_bulk_indexed_total"))
	}
	for _, said := range []string{"refuses documents", "field_report: 400 document_parsing_exception", "documents for Elasticsearch wait", "takes documents again"} {
		if !strings.Contains(log.String(), said) {
			t.Errorf("the log does not say %q:\n%s", said, log)
		}
	}
	if strings.Contains(log.String(), "secret name") {
		t.Errorf("the log says what is in a document:\n%s", log)
	}
	mustBeStrict(t, server)
}

func TestWhatIsTooLargeTogetherIsSentInParts(t *testing.T) {
	server := elastictest.Start(t)
	server.MaxBody = 1 << 10 // the templates do not fit in either
	x := open(t, config(t, server))
	keep(x, 0, 100)
	x.Keep(&runs.Message{Payload: &leyline.TelemetryPacket{PacketId: strings.Repeat("x", 4<<10)}})
	started(t, x)
	eventually(t, "all have an answer", func() bool { return idle(x) })
	if n := len(server.Documents("telemetry")); n != 100 || shows(t, x, "nissa_bulk_failed_total") != 1 {
		t.Errorf("%d documents are there, %v failed", n, shows(t, x, "nissa_bulk_failed_total"))
	}
	mustBeStrict(t, server)
}

func TestDocumentsAreKeptWithoutTheRightToPutTemplates(t *testing.T) {
	server := elastictest.Start(t)
	server.User, server.Password = "nissa", "p w/7"
	server.Refuse(func(r *http.Request) (int, string) {
		if r.Method == http.MethodPut {
			return 403, `{"error":{"type":"security_exception"},"status":403}`
		}
		return 0, ""
	})
	log := &lines{}
	c := config(t, server)
	c.URL = strings.Replace(server.URL(), "://", "://nissa:p%20w%2F7@", 1)
	c.Logger = slog.New(slog.NewTextHandler(log, nil))
	x := open(t, c)
	keep(x, 0, 5)
	stop := started(t, x)
	eventually(t, "all are sent", func() bool { return idle(x) })
	stop()
	if n := len(server.Documents("telemetry")); n != 5 || !strings.Contains(log.String(), "made without it") {
		t.Errorf("%d documents are there, the log says\n%s", n, log)
	}
	mustBeStrict(t, server)
}

func TestNoErrorHoldsAPassword(t *testing.T) {
	const hidden = "pw7hx2kd93mq"
	for _, address := range []string{
		"http://user:" + hidden + "@127.0.0.1:1", "http://127.0.0.1:1/" + hidden, "http://127.0.0.1:1?x=" + hidden, "http://127.0.0.1:1#" + hidden,
		"http://user:12/" + hidden + "@127.0.0.1:1", "http://[" + hidden, "http://u:" + hidden + "@127.0.0.1:port",
	} {
		c, err := newClient(address)
		if err == nil {
			_, err = c.bulk(t.Context(), []item{{"a", "b"}})
		}
		if err == nil || strings.Contains(err.Error(), hidden) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
