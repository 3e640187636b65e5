package elastic

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-lite/weatherlight/internal/elastictest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

const patient = 15 * time.Second

func config(t *testing.T, server *elastictest.Server) Config {
	return Config{URL: server.URL(), Dir: t.TempDir(), Interval: time.Millisecond, Pause: time.Millisecond}
}

func open(t *testing.T, c Config) *Indexer {
	t.Helper()
	x, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

// started runs until stop is called.
func started(t *testing.T, x *Indexer) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() {
		if err := x.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); loop.Wait() })
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); <-poll.C {
		if holds() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func numbered(n int) *runs.Message {
	return &runs.Message{Payload: &leyline.TelemetryPacket{SourceSubsystem: "tamiyo", PacketId: fmt.Sprint("p-", n)}}
}

func keep(x *Indexer, from, to int) {
	for n := from; n < to; n++ {
		x.Keep(numbered(n))
	}
}

// labelled are the values of a series of x by index.
func labelled(t *testing.T, x *Indexer, name string) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(x)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			index := ""
			for _, label := range metric.GetLabel() {
				if label.GetName() == "index" {
					index = label.GetValue()
				}
			}
			values[index] += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return values
}

// shows is the value of a series of x, of all its labels together.
func shows(t *testing.T, x *Indexer, name string) (sum float64) {
	t.Helper()
	for _, value := range labelled(t, x, name) {
		sum += value
	}
	return sum
}

func idle(x *Indexer) bool {
	for _, lane := range x.lanes {
		if documents, size := lane.spool.waiting(); documents > 0 || size > 0 {
			return false
		}
	}
	return true
}

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

// mustBeStrict: the server was asked nothing that Elasticsearch refuses.
func mustBeStrict(t *testing.T, server *elastictest.Server) {
	t.Helper()
	if said := server.Complaints(); len(said) > 0 {
		t.Errorf("the server complains: %v", said)
	}
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

func nowAndThen() elastictest.Fault {
	var n atomic.Int32
	return func(*http.Request) (int, string) {
		if n.Add(1)%3 == 0 {
			return 0, ""
		}
		return 503, ""
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

// Nobody waits for a server that is away, and what is dropped for want of room is told.
func TestN10NobodyWaitsForAServerThatIsAway(t *testing.T) {
	server := elastictest.Start(t)
	asked, release := make(chan struct{}, 1), make(chan struct{})
	server.Refuse(func(*http.Request) (int, string) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-release
		return 0, ""
	})
	log := &lines{}
	c := config(t, server)
	c.MaxBytes, c.Batch, c.Logger = 16<<10, 4<<10, slog.New(slog.NewTextHandler(log, nil))
	x := open(t, c)
	keep(x, 0, 1)
	stop := started(t, x)
	<-asked
	keep(x, 1, 1000) // the server hangs meanwhile
	dropped := shows(t, x, "nissa_bulk_dropped_total")
	documents, size := x.lanes["telemetry"].spool.waiting()
	if dropped == 0 || documents != 1000-int(dropped) || size > c.MaxBytes {
		t.Errorf("%v dropped, %d wait with %d bytes", dropped, documents, size)
	}
	close(release)
	eventually(t, "the spool is empty", func() bool { return idle(x) })
	keep(x, 1000, 1001)
	eventually(t, "the spool is empty", func() bool { return idle(x) })
	stop()
	if n := len(server.Documents("telemetry")); n != documents+1 {
		t.Errorf("%d documents are there of %d", n, documents+1)
	}
	if strings.Count(log.String(), "are dropped") != 1 || !strings.Contains(log.String(), fmt.Sprintf("find room again\" index=telemetry dropped=%d", int(dropped))) {
		t.Errorf("the log says:\n%s", log)
	}
	mustBeStrict(t, server)
}

func TestWhatWaitsOutlivesTheProcess(t *testing.T) {
	server := elastictest.Start(t)
	c := config(t, server)
	c.Batch = 1 << 10
	x := open(t, c)
	keep(x, 0, 50)
	if _, err := Open(c); err == nil {
		t.Fatal("two processes have one spool")
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(c.Dir, "telemetry", "*"+suffix))
	if err != nil || len(files) < 5 {
		t.Fatalf("files %v, %v", files, err)
	}
	last, err := os.OpenFile(files[len(files)-1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := last.WriteString(lineA[:len(lineA)-4]); err != nil || last.Close() != nil {
		t.Fatal(err)
	}
	y := open(t, c)
	keep(y, 50, 60)
	if waits := shows(t, y, "nissa_bulk_waiting_documents"); waits != 61 {
		t.Errorf("%v wait, with the torn one", waits)
	}
	started(t, y)
	eventually(t, "all are sent", func() bool { return idle(y) })
	if n := len(server.Documents("telemetry")); n != 60 || shows(t, y, "nissa_bulk_dropped_total") != 1 {
		t.Errorf("%d documents are there, %v dropped", n, shows(t, y, "nissa_bulk_dropped_total"))
	}
	mustBeStrict(t, server)
}

// A process that is stopped before the answer sends its file again: by their ids they are there once.
func TestN11AFileThatIsSentAgainMakesNoDuplicates(t *testing.T) {
	server := elastictest.Start(t)
	c := config(t, server)
	x := open(t, c)
	keep(x, 0, 50)
	lane := x.lanes["telemetry"]
	for range 2 {
		file, _ := lane.spool.oldest()
		text, err := lane.spool.read(file)
		if err != nil {
			t.Fatal(err)
		}
		items, _ := itemsOf(text)
		if !lane.send(t.Context(), items) {
			t.Fatal("not sent")
		}
	}
	if again, _ := server.Repeated(); again != 50 || len(server.Documents("telemetry")) != 50 {
		t.Errorf("%d came again, %d are there", again, len(server.Documents("telemetry")))
	}
	if shows(t, x, "nissa_bulk_failed_total") != 0 {
		t.Error("what is there already counts as failed")
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

func TestDiskThatFailsDropsAndTells(t *testing.T) {
	server := elastictest.Start(t)
	c := config(t, server)
	x := open(t, c)
	if err := os.RemoveAll(c.Dir); err != nil {
		t.Fatal(err)
	}
	keep(x, 0, 3)
	if dropped := shows(t, x, "nissa_bulk_dropped_total"); dropped != 3 {
		t.Errorf("%v dropped", dropped)
	}
	if err := os.MkdirAll(filepath.Join(c.Dir, "telemetry"), 0o700); err != nil {
		t.Fatal(err)
	}
	keep(x, 3, 6)
	started(t, x)
	eventually(t, "the others are sent", func() bool { return idle(x) && len(server.Documents("telemetry")) == 3 })
}
