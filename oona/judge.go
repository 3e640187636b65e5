package oona

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/signing"
)

// job is one delivery on its way through the consumer.
type job struct {
	id       string
	mark     string // Redis key of its request id, "" when it has none
	markLife time.Duration
	delivery *Delivery // of the room below, once it is known
	room     Delivery
	key      string   // of its lane, "" when it has none
	handler  Handler  // nil: acknowledge and ignore
	refusal  *refusal // not nil: dead-letter
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
		j.refusal = refuse(reason, err.Error(), e.Attempt)
		return j
	}
	env, reason, err := s.open(e)
	if err != nil {
		return fail(reason, err)
	}
	handler := s.sub.Handlers[env.kind]
	if handler == nil || !env.meantFor(s.sub.Group) {
		return j
	}
	message := leyline.NewMessage(env.kind)
	if err := proto.Unmarshal(env.payload, message); err != nil {
		return fail(ReasonUndecodable, fmt.Errorf("decode %s: %w", env.kind, err))
	}
	if s.isPoison(e) {
		return fail(ReasonExhausted, fmt.Errorf("no outcome of %d deliveries: it may kill its process", e.Attempt-1))
	}
	j.handler = handler
	j.room = Delivery{
		Stream: s.sub.Stream, ID: e.ID, Type: env.kind, Payload: message,
		Attributes: env.attributes, Attempt: e.Attempt, Published: entry.StoredBy(e.ID, onBus),
		Issued: env.signedAt(),
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
			j.refusal = refuse(ReasonPermanent, fmt.Sprintf("panic about whether it is wanted: %v", cause), j.delivery.Attempt)
		}
	}()
	if wanted = s.sub.Wanted(j.delivery); !wanted {
		j.handler = nil
	}
	return wanted
}

// meantFor reports whether a group handles the message: the replay of a dead
// letter is for the group that gave up, and invisible to the others.
func (e *envelope) meantFor(group string) bool {
	target, targeted := e.attributes[attributeReplayGroup]
	return !targeted || target == group
}

// open verifies the trust of an entry and decodes its envelope; a failure comes
// with its reason.
func (s *consumer) open(e entry.Entry) (envelope, string, error) {
	env, reason, err := s.c.open(e, s.sub.Stream, s.c.cfg.Trust)
	if err == nil && !s.valid[env.kind] {
		return env, ReasonWrongType, fmt.Errorf("type %s is not carried by this stream", env.kind)
	}
	return env, reason, err
}

// open verifies that an entry is a message of somebody who has the secret, meant
// for the stream, and decodes its envelope; a failure comes with its reason.
func (c *Client) open(e entry.Entry, stream string, trust Trust) (envelope, string, error) {
	if !e.Found {
		return envelope{}, ReasonUndecodable, errors.New("entry has no payload field")
	}
	if len(e.Payload) > c.cfg.MaxPayload {
		return envelope{}, ReasonOversized, fmt.Errorf("%d bytes, %d allowed", len(e.Payload), c.cfg.MaxPayload)
	}
	raw := readOnly(e.Payload)
	if err := c.cfg.Keyring.VerifyEnvelope(raw, e.Signature); err != nil {
		if errors.Is(err, signing.ErrMissingSignature) {
			return envelope{}, ReasonUnsigned, err
		}
		return envelope{}, ReasonBadSignature, err
	}
	env, err := decodeEnvelope(raw, e.Payload)
	if err != nil {
		return env, ReasonUndecodable, err
	}
	if trust == TrustStrict && !env.bound() {
		return env, ReasonUnbound, errors.New("envelope does not sign its stream, time and nonce")
	}
	if origin := env.own[ownStream]; origin.set && origin.value != stream {
		return env, ReasonForeignStream, fmt.Errorf("signed for stream %q", origin.value)
	}
	return env, "", nil
}

// bound reports whether the envelope carries every attribute that keeps it from
// being replayed elsewhere or later.
func (e *envelope) bound() bool {
	for _, attribute := range e.own {
		if attribute.value == "" {
			return false
		}
	}
	return true
}
