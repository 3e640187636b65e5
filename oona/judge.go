package oona

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/oona/internal/verify"
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
	if handler == nil || !verify.MeantFor(&env, s.sub.Group) {
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
	who := verify.Identify(message, &env)
	if reason := who.Refuse(s.c.windows, e.Attempt, j.delivery.Published, now); reason != "" {
		return fail(reason, fmt.Errorf("%s %q issued at %s", who.Space, who.ID, who.Issued.Format(time.RFC3339Nano)))
	}
	j.mark = who.Mark(s.sub.Group)
	j.markLife = who.Life(s.c.windows)
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

// open verifies the trust of an entry and decodes its envelope; a failure comes
// with its reason.
func (s *consumer) open(e entry.Entry) (envelope.Envelope, string, error) {
	env, reason, err := s.c.verifier.Open(e, s.sub.Stream, s.c.cfg.Trust == TrustStrict)
	if err == nil && !s.valid[env.Kind] {
		return env, deadletter.ReasonWrongType, fmt.Errorf("type %s is not carried by this stream", env.Kind)
	}
	return env, reason, err
}
