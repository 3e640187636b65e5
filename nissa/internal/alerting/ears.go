package alerting

import (
	"cmp"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/setback"
)

// deafAfter is how long the bus may not answer before silence is reckoned anew from when it does again.
const deafAfter = 5 * time.Second

// Place is that of an entry in its stream. The zero one is before all.
type Place struct{ MS, Seq uint64 }

func (p Place) before(other Place) bool {
	return cmp.Or(cmp.Compare(p.MS, other.MS), cmp.Compare(p.Seq, other.Seq)) < 0
}

// Reach is up to which entry a stream is written, and up to which all desks together have read it.
type Reach struct{ Written, Read Place }

// ears know from when to when what was said on the bus was heard here: in that time somebody may have
// been silent.
type ears struct {
	heard    alert.Heard
	answered time.Time        // when the bus did last
	marked   time.Time        // when it was written up to marks
	marks    map[string]Place // by stream
}

// listen takes down how far the streams were when the bus was asked.
func (e *ears) listen(streams map[string]Reach, asked time.Time) {
	if e.answered.IsZero() || asked.Sub(e.answered) >= deafAfter {
		e.heard.Since, e.marks = asked, nil
	}
	e.answered = asked
	written := make(map[string]Place, len(streams))
	readAll, readMarks := true, e.marks != nil
	for name, reach := range streams {
		written[name] = reach.Written
		readAll = readAll && !reach.Read.before(reach.Written)
		readMarks = readMarks && !reach.Read.before(e.marks[name])
	}
	switch {
	case readAll:
		e.heard.Until = asked
	case readMarks:
		e.heard.Until = e.marked
	}
	if e.marks == nil || readAll || readMarks {
		e.marked, e.marks = asked, written
	}
}

// notAfter has nothing heard later than now.
func (e *ears) notAfter(now time.Time) {
	setback.NotAfter(now, &e.heard.Since, &e.heard.Until, &e.answered, &e.marked)
}
