package faultproxy

import (
	"context"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
)

// Fault is what the proxy does to its connections for as long as it is set.
// The zero value does nothing.
type Fault struct {
	// Refuse closes every new connection at once. Open ones go on: see Cut.
	Refuse bool
	// HalfOpen swallows whatever is sent in either direction, as after a peer
	// that vanished without a word. A connection that lost bytes stays silent
	// when the fault is over, and only closing it ends it.
	HalfOpen bool
	// Freeze holds everything back, and delivers it when the fault is over.
	Freeze bool
	// Delay holds each chunk back for so long, in each direction.
	Delay time.Duration
	// BytesPerSecond is the rate of one direction of one connection; 0 is unbounded.
	BytesPerSecond int
}

// Step is one line of a script.
type Step struct {
	Cut   bool // close every open connection first
	Fault Fault
	For   time.Duration
}

// Play sets the faults of a script one after the other, and none at the end. It
// ends early, with the cause, when ctx is done.
func (p *Proxy) Play(ctx context.Context, script ...Step) error {
	defer p.Set(Fault{})
	for _, step := range script {
		p.Set(step.Fault)
		if step.Cut {
			p.Cut()
		}
		if !cadence.Sleep(ctx, step.For) {
			return context.Cause(ctx)
		}
	}
	return nil
}
