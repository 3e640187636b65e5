package oonatest

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// answerKinds are the answers to a kernel request, each with its stream.
func answerKinds() map[string]proto.Message {
	return map[string]proto.Message{
		streams.KernelReady:  &leyline.KernelArtifactReady{RequestId: "r"},
		streams.KernelErrors: &leyline.KernelArtifactError{RequestId: "r"},
	}
}

func testOldAnswer(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.FreshnessWindow, cfg.ClockSkew = time.Minute, time.Second })
	seen := newJournal()
	for stream, m := range answerKinds() {
		kind := leyline.TypeOf(m)
		b.consume(c, oona.Subscription{Stream: stream, Handlers: handlers(kind, counting(seen))})
		b.addSigned(stream, b.envelopeAt(m, stream, "n", time.Now().Add(-2*time.Minute)))
		b.addSigned(stream, b.envelopeAt(m, stream, "n", time.Now().Add(time.Minute)))
		b.addSigned(stream, b.envelopeAt(m, stream, "n", time.Now().Add(-10*time.Second)))
		b.settled(stream, "g")
		if n := seen.count(kind.String()); n != 1 {
			t.Errorf("%d of 1 fresh %s were handled", n, kind)
		}
	}
	b.dead("future", "future", "stale", "stale")
}

// A prototype peer does not say when it signed: what can be done is to remember
// its answers for long.
func testAnswersOfPrototype(t *testing.T, b *bus) {
	c := b.client(nil)
	seen := newJournal()
	for stream, m := range answerKinds() {
		kind := leyline.TypeOf(m)
		b.consume(c, oona.Subscription{Stream: stream, Handlers: handlers(kind, counting(seen))})
		b.addSigned(stream, b.envelope(m, nil))
		b.settled(stream, "g")
		b.addSigned(stream, b.envelope(m, nil))
		b.settled(stream, "g")
		if n := seen.count(kind.String()); n != 1 {
			t.Errorf("%s was handled %d times", kind, n)
		}
	}
	marks, err := b.do("KEYS", "oona:replay:g:*").AsStrSlice()
	if err != nil || len(marks) != 2 {
		t.Fatalf("marks = %v, %v", marks, err)
	}
	for _, mark := range marks {
		if left, err := b.do("PTTL", mark).AsInt64(); err != nil || time.Duration(left)*time.Millisecond < time.Hour {
			t.Errorf("%s is kept for %d ms, %v", mark, left, err)
		}
	}
}

// Requests that end in every way there is are committed together: each gets what
// its own handler returned.
func testUnlikeOutcomes(t *testing.T, b *bus) {
	const requests = 60
	c, seen := b.client(nil), newJournal()
	want := make(map[string]int)
	var asked []oona.Message
	for n := range requests {
		id := strconv.Itoa(n)
		asked = append(asked, oona.Message{Payload: request(id)})
		for _, m := range answersTo(id) {
			want[describe(m.Payload)]++
		}
	}
	b.publish(c, asked...)
	b.consume(c, oona.Subscription{
		Stream: streams.KernelRequests, AnswersOnly: true,
		Handlers: handlers(typeRequest, answerEachItsWay),
	})
	b.settled(streams.KernelRequests, "g")
	describing := seeing(func(d *oona.Delivery) { seen.add(describe(d.Payload)) })
	for stream, m := range answerKinds() {
		b.consume(c, oona.Subscription{Stream: stream, Handlers: handlers(leyline.TypeOf(m), describing)})
		b.settled(stream, "g")
	}
	b.same("handled", want, seen.all())
	if dead := b.deadReasons(); len(dead) != requests/5 {
		t.Errorf("%d of %d requests were given up: %v", len(dead), requests/5, dead)
	}
}

// answersTo are the answers to a request: how many, and of which kind, its id says.
func answersTo(id string) []oona.Message {
	good := oona.Message{Payload: &leyline.KernelArtifactReady{RequestId: id}}
	more := oona.Message{Payload: &leyline.KernelArtifactReady{RequestId: id + " again"}}
	bad := oona.Message{Payload: &leyline.KernelArtifactError{RequestId: id}}
	n, _ := strconv.Atoi(id)
	return [][]oona.Message{nil, {good}, {good, bad}, {good, more, bad}, nil}[n%5]
}

func answerEachItsWay(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
	m, _ := d.Payload.(*leyline.KernelPrefetchRequest)
	if n, _ := strconv.Atoi(m.GetRequestId()); n%5 == 4 {
		return nil, oona.Permanent(errors.New("never"))
	}
	return answersTo(m.GetRequestId()), nil
}

func describe(m proto.Message) string {
	answer, _ := m.(interface{ GetRequestId() string })
	return leyline.TypeOf(m).String() + " " + answer.GetRequestId()
}
