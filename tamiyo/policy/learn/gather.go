// Package learn fits a policy to recorded runs. [Gather] finds in them what was begun, what
// else stood to choose and what came of it; [Data.Fit] fits a network of the policies'
// profile, and judges it by runs that it had not seen.
package learn

import (
	"cmp"
	"math"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/transcript"
)

// maxDecisions bounds what is learnt from: the last ones count.
const maxDecisions = 4000

// Data are decisions to begin a seed that came to something.
type Data struct {
	Runs      int // with such a decision
	Decisions int
	Unusable  int // decisions that come out differently now, so that what was weighed is not known

	all []decision
}

// decision is one to begin a seed.
type decision struct {
	run        int   // its place among the runs, in the order in which they began
	begun      int64 // when it was decided, and when it was known what came of it: nanoseconds
	known      int64
	blueprints []string    // the controller's own choice first
	rows       [][]float32 // of each blueprint
	chosen     int         // of the blueprints
	value      float64     // what the seed came to
}

// columnCost and those of the slot are among what a policy is told of a blueprint.
const (
	columnCost = 13
	firstSlot  = 6 // to lastSlot: kind and width of the slot
	lastSlot   = 9
)

// valueOf is what a seed came to: what the controller's worth is meant to foretell, with
// whether it was kept in place of the chance that it is.
func valueOf(report *leyline.FieldReport, cost float64) (value float64, judged bool) {
	if _, watched := report.GetMetrics()["loss_delta_total"]; watched {
		return 0, false // the seed was counted when it was kept
	}
	switch report.GetOutcome() {
	case leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS:
		gain, told := gainOf(report)
		return (1 + gain) * (1 - min(max(cost, 0), 1)/4), told
	case leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION:
		return 0, true
	case leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL:
		_, measured := report.GetMetrics()["loss_delta"]
		return 0, measured && !tamiyo.Spares(report)
	default:
		return 0, false // it was never in the host
	}
}

// gainOf is the relative fall of the loss that a seed brought, 0..1, when its report tells it.
func gainOf(report *leyline.FieldReport) (gain float64, told bool) {
	delta, measured := report.GetMetrics()["loss_delta"]
	loss, known := report.GetMetrics()["validation_loss"]
	if !measured || !known {
		return 0, false
	}
	fall := -float64(delta)
	gain = fall / (math.Abs(float64(loss)) + max(fall, 0))
	if math.IsNaN(gain) {
		return 0, false
	}
	return min(max(gain, 0), 1), true
}

// Gather goes through recorded runs. Of a run that is there twice the longer record counts.
func Gather(runs []transcript.Run) *Data {
	sorted := slices.Clone(runs)
	slices.SortStableFunc(sorted, func(a, b transcript.Run) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(len(b.Decisions), len(a.Decisions)))
	})
	sorted = slices.CompactFunc(sorted, func(a, b transcript.Run) bool { return a.ID == b.ID })
	data := new(Data)
	var all []decision
	for i := range sorted {
		all = append(all, data.gather(i, &sorted[i])...)
	}
	data.keep(all)
	return data
}

// keep takes the last decisions, and gives the runs their places.
func (d *Data) keep(all []decision) {
	slices.SortStableFunc(all, func(a, b decision) int { return cmp.Compare(a.begun, b.begun) })
	d.all = all[max(0, len(all)-maxDecisions):]
	d.Decisions = len(d.all)
	places := make(map[int]int)
	for i := range d.all {
		run := &d.all[i].run
		if _, numbered := places[*run]; !numbered {
			places[*run] = len(places)
		}
		*run = places[*run]
	}
	d.Runs = len(places)
}

// gather finds the decisions of one run.
func (d *Data) gather(place int, run *transcript.Run) (found []decision) {
	begun := make(map[string]decision) // by seed
	for _, t := range run.Decisions {
		weighed := make(map[string]decision) // by slot
		decided, err := t.Decide(func(slot string, blueprints []string, rows [][]float32) {
			weighed[slot] = decision{run: place, begun: t.Now, blueprints: blueprints, rows: rows}
		})
		if err != nil {
			d.Unusable++
			continue
		}
		for _, command := range decided.Commands {
			if at, chosen := chosenBy(command, weighed); chosen {
				begun[command.GetTargetSeedId()] = at
			}
		}
		for _, report := range decided.Reports {
			at, known := begun[report.GetSeedId()]
			if !known {
				continue
			}
			value, judged := valueOf(report, float64(at.rows[at.chosen][columnCost]))
			if at.value, at.known = value, t.Now; judged {
				found = append(found, at)
			}
			delete(begun, report.GetSeedId())
		}
	}
	return found
}

// chosenBy is what a command chose, and from what.
func chosenBy(command *leyline.AdaptationCommand, weighed map[string]decision) (decision, bool) {
	operation := command.GetSeedOperation()
	if operation.GetOperation() != leyline.SeedOperation_SEED_OP_GERMINATE {
		return decision{}, false
	}
	at, known := weighed[command.GetAnnotations()["slot"]]
	if !known {
		return decision{}, false
	}
	at.chosen = slices.Index(at.blueprints, operation.GetBlueprintId())
	return at, at.chosen >= 0
}

// row is that of the blueprint that was begun.
func (d *decision) row() []float32 { return d.rows[d.chosen] }
