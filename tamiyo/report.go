package tamiyo

import (
	"strconv"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
)

const reportVersion = 1

// report tells how seed s ended; lastAlive is the last stage it lived in.
func (e *evaluation) report(s seed, lastAlive stage) *leyline.FieldReport {
	return &leyline.FieldReport{
		Version:                 reportVersion,
		ReportId:                e.reportID(s),
		CommandId:               s.germination,
		TrainingRunId:           e.run.id,
		SeedId:                  s.id,
		BlueprintId:             s.blueprintID,
		Outcome:                 e.outcome(s, lastAlive),
		Metrics:                 e.reportMetrics(s),
		ObservationWindowEpochs: e.run.epoch - min(s.bornEpoch, e.run.epoch),
		IssuedAt:                timestamppb.New(e.now),
		TamiyoPolicyVersion:     e.policyVersion(),
		Notes:                   notes(s),
	}
}

// reportID is the same for the same end of the same seed, however often its
// last packet is delivered, and another one when the run is started over.
func (e *evaluation) reportID(s seed) string {
	parts := []string{"field-report", e.run.id, s.id, s.germination}
	if s.blueprintID == "" { // somebody else's seed: its name may be used again
		parts = append(parts, strconv.FormatUint(uint64(s.bornEpoch), 10))
	}
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(strings.Join(parts, "\x00"))).String()
}

func (e *evaluation) outcome(s seed, lastAlive stage) leyline.FieldReportOutcome {
	switch {
	case s.stage == stageFossilized:
		return leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS
	case lastAlive < stageTraining:
		return leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_ABORTED
	case s.cause == causeRegression || judged(lastAlive) && s.evidence.regresses(e.config):
		return leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION
	default:
		return leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL
	}
}

func (e *evaluation) reportMetrics(s seed) map[string]float32 {
	metrics := map[string]float32{
		"loss_delta":      float32(s.evidence.lossDelta),
		"validation_loss": e.state.GetValidationLoss(),
		"age_epochs":      float32(s.age),
	}
	if s.evidence.hasAccuracy {
		metrics["accuracy_delta"] = float32(s.evidence.accuracyGain)
	}
	return metrics
}

func notes(s seed) string {
	switch {
	case s.stage == stageFossilized:
		return "fossilized"
	case s.cause != "":
		return s.cause
	default:
		return "removed_by_host"
	}
}
