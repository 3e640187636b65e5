// Package deadletter keeps what was refused or given up: a Letter is one such entry
// with its reason, a Queue lists letters, replays them and removes them, and a
// Refusal is what an entry is given up with. Client.DeadLetters makes a Queue for
// operators and housekeeping; the delivery of messages refuses.
package deadletter

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
	ReasonForeignForm   = "foreign_form" // signed as something else than an envelope: a command
	ReasonExcessive     = "excessive"    // a text or a list in it is longer than readers remember
	ReasonExhausted     = "exhausted"    // its handler failed RetryAttempts times, or its process died far more often
	ReasonPermanent     = "permanent"    // its handler said that no retry can help
)

// maxErrorText bounds the error text kept with a dead letter, in bytes.
const maxErrorText = 2048

// Refusal is why an entry becomes a dead letter.
type Refusal struct {
	Reason   string
	Err      string // at most 2 KiB
	Attempts int
}

// Refuse gives an entry up, after so many attempts.
func Refuse(reason, text string, attempts int) *Refusal {
	if len(text) > maxErrorText {
		text = text[:maxErrorText]
	}
	return &Refusal{Reason: reason, Err: text, Attempts: attempts}
}
