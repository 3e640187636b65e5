package urza

import "time"

// clock counts nanoseconds since it was made. It goes on evenly when somebody sets
// the time of day: by that, what is remembered could seem fresh for hours.
type clock struct{ begun time.Time }

func newClock() clock { return clock{time.Now()} }

func (c clock) now() int64 { return int64(time.Since(c.begun)) }
