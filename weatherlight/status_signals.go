package weatherlight

import (
	"cmp"
	"errors"
)

// How a signal in a segment of shared memory is found.
const (
	heardMissing = "missing" // there is no segment, or none that can be used
	heardUnused  = "unused"  // nobody has it open
	heardRing    = "ring"    // who has it open rings
	heardPoll    = "poll"    // it is looked at every few milliseconds
)

// SignalStatus is a segment of shared memory in which a trainer raises signals.
type SignalStatus struct {
	Segment string `json:"segment"`
	// HeardBy is missing, unused, ring or poll.
	HeardBy string `json:"heard_by"`
	// Error says why the segment cannot be used, or why it is polled.
	Error string `json:"error,omitempty"`
}

// signalTable is how the segments that are watched are heard now.
func signalTable(monitors []*signalMonitor) []SignalStatus {
	var table []SignalStatus
	for _, m := range monitors {
		table = append(table, m.status())
	}
	return table
}

func (m *signalMonitor) status() SignalStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	status := SignalStatus{Segment: m.segment.path, HeardBy: cmp.Or(m.heard, heardMissing)}
	if err := errors.Join(m.fault, m.unheard); err != nil {
		status.Error = err.Error()
	}
	return status
}
