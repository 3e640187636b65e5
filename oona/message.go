package oona

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
)

// Message is one payload to publish. Its type follows from the payload.
type Message struct {
	Stream     string            // empty: where Route sends the type
	Payload    proto.Message     // one of the thirteen bus payloads
	Attributes map[string]string // travel in the signed envelope, beside those the client sets
	Priority   leyline.MessagePriority
	// Once names the message for good: consumers of this package handle one
	// name once in a group, however often it is published. Empty: a random
	// nonce, and a message of its own each time.
	Once string
}

// content is what the envelope says.
func (m *Message) content() envelope.Content {
	return envelope.Content{Stream: m.Stream, Payload: m.Payload, Attributes: m.Attributes, Once: m.Once}
}

// Delivery is one message handed to a handler.
type Delivery struct {
	Stream, ID string // where the entry lies
	Type       leyline.BusMessageType
	Payload    proto.Message
	Encoded    []byte            // the payload as it came; nobody may change it
	Attributes map[string]string // those that the publisher gave, beside the ones its client set
	Attempt    int               // 1 for the first delivery within the group
	Published  time.Time         // when Redis stored it, by the server's clock
	// Issued is when its publisher signed it, by the clock that Published goes by: publishers may
	// have another one, and that of Redis may have been set since. Zero when the envelope
	// carries none, as those of prototype peers, and long ago when it cannot be read.
	Issued time.Time
}

// Handler processes one delivery. On nil its messages, the replay mark and the
// acknowledgement are committed together; an error brings the same entry back
// after a pause, to this group only, a few times; Permanent(err) dead-letters it at
// once, Outage(err) only if it is the message's own. A panic counts as an error. ctx is cancelled only when time
// to finish has run out.
type Handler func(ctx context.Context, d *Delivery) ([]Message, error)

// Subscription says what to consume and how.
type Subscription struct {
	Stream string
	Group  string // empty: the client's
	// Handlers by type. A type that is valid on the stream and has no handler
	// is acknowledged and ignored; one that is not valid there is poison.
	Handlers map[leyline.BusMessageType]Handler
	// Key, when not nil, names what a delivery is about (a seed, a blueprint, a
	// run). Deliveries of one key are handled strictly in the order of their
	// entries by this consumer, each when the one before is committed: a retry
	// holds back the later ones until it succeeds or is given up. Deliveries of
	// different keys, and of the key "", run beside each other.
	Key func(*Delivery) string
	// Wanted, when not nil, says whether a delivery means anything here. One that
	// does not, such as an answer to somebody else's request, is acknowledged and
	// ignored, and nothing is remembered of it. It is asked for each delivery that
	// can be trusted and has a handler, and must answer at once.
	Wanted func(*Delivery) bool
	// Demand, when not nil, says whether anybody waits for deliveries at all. What
	// comes while nobody does is skipped unread, where the bus can do that.
	Demand *Demand
	// Needs, when not nil, returns what is away of what all handlers need, or nil. It is
	// asked when a handler met an Outage, and must heed its context. While it returns an
	// error the consumer pauses: it reads nothing, hands nothing to a handler, gives back
	// what it had in hand, so that others of the group can take it, and asks again at
	// least every half second. When Needs sees nothing amiss, or is nil, the message that
	// met the outage is tried again alone, beside the others; once as many wait so as one
	// read brings, nothing more is read. After an hour an outage that the message meets
	// counts as an error if another message was handled since the last one that it met.
	Needs func(context.Context) error
	// AnswersOnly says that the handlers do nothing but answer. Then a replay is
	// looked for in Redis by the commit alone, which publishes no answer to one,
	// and no round trip is made before the handlers run.
	AnswersOnly bool
	// Exclusive says that nobody else of the group works while Fence lets this consumer through,
	// as only who leads does. So whatever others have in hand, dead or not, is taken over at once, and
	// nothing is handed on before all that lies before it in the stream.
	Exclusive bool
	// Fence, when not nil, is asked before entries are taken in, handled or
	// committed. While it returns an error nothing is touched, and what is in hand
	// waits. It may take its time, but not longer than its context.
	Fence       func(context.Context) error
	Batch       int           // entries of one read [100]
	Concurrency int           // handlers at the same time [16]
	Block       time.Duration // about the longest wait of one read [500 ms]; the fetch context ends it at once
	OnReady     func()        // called once, when groups exist and own pending entries were taken up
}

func (s Subscription) withDefaults(c Config) Subscription {
	s.Group = cmp.Or(s.Group, c.Group)
	s.Batch = cmp.Or(s.Batch, 100)
	s.Concurrency = cmp.Or(s.Concurrency, 16)
	s.Block = cmp.Or(s.Block, 500*time.Millisecond)
	if s.Fence == nil {
		s.Fence = func(context.Context) error { return nil }
	}
	if s.OnReady == nil {
		s.OnReady = func() {}
	}
	return s
}
