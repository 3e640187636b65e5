package tamiyo

import (
	"cmp"
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
)

const reportVersion = 1

// report tells how seed s ended; lastAlive is the last stage it lived in, and gone Kasmina's word for why.
func (e *evaluation) report(s seed, lastAlive stage, gone string) *leyline.FieldReport {
	report := &leyline.FieldReport{
		Version:                 reportVersion,
		ReportId:                e.identify("field-report", s.ID),
		CommandId:               s.Germination,
		TrainingRunId:           e.record.Run,
		SeedId:                  s.ID,
		BlueprintId:             s.Blueprint,
		Outcome:                 outcome(s, lastAlive),
		Metrics:                 reportMetrics(s, e.state.Packet),
		ObservationWindowEpochs: count32(e.record.Evaluated - s.Born),
		IssuedAt:                timestamppb.New(e.now),
		TamiyoPolicyVersion:     s.begunBy(e.policy),
		Notes:                   notes(s, gone),
	}
	if s.Considered != "" {
		note(report, "considered", s.Considered)
	}
	return report
}

// note adds to what a report says beyond its figures.
func note(report *leyline.FieldReport, kind, text string) {
	report.FollowUpActions = append(report.FollowUpActions, &leyline.MitigationAction{ActionType: kind, Rationale: text})
}

// followUp says in a report what becomes of the blueprint at the seed's slot, and why.
func followUp(report *leyline.FieldReport, action string, s seed) {
	why := s.Blueprint + " at " + s.Slot + ": " + report.GetNotes()
	if s.Evidence.Known {
		why += ", loss_delta=" + strconv.FormatFloat(float64(s.Evidence.LossDelta), 'g', 6, 32)
	}
	note(report, action, clipped(why))
}

func outcome(s seed, lastAlive stage) leyline.FieldReportOutcome {
	switch {
	case s.Stage == stageFossilized:
		return leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS
	case lastAlive < stageTraining:
		return leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_ABORTED
	case spares(s.Cause):
		return leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL
	case s.Cause == causeRegression || judged(lastAlive) && s.Evidence.Worse:
		return leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION
	default:
		return leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL
	}
}

func reportMetrics(s seed, packet *leyline.SystemStatePacket) map[string]float32 {
	metrics := map[string]float32{"age_epochs": float32(s.Age)}
	if s.Evidence.Known {
		metrics["loss_delta"] = s.Evidence.LossDelta
	}
	if packet.GetValidationLoss() != 0 {
		metrics["validation_loss"] = packet.GetValidationLoss()
	}
	if s.Evidence.HasAccuracy {
		metrics["accuracy_delta"] = s.Evidence.AccuracyGain
	}
	return metrics
}

func notes(s seed, gone string) string {
	switch {
	case s.Stage == stageFossilized:
		return "fossilized"
	case s.Failure != "":
		return s.Failure
	case s.Cause != "":
		return s.Cause
	default:
		return cmp.Or(clipped(gone), "removed_by_host")
	}
}

// Why Kasmina ended a seed at a command that was not ours, or along with another one.
const (
	causeRetired    = "retired"
	causeWithdrawn  = "withdrawn"
	causePruned     = "pruned"
	causeTakenAlong = "rolled_back_with_another"
)

// spares says whether what ended a seed had nothing to do with its blueprint. A seed that was
// itself rolled back may have harmed.
func spares(cause string) bool {
	switch cause {
	case causeRestarted, causeRetired, causeWithdrawn, causePruned, causeTakenAlong:
		return true
	default:
		return false
	}
}

// Spares says whether a field report speaks neither for nor against its blueprint: the trainer was
// restarted without the seed, somebody had it taken out, another's rollback took it along, or a
// policy had it culled that had done no harm.
func Spares(report *leyline.FieldReport) bool {
	switch report.GetOutcome() {
	case leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS:
		return false
	case leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL:
		return spares(report.GetNotes()) || report.GetNotes() == causeAsked
	default:
		return spares(report.GetNotes())
	}
}
