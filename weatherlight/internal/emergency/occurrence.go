package emergency

import (
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

const (
	// sharedOrigin marks alarms that came through shared memory.
	sharedOrigin = "shared_signal"
	// occurrencesKept bounds how many alarms are remembered to know them again.
	occurrencesKept = 64
	// occurrenceSpreadMs is how far apart a trainer may stamp one emergency that it
	// raises both in shared memory and on the bus.
	occurrenceSpreadMs = 100
)

// occurrence is what tells one emergency from another.
type occurrence struct {
	alarm

	id  string // of its origin
	run string
}

// same reports whether two occurrences are of one emergency: the same signal
// again, or the one in shared memory and the other on the bus.
func (s occurrence) same(other occurrence) bool {
	if s.Level != other.Level {
		return false
	}
	if s.origin == other.origin {
		return s.id == other.id && s.run == other.run && s.Reason == other.Reason
	}
	if s.origin != sharedOrigin && other.origin != sharedOrigin || s.AtMs == 0 || other.AtMs == 0 {
		return false
	}
	spread := max(s.AtMs, other.AtMs) - min(s.AtMs, other.AtMs)
	return spread <= occurrenceSpreadMs && sharedReason(s.Reason) == sharedReason(other.Reason)
}

// sharedReason is a reason as far as it fits into shared memory.
func sharedReason(reason string) string {
	return strings.ToValidUTF8(reason[:min(len(reason), shmsignal.MaxReason)], "")
}

// sharedID tells a signal of shared memory from others. One without a time is known by
// when it was found.
func sharedID(trigger shmsignal.Trigger) string {
	if trigger.AtMs == 0 {
		return "found/" + strconv.FormatInt(trigger.FoundAt.UnixNano(), 10)
	}
	return strconv.FormatUint(trigger.AtMs, 10)
}
