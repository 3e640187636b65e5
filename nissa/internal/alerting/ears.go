package alerting

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
)

// deafAfter is how long the bus may not answer before silence is reckoned anew from when it does again.
const deafAfter = 5 * time.Second

// Reach is up to which entry a stream is written, and up to which all desks together have read it.
type Reach struct{ Written, Read string }

// ears know from when to when what was said on the bus was heard here: in that time somebody may have
// been silent.
type ears struct {
	heard    alert.Heard
	answered time.Time         // when the bus did last
	marked   time.Time         // when it was written up to marks
	marks    map[string]string // by stream
}

// listen takes down how far the streams were when the bus was asked.
func (e *ears) listen(streams map[string]Reach, asked time.Time) {
	if e.answered.IsZero() || asked.Sub(e.answered) >= deafAfter {
		e.heard.Since, e.marks = asked, nil
	}
	e.answered = asked
	written := make(map[string]string, len(streams))
	readAll, readMarks := true, e.marks != nil
	for name, reach := range streams {
		written[name] = reach.Written
		readAll = readAll && !before(reach.Read, reach.Written)
		readMarks = readMarks && !before(reach.Read, e.marks[name])
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
	for _, noted := range []*time.Time{&e.heard.Since, &e.heard.Until, &e.answered, &e.marked} {
		if noted.After(now) {
			*noted = now
		}
	}
}

// before compares ids of entries; none is before all.
func before(a, b string) bool {
	msA, seqA := numbers(a)
	msB, seqB := numbers(b)
	return cmp.Or(cmp.Compare(msA, msB), cmp.Compare(seqA, seqB)) < 0
}

func numbers(id string) (ms, seq uint64) {
	first, second, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(first, 10, 64) // what is no number is 0, as an id that is not there
	seq, _ = strconv.ParseUint(second, 10, 64)
	return ms, seq
}
