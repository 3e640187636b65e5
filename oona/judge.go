package oona

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/signing"
)

// job is one delivery on its way through the consumer.
type job struct {
	id       string
	mark     string // Redis key of its request id, "" when it has none
	markLife time.Duration
	delivery *Delivery // of the room below, once it is known
	room     Delivery
	key      string              // of its lane, "" when it has none
	handler  Handler             // nil: acknowledge and ignore
	refusal  *deadletter.Refusal // not nil: dead-letter
	started  time.Time
}

// outcome is what came of the delivery, without answers.
func (j *job) outcome() outcome {
	o := outcome{id: j.id, mark: j.mark, life: j.markLife, refusal: j.refusal, started: j.started}
	if j.delivery != nil {
		o.attempt = j.delivery.Attempt
	}
	return o
}

// judge decides what becomes of an entry. Nothing in an entry can make it fail:
// the worst is a refusal.
func (s *consumer) judge(j *job, e entry.Entry, now, onBus time.Time) *job {
	j.id, j.started = e.ID, now
	if !e.Found && e.Bootstrap {
		return j
	}
	fail := func(reason string, err error) *job {
		j.refusal = deadletter.Refuse(reason, err.Error(), e.Attempt)
		return j
	}
	env, reason, err := s.open(e)
	if err != nil {
		return fail(reason, err)
	}
	handler := s.sub.Handlers[env.Kind]
	if handler == nil || !meantFor(&env, s.sub.Group) {
		return j
	}
	message := leyline.NewMessage(env.Kind)
	if err := proto.Unmarshal(env.Payload, message); err != nil {
		return fail(deadletter.ReasonUndecodable, fmt.Errorf("decode %s: %w", env.Kind, err))
	}
	if s.isPoison(e) {
		return fail(deadletter.ReasonExhausted, fmt.Errorf("no outcome of %d deliveries: it may kill its process", e.Attempt-1))
	}
	j.handler = handler
	j.room = Delivery{
		Stream: s.sub.Stream, ID: e.ID, Type: env.Kind, Payload: message,
		Attributes: env.Attributes, Attempt: e.Attempt, Published: entry.StoredBy(e.ID, onBus),
		Issued: env.SignedAt(),
	}
	j.delivery = &j.room
	if !s.wanted(j) {
		return j
	}
	who := identify(message, &env)
	if reason := who.refuse(s.c.cfg, e.Attempt, j.delivery.Published, now); reason != "" {
		return fail(reason, fmt.Errorf("%s %q issued at %s", who.space, who.id, who.issued.Format(time.RFC3339Nano)))
	}
	j.mark = who.mark(s.sub.Group)
	j.markLife = who.life(s.c.cfg)
	s.keyed(j)
	return j
}

// wanted asks whether the delivery means anything here, and takes its handler
// away when it does not.
func (s *consumer) wanted(j *job) (wanted bool) {
	if s.sub.Wanted == nil {
		return true
	}
	defer func() {
		if cause := recover(); cause != nil {
			j.refusal = deadletter.Refuse(deadletter.ReasonPermanent, fmt.Sprintf("panic about whether it is wanted: %v", cause), j.delivery.Attempt)
		}
	}()
	if wanted = s.sub.Wanted(j.delivery); !wanted {
		j.handler = nil
	}
	return wanted
}

// meantFor reports whether a group handles the message: the replay of a dead
// letter is for the group that gave up, and invisible to the others.
func meantFor(e *envelope.Envelope, group string) bool {
	target, targeted := e.Attributes[envelope.ReplayGroup]
	return !targeted || target == group
}

// open verifies the trust of an entry and decodes its envelope; a failure comes
// with its reason.
func (s *consumer) open(e entry.Entry) (envelope.Envelope, string, error) {
	env, reason, err := s.c.open(e, s.sub.Stream, s.c.cfg.Trust)
	if err == nil && !s.valid[env.Kind] {
		return env, deadletter.ReasonWrongType, fmt.Errorf("type %s is not carried by this stream", env.Kind)
	}
	return env, reason, err
}

// open verifies that an entry is a message of somebody who has the secret, meant
// for the stream, and decodes its envelope; a failure comes with its reason.
func (c *Client) open(e entry.Entry, stream string, trust Trust) (envelope.Envelope, string, error) {
	if !e.Found {
		return envelope.Envelope{}, deadletter.ReasonUndecodable, errors.New("entry has no payload field")
	}
	if len(e.Payload) > c.cfg.MaxPayload {
		return envelope.Envelope{}, deadletter.ReasonOversized, fmt.Errorf("%d bytes, %d allowed", len(e.Payload), c.cfg.MaxPayload)
	}
	raw := envelope.ReadOnly(e.Payload)
	if err := c.cfg.Keyring.VerifyEnvelope(raw, e.Signature); err != nil {
		if errors.Is(err, signing.ErrMissingSignature) {
			return envelope.Envelope{}, deadletter.ReasonUnsigned, err
		}
		return envelope.Envelope{}, deadletter.ReasonBadSignature, err
	}
	env, err := envelope.Decode(raw, e.Payload)
	if err != nil {
		return env, deadletter.ReasonUndecodable, err
	}
	if trust == TrustStrict && !env.Bound() {
		return env, deadletter.ReasonUnbound, errors.New("envelope does not sign its stream, time and nonce")
	}
	if origin, told := env.Origin(); told && origin != stream {
		return env, deadletter.ReasonForeignStream, fmt.Errorf("signed for stream %q", origin)
	}
	return env, "", nil
}
