package nissa

import (
	"errors"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/elastictest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/supervise/supervisetest"
)

func TestWhatIsSaidOnTheBusBecomesDocuments(t *testing.T) {
	onEveryBus(t, func(t *testing.T, url string) {
		engine := elastictest.Start(t)
		documents := Documents{URL: engine.URL(), Dir: t.TempDir()}
		r := runWith(t, Config{Bus: connect(t, url, secret), Store: Store{URL: sqliteURL(t)}, Documents: documents}).ready()
		sender := connectAs(t, url, secret, "sender")
		publish(t, sender.Publish(t.Context(), stateOf("run-1", 1), stateOf("run-1", 1), stateOf("run-1", 2),
			oona.Message{Payload: &leyline.FieldReport{ReportId: "f-1"}},
			oona.Message{Payload: &leyline.AdaptationCommand{CommandId: "c-1", IssuedBy: "tamiyo", CommandType: leyline.CommandType_COMMAND_PAUSE}}))
		for source, priority := range map[string]leyline.MessagePriority{
			"tamiyo": leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL, "kasmina": leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL,
			"simic": leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL,
		} {
			publish(t, sender.PublishTelemetry(t.Context(), packet(source).Metric("m", 0, "").Build(), priority))
		}
		for index, n := range map[string]int{"system_state": 2, "field_report": 1, "telemetry": 2, "simic_metrics": 1} {
			r.eventually(index, func() bool { return len(engine.Documents(index)) == n })
		}
		r.shows(`nissa_bulk_waiting_documents{index="telemetry"} 0`)
		if said := engine.Complaints(); len(said) > 0 {
			t.Errorf("the search engine complains: %v", said)
		}
		if _, body := r.get("/healthz"); !strings.Contains(body, `"documents":"running"`) {
			t.Errorf("/healthz says %s", body)
		}
	})
}

func TestSpoolThatIsInUseIsSaidClearly(t *testing.T) {
	t.Parallel()
	engine, url, dir := elastictest.Start(t), embeddedURL(t), t.TempDir()
	config := Config{Bus: connect(t, url, secret), Documents: Documents{URL: engine.URL(), Dir: dir}}
	runWith(t, config).ready()
	config.Bus, config.HTTP.Addr = connectAs(t, url, secret, "second"), "127.0.0.1:0"
	second, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	err = second.Run(t.Context())
	if boot := new(supervise.BootError); !errors.As(err, &boot) || !strings.Contains(err.Error(), dir+"/field_report is in use by another process") {
		t.Errorf("error %v", err)
	}
}

// The worker is stopped and started at any moment.
func TestDocumentsPassTheStress(t *testing.T) {
	engine := elastictest.Start(t)
	service, err := New(Config{Bus: connect(t, embeddedURL(t), secret), Documents: Documents{URL: engine.URL(), Dir: t.TempDir()}})
	if err == nil {
		err = service.openDocuments()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.closeDocuments(); err != nil {
			t.Error(err)
		}
	})
	supervisetest.Stress(t, func() supervise.Worker { return service.documents })
}
