package shmsignal

import (
	"cmp"
	"errors"
)

// How a signal in a segment is found.
const (
	byNothing = "missing" // there is no segment, or none that can be used
	byNobody  = "unused"  // nobody has it open
	byNotice  = "notice"  // who has it open notifies
	byPoll    = "poll"    // it is looked at every few milliseconds
)

// Status is a segment as it is watched now.
type Status struct {
	Segment string `json:"segment"`
	// DetectedBy is missing, unused, notice or poll.
	DetectedBy string `json:"detected_by"`
	// Error says why the segment cannot be used, or why it is polled.
	Error string `json:"error,omitempty"`
}

// Status is how the segments are watched now.
func (w *Watch) Status() []Status {
	var table []Status
	for _, m := range w.poller.monitors {
		table = append(table, m.status())
	}
	return table
}

// Faults are the segments that cannot be used, by path.
func (w *Watch) Faults() map[string]error {
	faults := make(map[string]error)
	for _, m := range w.poller.monitors {
		if err := m.unusable(); err != nil {
			faults[m.segment.path] = err
		}
	}
	return faults
}

func (m *monitor) status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	status := Status{Segment: m.segment.path, DetectedBy: cmp.Or(m.detectedBy, byNothing)}
	if err := errors.Join(m.fault, m.polled); err != nil {
		status.Error = err.Error()
	}
	return status
}
