package tamiyo

import "github.com/esper-lite/weatherlight/leyline"

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
// restarted without the seed, somebody had it taken out, or another's rollback took it along.
func Spares(report *leyline.FieldReport) bool {
	return report.GetOutcome() != leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS && spares(report.GetNotes())
}
