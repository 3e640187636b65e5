package oonatest

import (
	"context"
	"slices"
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

// counting notes each message that was handled by its type.
func counting(j *journal) oona.Handler {
	return func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
		j.add(d.Type.String())
		return nil, nil
	}
}

func testOldAnswer(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.FreshnessWindow, cfg.ClockSkew = time.Minute, time.Second })
	seen := newJournal()
	for stream, m := range answerKinds() {
		kind := leyline.TypeOf(m)
		b.consume(c, oona.Subscription{Stream: stream, Handlers: handlers(kind, counting(seen))})
		b.addSigned(stream, b.envelopeAt(kind, m, stream, "n", time.Now().Add(-2*time.Minute)))
		b.addSigned(stream, b.envelopeAt(kind, m, stream, "n", time.Now().Add(time.Minute)))
		b.addSigned(stream, b.envelopeAt(kind, m, stream, "n", time.Now().Add(-10*time.Second)))
		b.settled(stream, "g")
		if n := seen.count(kind.String()); n != 1 {
			t.Errorf("%d of 1 fresh %s were handled", n, kind)
		}
	}
	if got := b.deadReasons(); !slices.Equal(got, []string{"future", "future", "stale", "stale"}) {
		t.Errorf("dead letters = %v", got)
	}
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
