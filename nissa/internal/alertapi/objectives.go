package alertapi

import (
	"net/http"

	"github.com/prometheus/common/model"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/objectives"
	"github.com/esper-lite/weatherlight/nissa/internal/wish"
)

// objective is how one is met. What is not known yet is left out.
type objective struct {
	Name       string             `json:"name"`
	Summary    string             `json:"summary"`
	Target     float64            `json:"target"`
	Window     string             `json:"window"`
	Total      float64            `json:"total"`
	Bad        float64            `json:"bad"`
	Attained   *float64           `json:"attained,omitempty"`
	BudgetLeft *float64           `json:"budget_left,omitempty"`
	BurnRates  map[string]float64 `json:"burn_rates,omitempty"` // by window
	Burning    []string           `json:"burning,omitempty"`    // fast, slow
	Runbook    string             `json:"runbook,omitempty"`
}

type objectivesAnswer struct {
	Objectives []objective `json:"objectives"`
}

func (a api) objectives(w http.ResponseWriter, _ *http.Request) {
	shown := []objective{}
	for _, status := range a.desk.Objectives() {
		shown = append(shown, objectiveOf(status))
	}
	wish.Answer(w, http.StatusOK, objectivesAnswer{shown})
}

func objectiveOf(s objectives.Status) objective {
	o := objective{
		Name: s.Objective.Name, Summary: s.Objective.Summary, Target: s.Objective.Target,
		Window: model.Duration(s.Objective.Window).String(), Total: s.Count.Total, Bad: s.Count.Bad, Runbook: s.Objective.Runbook,
	}
	if !s.Known {
		return o
	}
	o.Attained, o.BudgetLeft, o.BurnRates = &s.Attained, &s.Left, map[string]float64{}
	for _, burn := range s.Burns {
		o.BurnRates[model.Duration(burn.Window).String()] = burn.Rate
	}
	for _, speed := range []string{objectives.Fast, objectives.Slow} {
		if s.Burning[speed] {
			o.Burning = append(o.Burning, speed)
		}
	}
	return o
}

// summaryAnswer has the objectives and what fires, by rule.
type summaryAnswer struct {
	SLO    map[string]summaryObjective `json:"slo"`
	Alerts map[string]summaryAlert     `json:"alerts"`
}

type summaryObjective struct {
	Total      float64 `json:"total"`
	Violations float64 `json:"violations"`
	BurnRate   float64 `json:"burn_rate"` // 1 uses the budget up exactly
}

type summaryAlert struct {
	Value    alert.Number `json:"value"`
	Source   string       `json:"source"`
	Severity string       `json:"severity"`
	Summary  string       `json:"summary"`
}

// summary is the answer of the prototype.
func (a api) summary(w http.ResponseWriter, _ *http.Request) {
	answer := summaryAnswer{SLO: map[string]summaryObjective{}, Alerts: map[string]summaryAlert{}}
	for _, s := range a.desk.Objectives() {
		answer.SLO[s.Objective.Name] = summaryObjective{s.Count.Total, s.Count.Bad, 1 - s.Left}
	}
	for _, one := range a.desk.Alerts() {
		if one.State == alert.Firing {
			answer.Alerts[one.Rule] = summaryAlert{one.Value, one.Source, one.Severity, one.Summary}
		}
	}
	wish.Answer(w, http.StatusOK, answer)
}
