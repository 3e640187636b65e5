package kasmina

import (
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Decision is what follows from a message.
type Decision struct {
	Record *Record // nil: unchanged, nothing to write

	Orders   []trainer.Order // numbered and whole; they count only together with Record
	Requests []KernelRequest
	Packets  []*leyline.TelemetryPacket // their ids make a second publishing harmless

	// Due is the earliest deadline of the record as it is now; zero: none.
	Due time.Time

	// Ignored is why a report is not to be acted on by anybody; empty: it is.
	Ignored string

	Rejected *RejectedError // of a command that was refused
	Stats    Stats          // for Counters
}

// Why a report is ignored.
const (
	IgnoredEmpty    = "empty"    // there is no packet in it
	IgnoredStale    = "stale"    // it was signed long before it was stored, or its time cannot be read
	IgnoredUnnamed  = "unnamed"  // it names no trainer
	IgnoredRepeated = "repeated" // its number is not above the last one's
	IgnoredRetired  = "retired"  // it was stored before another trainer took the run over
	IgnoredSecond   = "second"   // another trainer leads the run, and this one lives too
	IgnoredBare     = "bare"     // it only reports, and the run has a trainer that grows
)

// KernelRequest asks the library for a kernel, with the attributes of its envelope.
type KernelRequest struct {
	Request    *leyline.KernelPrefetchRequest
	Attributes map[string]string
}

// Stats is what a decision adds to Counters.
type Stats struct {
	Accepted   int    // commands
	Reason     string // of a refused command
	Evicted    int    // command ids forgotten
	Fallbacks  int    // commands refused for asking for a fallback kernel
	Prefetches []PrefetchEnd
	Unknown    int // answers to nobody's request
	Violations int
	Gates      []GateResult
	Culls      []string // reasons
	Resent     int      // orders sent again
	Dropped    int      // events that did not fit into their packet
}

// PrefetchEnd is a kernel request that was made, or that ended.
type PrefetchEnd struct {
	Status    string   // scheduled, ready, error, timeout or canceled
	LatencyMS *float64 // since the request, of ready and error
}
