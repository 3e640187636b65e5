package fleet

import (
	"time"

	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
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

// Points tell who leads.
func (f *Fleet) Points() []metrics.Point {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []metrics.Point{
		{Name: "weatherlight.leader", Value: metrics.Flag(f.token != 0 && f.holds(time.Now())), Unit: "bool"},
		{Name: "weatherlight.leader.token", Value: float64(f.token), Unit: "count"},
		{Name: "weatherlight.leader.takeovers_total", Value: float64(f.takeovers), Unit: "count"},
		{Name: "weatherlight.lease.failures_total", Value: float64(f.failures), Unit: "count"},
		{Name: "weatherlight.instances", Value: float64(len(f.members)), Unit: "count"},
	}
}

// Series explain the points.
func Series() []telemetry.Series {
	return []telemetry.Series{
		{Name: "weatherlight_leader", Kind: telemetry.Gauge, Unit: "bool",
			Meaning: "1 while this instance does the jobs that are done once."},
		{Name: "weatherlight_leader_token", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Fencing number of this instance's lead, higher with each leader; 0 while another leads."},
		{Name: "weatherlight_leader_takeovers_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Times that this instance began to lead."},
		{Name: "weatherlight_lease_failures_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Signs of life of this instance that Redis did not take in time."},
		{Name: "weatherlight_instances", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Live instances on the bus, this one among them."},
	}
}
