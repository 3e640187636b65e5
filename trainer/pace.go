package trainer

import "time"

const (
	// patientReports is within how many reports what was asked of a trainer must show: one may
	// be lost, and the loop may take its orders late.
	patientReports = 5
	leastPatience  = time.Minute
	mostPatience   = 6 * time.Hour
)

// Patience is how long a command, and the order that comes of it, may take with a trainer
// that reports so often; 0 is not known. Nothing but the next report tells that an order was
// obeyed, so it is never less than a few of them take.
func Patience(interval time.Duration) time.Duration {
	return min(max(leastPatience, patientReports*min(interval, mostPatience)), mostPatience)
}

// Interval is the smoothed time between two reports after one more took so long, faster
// where it falls; known is 0 before there was one.
func Interval(known, passed time.Duration) time.Duration {
	switch {
	case known == 0:
		return passed
	case passed < known:
		return known - (known-passed)/2
	default:
		return known + (passed-known)/4
	}
}
