package urza

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
)

// Outcomes are what seeds of a blueprint came to.
type Outcomes struct {
	Tried int     `json:"tried"` // judged to the end
	Kept  int     `json:"kept"`
	Gain  float64 `json:"gain"` // relative falls of the loss that the kept ones brought, summed

	// Untold is how many of the kept ones nobody told the gain of.
	Untold int `json:"untold,omitempty"`

	// Known are the seeds that were counted last, or the reports of those that have no name:
	// one may be reported again.
	Known []string `json:"known"`
}

// MeanGain is the relative fall of the loss that a kept seed brought, of those of which it was
// told.
func (o Outcomes) MeanGain() float64 {
	if o.Kept <= o.Untold {
		return 0
	}
	return o.Gain / float64(o.Kept-o.Untold)
}

// countedSeeds are remembered of a blueprint, so that none counts twice.
const countedSeeds = 512

// Ended counts what a seed came to. A report of a seed that was counted, or that says nothing
// of its blueprint, changes nothing. Errors: ErrEvidence, ErrUnavailable.
func (s *EvidenceStore) Ended(ctx context.Context, report *leyline.FieldReport) error {
	kept := report.GetOutcome() == leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS
	_, watched := report.GetMetrics()["loss_delta_total"] // one that was counted when it was kept
	gain, told := gainOf(report)
	// A controller whose record was lost finds a seed that was kept before, and knows neither
	// the command that began it nor its gain.
	again := kept && !told && report.GetCommandId() == ""
	if report.GetBlueprintId() == "" || watched || again || !kept && !judged(report) {
		return nil
	}
	return s.amend(ctx, "count report of", report.GetBlueprintId(), noteOutcomes, "", func(content string) (string, error) {
		var o Outcomes
		if content != "" {
			if err := json.Unmarshal([]byte(content), &o); err != nil {
				o = Outcomes{} // it begins anew: nobody else can mend it
			}
		}
		seed := seedOf(report)
		if slices.Contains(o.Known, seed) || slices.Contains(o.Known, report.GetReportId()) {
			return "", nil
		}
		o.Known = append(o.Known, seed)
		o.Known = o.Known[max(0, len(o.Known)-countedSeeds):]
		o.Tried++
		if kept {
			o.Kept++
			o.Gain += gain
		}
		if kept && !told {
			o.Untold++
		}
		return writeJSON(o)
	})
}

// seedOf is a short name of the seed that a report tells of, or of the report when that has none.
func seedOf(report *leyline.FieldReport) string {
	if report.GetTrainingRunId() == "" || report.GetSeedId() == "" {
		return report.GetReportId()
	}
	sum := sha256.Sum256([]byte(report.GetTrainingRunId() + "\x00" + report.GetSeedId()))
	return hex.EncodeToString(sum[:8])
}

// judged says whether a seed that was not kept was at least measured.
func judged(report *leyline.FieldReport) bool {
	_, measured := report.GetMetrics()["loss_delta"]
	switch report.GetOutcome() {
	case leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION:
		return true
	case leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL:
		return measured
	default:
		return false
	}
}

// gainOf is the relative fall of the loss that a seed brought, 0..1, when the fall, and the
// loss that it led to, were told.
func gainOf(report *leyline.FieldReport) (gain float64, told bool) {
	delta, measured := report.GetMetrics()["loss_delta"]
	loss, told := report.GetMetrics()["validation_loss"]
	fall := -float64(delta)
	gain = fall / (math.Abs(float64(loss)) + max(fall, 0))
	if !measured || !told || math.IsNaN(gain) {
		return 0, false
	}
	return min(max(gain, 0), 1), true
}
