package oona

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/delivery"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/oona/internal/verify"
)

// subscriber says what the entries of one subscription mean.
type subscriber struct {
	c     *Client
	sub   Subscription
	valid map[leyline.BusMessageType]bool // what the stream may carry
}

// job is one delivery with its handler.
type job struct {
	c        *Client
	handler  Handler
	delivery Delivery
}

// Run calls the handler. An answer that can never be sent would fail the same way
// on each retry.
func (j *job) Run(ctx context.Context) ([]envelope.Draft, error) {
	messages, err := j.handler(ctx, &j.delivery)
	if err != nil || len(messages) == 0 {
		return nil, err
	}
	now := j.c.Now()
	drafts := make([]envelope.Draft, len(messages))
	room := envelope.Slab{Left: len(messages)}
	for i, m := range messages {
		m = j.c.addressed(m)
		if drafts[i], err = j.c.sealer.Seal(m.content(), now, &room); err != nil {
			return nil, Permanent(fmt.Errorf("answer for %s: %w", m.Stream, err))
		}
	}
	return drafts, nil
}

// judge decides what becomes of entries. Nothing in an entry can make it fail: the
// worst is a refusal. Before one is refused for its date the bus is asked for its
// time: its clock may have been set a moment ago.
func (s *subscriber) judge(entries []entry.Entry, tasks []delivery.Task) {
	jobs := make([]job, len(entries))
	at, fresh := timesOf(s.c.conn), false
	for i, e := range entries {
		s.judgeOne(&tasks[i], &jobs[i], e, at)
		if tasks[i].Refusal == nil || !misdated(tasks[i].Refusal.Reason) {
			continue
		}
		if !fresh {
			s.c.conn.AskTime()
			at, fresh = timesOf(s.c.conn), true
		}
		tasks[i].Refusal = nil
		s.judgeOne(&tasks[i], &jobs[i], e, at)
	}
}

func (s *subscriber) judgeOne(t *delivery.Task, j *job, e entry.Entry, at verify.Times) {
	if reason, err := s.decide(t, j, e, at); err != nil {
		t.Refusal = deadletter.Refuse(reason, err.Error(), e.Attempt)
	}
}

// misdated reports whether a reason to refuse a message is its date.
func misdated(reason string) bool {
	return reason == deadletter.ReasonStale || reason == deadletter.ReasonFuture
}

// decide fills in the task of an entry and the job that does it, or says why the
// entry is refused.
func (s *subscriber) decide(t *delivery.Task, j *job, e entry.Entry, at verify.Times) (reason string, err error) {
	if !e.Found && e.Bootstrap {
		return "", nil
	}
	env, reason, err := s.open(e)
	if err != nil {
		return reason, err
	}
	handler := s.sub.Handlers[env.Kind]
	if handler == nil || !env.MeantFor(s.sub.Group) {
		return "", nil
	}
	message := leyline.NewMessage(env.Kind)
	if err := proto.Unmarshal(env.Payload, message); err != nil {
		return deadletter.ReasonUndecodable, fmt.Errorf("decode %s: %w", env.Kind, err)
	}
	if t.Exhausted {
		return deadletter.ReasonExhausted, fmt.Errorf("no outcome of %d deliveries: it may kill its process", e.Attempt-1)
	}
	j.c, j.handler = s.c, handler
	j.delivery = Delivery{
		Stream: s.sub.Stream, ID: e.ID, Type: env.Kind, Payload: message, Encoded: env.Payload,
		Attributes: env.Attributes, Attempt: e.Attempt,
		Published: at.Published(t.Stored), Issued: at.Issued(env.SignedAt(), t.Stored),
	}
	if wanted, err := s.wanted(&j.delivery); err != nil || !wanted {
		return deadletter.ReasonPermanent, err
	}
	who := verify.Identify(message, &env)
	if reason := who.Refuse(s.c.windows, t.Stored, at); reason != "" {
		return reason, fmt.Errorf("%s %q issued at %s", who.Space, who.ID, who.Issued.Format(time.RFC3339Nano))
	}
	t.Mark = who.Mark(s.sub.Group)
	if t.Key, err = s.key(&j.delivery); err != nil {
		return deadletter.ReasonPermanent, err
	}
	t.Work = j
	return "", nil
}

// wanted asks whether the delivery means anything here.
func (s *subscriber) wanted(d *Delivery) (wanted bool, err error) {
	if s.sub.Wanted == nil {
		return true, nil
	}
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic about whether it is wanted: %v", cause)
		}
	}()
	return s.sub.Wanted(d), nil
}

// key asks for the ordering key of a delivery.
func (s *subscriber) key(d *Delivery) (key string, err error) {
	if s.sub.Key == nil {
		return "", nil
	}
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("key function panicked: %v", cause)
		}
	}()
	return s.sub.Key(d), nil
}

// open verifies the trust of an entry and decodes its envelope; a failure comes
// with its reason.
func (s *subscriber) open(e entry.Entry) (envelope.Envelope, string, error) {
	env, reason, err := s.c.verifier.Open(e, s.sub.Stream, s.c.cfg.Trust == TrustStrict)
	if err == nil && !s.valid[env.Kind] {
		return env, deadletter.ReasonWrongType, fmt.Errorf("type %s is not carried by this stream", env.Kind)
	}
	return env, reason, err
}
