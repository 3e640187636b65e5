package oona

import (
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/oona/internal/admission"
	"github.com/esper-lite/weatherlight/oona/internal/delivery"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// What a publisher may act on. Each message that was not published has one
// *PublishError in the joined error, which wraps one of these.
var (
	// ErrUnavailable: Redis could not be reached, refused the write, or the
	// breaker is open. The message may or may not have been stored when the
	// connection broke on the way back.
	ErrUnavailable = redis.ErrUnavailable
	// ErrOverloaded: the readers of the stream are so far behind that a message
	// of this priority is not admitted. Nothing is wrong with the bus.
	ErrOverloaded = admission.ErrOverloaded
	// ErrRateLimited: the emergency budget is spent.
	ErrRateLimited = admission.ErrRateLimited
	// ErrTooLarge: the envelope exceeds MaxPayload, or the record MaxRecord; it
	// will never be accepted.
	ErrTooLarge = envelope.ErrTooLarge
	// ErrNotPublishable: the payload is no bus message, or lacks what its readers
	// cannot do without.
	ErrNotPublishable = envelope.ErrNotPublishable
	// ErrClosed: the client was closed.
	ErrClosed = redis.ErrClosed
)

// ErrDamaged: what lies under the key of a record, or of the stream of its run, is none, or
// takes nothing more. It is no ErrUnavailable: the run cannot be decided on until somebody
// has mended it, and other runs can.
var ErrDamaged = errors.New("damaged")

// ConnectError says which address could not be used, and why. It never holds a
// password.
type ConnectError = redis.ConnectError

// PublishError says which message of a Publish call was not published.
type PublishError struct {
	Index  int // position among the messages of the call
	Stream string
	Err    error
}

func (e *PublishError) Error() string { return fmt.Sprintf("publish to %s: %v", e.Stream, e.Err) }
func (e *PublishError) Unwrap() error { return e.Err }

// ConflictError says that a record is not the version that was decided on:
// somebody else wrote or deleted it. Load it and decide again.
type ConflictError struct {
	Key             RecordKey
	Expected, Found int64 // versions; 0: there is no record
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("record of %s for run %q is version %d, expected %d", e.Key.Part, e.Key.Run, e.Found, e.Expected)
}

// Permanent marks an error of a handler as one that no retry can cure: the
// entry is dead-lettered at once. Permanent(nil) is nil.
func Permanent(err error) error { return delivery.Permanent(err) }

// Outage marks an error of a handler as no fault of the message: what the handler
// needs, such as a database, a disk or a neighbour, is away. The message waits for its
// return and spends none of its attempts, until it has waited for an hour while others
// of the subscription succeed: see Subscription.Needs. An error that wraps ErrUnavailable is an outage by itself.
// Outage(nil) is nil.
func Outage(err error) error { return delivery.Outage(err) }
