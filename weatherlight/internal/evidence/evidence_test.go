package evidence

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/fieldreport"
	"github.com/esper-lite/weatherlight/urza"
)

// A blueprint is judged by what its seeds did, once each, and by nothing that befell them.
func TestOnlyWhatASeedDidCountsForItsBlueprint(t *testing.T) {
	folder := t.TempDir()
	library, err := urza.Open(t.Context(), urza.Config{
		DatabaseURL: "sqlite:///" + filepath.Join(folder, "catalog.db"), ArtifactDir: filepath.Join(folder, "artifacts"),
	})
	if err != nil {
		t.Fatal(err)
	}
	log, err := fieldreport.Open(t.Context(), filepath.Join(folder, "reports.log"), fieldreport.Config{
		Publish: func(context.Context, *leyline.FieldReport) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(log.Close(), library.Close()); err != nil {
			t.Error(err)
		}
	}()
	keep := KeepReports(log, library.Evidence(), slog.New(slog.DiscardHandler))
	told := map[string]float32{"loss_delta": -0.1, "validation_loss": 0.9}
	for _, report := range []*leyline.FieldReport{
		{ReportId: "a", CommandId: "c1", SeedId: "kept", Outcome: leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS, Metrics: told},
		{ReportId: "b", SeedId: "kept", Outcome: leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS, Notes: "fossilized"},
		{ReportId: "c", CommandId: "c2", SeedId: "left out", Notes: "trainer_restarted", Metrics: told},
		{ReportId: "d", CommandId: "c3", SeedId: "culled by an operator", Notes: "retired", Metrics: told},
		{ReportId: "e", CommandId: "c4", SeedId: "taken along", Notes: "rolled_back_with_another", Metrics: told},
		{ReportId: "f", CommandId: "c5", SeedId: "no use", Notes: "seed_stuck", Metrics: told},
	} {
		report.TrainingRunId, report.BlueprintId, report.IssuedAt = "run-1", "BP002", timestamppb.Now()
		if report.GetOutcome() == 0 {
			report.Outcome = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL
		}
		if err := keep(t.Context(), report); err != nil {
			t.Fatal(err)
		}
	}
	known, err := library.Evidence().Of(t.Context(), "BP002")
	if o := known.Outcomes; err != nil || o.Tried != 2 || o.Kept != 1 || o.MeanGain() < 0.09 {
		t.Errorf("outcomes %+v, mean gain %v, %v", o, o.MeanGain(), err)
	}
}
