package nissa

import (
	stdflag "flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/pagetest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/nissa/internal/elastic"
	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
	"github.com/esper-lite/weatherlight/telemetry"
)

var update = stdflag.Bool("update", false, "write the table of Nissa's own series into docs/operations/metrics.md")

// The operator's page holds the rows that HELP and TYPE are made with.
func TestOperationsPageListsEverySeries(t *testing.T) {
	table := "| series | kind | meaning |\n| --- | --- | --- |\n"
	for _, row := range slices.Concat(newRecorder(Config{}).counts.rows, alerting.Series(), elastic.Series()) {
		table += fmt.Sprintf("| `%s` | %s | %s |\n", row.Labelled(), row.Kind, row.Meaning)
	}
	pagetest.Hold(t, "metrics.md", "nissa series", "go test ./nissa -run OperationsPage -update", table, *update)
}

// Once everything was heard, each series of /metrics is that of a row, or that of
// a metric point.
func TestEverySeriesIsDocumented(t *testing.T) {
	r := newRecorder(Config{})
	r.recordTelemetry(packet("tolaria").Event("tolaria.graph_fallback", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING).
		Metric("nissa.taken", 1, "").Metric("tolaria.graph.replay_ms", 1, "ms").Build())
	r.recordTelemetry(packet("simic").Metric(trainingReward, 1, "").Build())
	judged := packet("tamiyo").Metric(blueprintRisk, 1, "").
		Event("bsds_hazard_high", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING).
		Event("bsds_hazard_critical", leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL).Build()
	r.recordTelemetry(judged)
	r.recordTelemetry(judged)
	r.recordState(&leyline.SystemStatePacket{TrainingRunId: "run", SourceSubsystem: "tolaria"})
	r.recordReport(&leyline.FieldReport{ReportId: "report"})
	r.recordEmergency(&leyline.EmergencySignal{}, "1-1")
	r.store.set(runstore.Size{})

	rows := map[string]telemetry.Series{}
	for _, row := range r.counts.rows {
		rows[row.Name] = row
	}
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		name := family.GetName()
		row, found := rows[name]
		delete(rows, name)
		switch {
		case family.GetHelp() == "":
			t.Errorf("%s has no HELP", name)
		case strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") || family.GetHelp() == pointHelp:
		case !found:
			t.Errorf("no row for %s", name)
		case family.GetHelp() != row.Help() || strings.ToLower(family.GetType().String()) != string(row.Kind):
			t.Errorf("%s is shown as %s: %s", name, family.GetType(), family.GetHelp())
		}
	}
	for name := range rows {
		t.Errorf("no series %s, though everything was heard", name)
	}
}
