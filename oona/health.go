package oona

import (
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/internal/stats"
)

// Drop counts the entries of a stream that were refused for one reason.
type Drop = stats.Drop

// Drops lists the refused entries of this client, sorted by reason and stream.
func (c *Client) Drops() []Drop { return c.meters.Drops.List() }

// Histogram counts the durations of one path on one stream since the client was
// connected.
type Histogram = stats.Histogram

// Histograms returns the latencies of every path and stream that was used,
// sorted by path and stream. Streams beyond the first 64 are counted as "other".
func (c *Client) Histograms() []Histogram { return c.meters.Histograms() }

// Health is the state of both directions of the bus.
type Health struct {
	PublishState, ConsumeState       leyline.CircuitBreakerState
	PublishFailures, ConsumeFailures int // consecutive
	Conservative                     bool
	// InHand is, of each subscription that is consumed, the message whose handler runs for
	// the longest time, sorted by stream.
	InHand []Hand
}

// consumeFailuresOpen is how many failed reads in a row make the reading side
// count as down.
const consumeFailuresOpen = 3

// Health reports the breakers as this client sees them, without asking Redis.
func (c *Client) Health() Health {
	h := Health{
		ConsumeState:    leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED,
		ConsumeFailures: int(c.meters.ReadFailures.Load()),
		Conservative:    c.admission.Conservative(),
		InHand:          c.deliverer.InHand(),
	}
	h.PublishState, h.PublishFailures = c.admission.Breaker()
	if h.ConsumeFailures >= consumeFailuresOpen {
		h.ConsumeState = leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN
	}
	return h
}
