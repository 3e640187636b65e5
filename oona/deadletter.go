package oona

import (
	"cmp"
	"slices"
	"sync"
)

// Reasons an entry is refused for. They are counted by stream, and written on
// its dead letter beside origin_stream, entry_id, group, error, attempts, time
// (unix milliseconds) and the original payload and signature.
const (
	ReasonUnsigned      = "unsigned"
	ReasonBadSignature  = "bad_signature"
	ReasonUndecodable   = "undecodable"
	ReasonWrongType     = "wrong_type"
	ReasonOversized     = "oversized" // its dead letter holds the first MaxPayload bytes only
	ReasonUnbound       = "unbound"   // strict trust: an envelope without our signed attributes
	ReasonStale         = "stale"
	ReasonFuture        = "future"
	ReasonReplay        = "replay"
	ReasonMissingID     = "missing_id"
	ReasonForeignStream = "foreign_stream"
	ReasonExhausted     = "exhausted" // its handler failed RetryAttempts times, or its process died far more often
	ReasonPermanent     = "permanent" // its handler said that no retry can help
)

// maxErrorText bounds the error text kept with a dead letter, in bytes.
const maxErrorText = 2048

// refusal is why an entry becomes a dead letter.
type refusal struct {
	reason   string
	err      string
	attempts int
}

func refuse(reason, text string, attempts int) *refusal {
	if len(text) > maxErrorText {
		text = text[:maxErrorText]
	}
	return &refusal{reason: reason, err: text, attempts: attempts}
}

// Drop counts the entries of a stream that were refused for one reason.
type Drop struct {
	Reason, Stream string
	Count          int64
}

// dropLedger counts refusals.
type dropLedger struct {
	mu     sync.Mutex
	counts map[Drop]int64 // keys have Count 0
}

func newDropLedger() *dropLedger { return &dropLedger{counts: make(map[Drop]int64)} }

func (l *dropLedger) add(reason, stream string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[Drop{Reason: reason, Stream: stream}]++
}

func (l *dropLedger) list() []Drop {
	l.mu.Lock()
	defer l.mu.Unlock()
	drops := make([]Drop, 0, len(l.counts))
	for drop, n := range l.counts {
		drop.Count = n
		drops = append(drops, drop)
	}
	slices.SortFunc(drops, func(a, b Drop) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Stream, b.Stream))
	})
	return drops
}

func (l *dropLedger) total(reasons ...string) int64 {
	var sum int64
	for _, drop := range l.list() {
		if len(reasons) == 0 || slices.Contains(reasons, drop.Reason) {
			sum += drop.Count
		}
	}
	return sum
}

// Drops lists the refused entries of this client, sorted by reason and stream.
func (c *Client) Drops() []Drop { return c.drops.list() }
