package weatherlight

import (
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
)

// family is what /metrics says of all series of one name.
type family struct {
	kind, help string
	labels     []string // of each series, their names separated by commas
}

// families parses /metrics, without what it says of the process.
func families(t *testing.T, service *Service) map[string]family {
	t.Helper()
	code, body := ask(t, service, "/metrics")
	if code != 200 {
		t.Fatalf("/metrics answers %d %s", code, body)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("parse /metrics: %v", err)
	}
	found := make(map[string]family)
	for name, said := range parsed {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		one := family{kind: strings.ToLower(said.GetType().String()), help: said.GetHelp()}
		for _, metric := range said.GetMetric() {
			var names []string
			for _, label := range metric.GetLabel() {
				names = append(names, label.GetName())
			}
			one.labels = append(one.labels, strings.Join(names, ","))
		}
		found[name] = one
	}
	return found
}

// everything is a service in which all has happened that a series tells of.
func everything(t *testing.T) *running {
	t.Helper()
	r := eventfulWith(t, redistest.Start(t).URL, map[string]string{
		"TEZZERET_FORGE_ON_START": "true", "TEZZERET_FEATURES": "4", "NISSA_URL": "http://127.0.0.1:1",
	})
	<-r.Forged()
	blueprint, err := r.catalog.Get("BP002")
	if err != nil {
		t.Fatal(err)
	}
	g := &garden{t: t, running: r, blueprint: blueprint}
	g.plant()
	for _, seed := range []string{"one", "two"} {
		g.command("germinate-"+seed, seed, leyline.SeedOperation_SEED_OP_GERMINATE)
		g.await(seed, leyline.SeedLifecycleStage_SEED_STAGE_TRAINING)
	}
	g.command("cull-two", "two", leyline.SeedOperation_SEED_OP_CULL)
	g.await("two", leyline.SeedLifecycleStage_SEED_STAGE_EMBARGOED)
	forged := g.signed("forged", "three", leyline.SeedOperation_SEED_OP_GERMINATE)
	forged.Annotations["signature"] = "bm8="
	if err := r.bus.Publish(t.Context(), oona.Message{Payload: forged}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the forged command is refused", func() bool { return len(r.bus.Drops()) > 0 })
	bare := &leyline.SystemStatePacket{Version: 1, TrainingRunId: gardenRun, PacketId: "bare", SourceSubsystem: "tolaria"}
	if err := r.bus.PublishReport(t.Context(), bare, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the report without seeds is ignored", func() bool {
		return telemetry.Values(r.runs.Figures(), "")["kasmina.reports.ignored_total"] > 0
	})
	exhaustEmergencies(t, r)
	r.jobs.Round(t.Context())
	eventually(t, "a telemetry packet is sent", func() bool {
		return telemetry.Values(r.telemetry.Figures(), "")["weatherlight.telemetry.published_total"] > 0
	})
	return r
}

// exhaustEmergencies publishes until the emergency stream takes no more.
func exhaustEmergencies(t *testing.T, r *running) {
	t.Helper()
	messages := make([]oona.Message, 600)
	for i := range messages {
		messages[i] = oona.Message{Stream: onEmergency, Payload: telemetry.New("tolaria", "tolaria").Level(critical).Build()}
	}
	if err := r.bus.Publish(t.Context(), messages...); err == nil {
		t.Fatal("the emergency stream has no limit")
	}
}

func documentedRow(series string) (telemetry.Series, bool) {
	return newTable(rows()).find(series)
}

func TestEverySeriesIsDocumented(t *testing.T) {
	r := everything(t)
	seen := map[string]bool{}
	for name, said := range families(t, r.Service) {
		row, found := documentedRow(name)
		if !found {
			t.Errorf("no row for %s", name)
			continue
		}
		seen[row.Name] = true
		if said.help == "" || said.help != row.Help() {
			t.Errorf("HELP of %s is %q", name, said.help)
		}
		if kind, _, _ := strings.Cut(string(row.Kind), ","); said.kind != kind {
			t.Errorf("TYPE of %s is %s, the row says %s", name, said.kind, row.Kind)
		}
		for _, labels := range said.labels {
			if labels != row.Labels {
				t.Errorf("%s has the labels %q, the row says %q", name, labels, row.Labels)
			}
		}
	}
	for _, row := range rows() {
		if !seen[row.Name] {
			t.Errorf("no series of %s, though everything has happened", row.Name)
		}
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func rows() (all []telemetry.Series) {
	for _, group := range seriesGroups() {
		all = append(all, group.rows...)
	}
	return all
}

func TestRowsAreWhole(t *testing.T) {
	known := map[string]bool{}
	for _, row := range append(rows(), packetSeries()...) {
		_, varies := row.Family()
		if known[row.Name] || strings.Contains(row.Name, "*") || varies != strings.HasSuffix(row.Name, ">") {
			t.Errorf("name %s", row.Name)
		}
		known[row.Name] = true
		if row.Unit == "" || !strings.HasSuffix(row.Meaning, ".") || strings.ContainsAny(row.Meaning, "|\n") {
			t.Errorf("%s is in %q: %q", row.Name, row.Unit, row.Meaning)
		}
	}
}

// Where the summary packet has a unit, the page has the same, or its base unit.
func TestUnitsOfThePageAreThoseOfTheSummary(t *testing.T) {
	r := eventful(t, redistest.Start(t).URL)
	for _, figure := range r.series(t.Context()) {
		shown, _ := figure.Series().Exposed()
		row, _ := documentedRow(shown.Name)
		for p := range figure.Points() {
			if p.Unit != "" && (p.Unit != figure.Series().Unit || shown.Unit != row.Unit) {
				t.Errorf("%s is in %q, the row says %q", p.Name, p.Unit, row.Unit)
			}
		}
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

// What may fall is no counter, whatever its name: a scraper would take each fall
// for a restart. What only rises is typed counter when its name says so.
func TestNoLevelIsTypedCounter(t *testing.T) {
	for _, row := range rows() {
		if strings.HasSuffix(row.Name, "_total") != (row.Kind == telemetry.Counter) {
			t.Errorf("%s is a %s", row.Name, row.Kind)
		}
	}
	r := everything(t)
	before := scrape(t, r.Service)
	r.jobs.Round(t.Context())
	after := scrape(t, r.Service)
	for series, value := range before {
		name, _, _ := strings.Cut(series, "{")
		row, _ := documentedRow(name)
		if rises := row.Kind == telemetry.Counter || row.Kind == telemetry.Rising; rises && after[series] < value {
			t.Errorf("%s fell from %v to %v", series, value, after[series])
		}
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestSeriesIsFoundByItsNameAndByTheBeginningOfOneThatVaries(t *testing.T) {
	for name, want := range map[string]string{
		"tezzeret_prewarm_seconds_standard": "tezzeret_prewarm_seconds_<strategy>",
		"oona_queue_depth_max":              "oona_queue_depth_max",
		"oona_queue_depth_normal":           "oona_queue_depth_<stream>",
		"oona_trimmed_unread_total":         "oona_trimmed_unread_total",
	} {
		if row, found := documentedRow(name); !found || row.Name != want {
			t.Errorf("%s is %q (found %v), want %s", name, row.Name, found, want)
		}
	}
	for _, name := range []string{"tezzeret_prewarm_seconds_", "weatherlight_new"} {
		if row, found := documentedRow(name); found {
			t.Errorf("%s is %s", name, row.Name)
		}
	}
}
