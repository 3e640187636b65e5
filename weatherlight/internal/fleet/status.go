package fleet

import (
	"time"

	"github.com/esper-lite/weatherlight/telemetry"
)

// Status is who shares the bus.
type Status struct {
	Self   string   `json:"self"`
	Leader string   `json:"leader"` // does the single jobs; empty while nobody does, or we cannot know
	Live   []string `json:"live"`
}

// Status is who shares the bus as far as this instance knows.
func (f *Fleet) Status() *Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.holds(time.Now()) {
		return &Status{Self: f.config.Name, Live: []string{}}
	}
	return &Status{Self: f.config.Name, Leader: f.leader, Live: names(f.members)}
}

// Figures tell who leads.
func (f *Fleet) Figures() []telemetry.Figure {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []telemetry.Figure{
		telemetry.Is("weatherlight.leader", "1 while this instance does the jobs that are done once.", f.token != 0 && f.holds(time.Now())),
		telemetry.Measure("weatherlight.leader.token", "count",
			"Fencing number of this instance's lead, higher with each leader; 0 while another leads.", f.token),
		telemetry.Count("weatherlight.leader.takeovers_total", "Times that this instance began to lead.", f.takeovers),
		telemetry.Count("weatherlight.lease.failures_total",
			"Signs of life of this instance that Redis did not take in time.", f.failures),
		telemetry.Measure("weatherlight.instances", "count", "Live instances on the bus, this one among them.", len(f.members)),
	}
}
