package kasmina

import (
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/gate"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
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

	// What the controller is told of the run with a report; it is empty with all else.

	// Closed is why no seed can be begun in the run now, whatever it is of, as the reason of a
	// refusal; empty: one can.
	Closed string

	// Gone is why the last seeds that ended did, by their ids.
	Gone map[string]string

	// Held are the seeds that are out of the output because the controller asked for that.
	Held []string

	// Lives are the seeds that are on their way or in the model and not kept: a command for another
	// one is refused, or comes to nothing.
	Lives []string

	// Patience is how long a command of the run may take to show.
	Patience time.Duration

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
	Gates      []gate.Result
	Culls      []string // reasons
	Resent     int      // orders sent again
	Dropped    int      // events that did not fit into their packet
}

// PrefetchEnd is a kernel request that was made, or that ended.
type PrefetchEnd struct {
	Status    string   // scheduled, ready, error, timeout or canceled
	LatencyMS *float64 // since the request, of ready and error
}

// Message is what a decision is made on: a Report, Command, Ready, Refusal,
// Emergency or Tick.
type Message interface{ message() }

// Report is a state packet of a trainer. Without Protocol it comes from one that
// only reports, and Report is empty.
type Report struct {
	Packet   *leyline.SystemStatePacket
	Report   trainer.Report
	Protocol bool

	Issued time.Time // when the envelope was signed; zero: it does not say
	Stored time.Time // when the bus took it; zero: just now
}

// Command is a command that Core.Verify found good.
type Command struct{ Command *leyline.AdaptationCommand }

// Ready announces a kernel, with the attributes of its envelope.
type Ready struct {
	Ready      *leyline.KernelArtifactReady
	Attributes map[string]string
}

// Refusal is the library's word that it has no such kernel.
type Refusal struct{ Refusal *leyline.KernelArtifactError }

// Emergency is an emergency signal. From CONSERVATIVE on it pauses the run's
// seeds, HALT stops the training; it acts once for each ID. Run is empty when it is about
// all runs that there are. One that names a run of which no report was taken yet holds
// from the first on.
type Emergency struct {
	Run    string
	Level  leyline.EmergencyLevel
	Reason string
	Origin string
	ID     string
}

// Tick says that time has passed.
type Tick struct{}

func (Report) message()    {}
func (Command) message()   {}
func (Ready) message()     {}
func (Refusal) message()   {}
func (Emergency) message() {}
func (Tick) message()      {}

// tell tells the controller, which decides on reports alone, what it has to know of the run.
func (d *Decision) tell(r *Record, maxSeeds int, now millis) {
	if rejected := closed(nil, r, maxSeeds, now); rejected != nil {
		d.Closed = rejected.Reason
	}
	d.Gone, d.Held, d.Lives, d.Patience = gone(r.Ended), held(r.Seeds), lives(r.Seeds), r.patience()
}

// gone is why the last seeds that ended did, by their ids.
func gone(ended []endedSeed) map[string]string {
	if len(ended) == 0 {
		return nil
	}
	reasons := make(map[string]string, len(ended))
	for i := range ended {
		reasons[ended[i].Seed] = ended[i].Reason
	}
	return reasons
}

func lives(seeds []*seed) (ids []string) {
	for _, s := range seeds {
		if lifecycle.Cullable(s.Stage) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// held are the ids of the seeds that the controller keeps out of the output. One of which nobody
// knows who took it out may be an operator's: that is lifted only if the controller remembers it.
func held(seeds []*seed) (ids []string) {
	for _, s := range seeds {
		if s.Paused&pausedByController != 0 {
			ids = append(ids, s.ID)
		}
	}
	return ids
}
