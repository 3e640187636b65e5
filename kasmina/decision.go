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

	// Ignored says that a report is not to be acted on by anybody: it is a
	// repetition, a captured one, or from a trainer that the run is not led by.
	Ignored bool

	Rejected *RejectedError // of a command that was refused
	Stats    Stats          // for Counters
}

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
	Status    string  // scheduled, ready, error, timeout or canceled
	LatencyMS float64 // since the request, of ready and error
}
