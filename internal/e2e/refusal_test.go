package e2e

import (
	"fmt"
	"testing"
	"time"
)

// badEntry is one entry that must be refused, by its fields.
type badEntry struct {
	name, reason string
	fields       []string
}

func badEntries() []badEntry {
	now := time.Now()
	good := envelope(typeRequest, kernelRequest("bad", compiled, "run-e2e", now))
	signed := func(payload []byte) []string {
		return []string{"payload", string(payload), "signature", sign(secret, payload)}
	}
	flipped := append([]byte(nil), good...)
	flipped[len(flipped)/2] ^= 0x10
	issued := func(at time.Time) []string {
		return signed(envelope(typeRequest, kernelRequest("bad", compiled, "run-e2e", at)))
	}
	return []badEntry{
		{"unsigned", "unsigned", []string{"payload", string(good)}},
		{"blank signature", "unsigned", []string{"payload", string(good), "signature", ""}},
		{"wrong secret", "bad_signature", []string{"payload", string(good), "signature", sign("other", good)}},
		{"non-ASCII signature", "bad_signature", []string{"payload", string(good), "signature", "sïgnature\xff\xfe"}},
		{"flipped byte", "bad_signature", []string{"payload", string(flipped), "signature", sign(secret, good)}},
		{"stale", "stale", issued(now.Add(-5 * time.Minute))},
		{"undated", "stale", issued(time.Time{})},
		{"future", "future", issued(now.Add(time.Hour))},
		{"empty request id", "missing_id", signed(envelope(typeRequest, kernelRequest("", compiled, "run-e2e", now)))},
		{"oversized", "oversized", signed(envelope(typeRequest, make([]byte, 1<<20)))},
		{"undecodable envelope", "undecodable", signed([]byte("\xff\xff\xff\xff"))},
		{"undecodable request", "undecodable", signed(envelope(typeRequest, []byte("\x0a\xff")))},
		{"no payload", "undecodable", []string{"note", "nothing to see"}},
		{"wrong type", "wrong_type", signed(envelope(typeState, varintField(nil, 1, 1)))},
		{"unknown type", "wrong_type", signed(envelope(77, nil))},
		{"foreign stream", "foreign_stream",
			signed(envelope(typeRequest, kernelRequest("bad", compiled, "run-e2e", now), "stream", streamNormal))},
		{"R40: a command with its own signature", "foreign_form", signed(commandBytes(now))},
	}
}

func TestBadInputIsRefusedCountedAndKept(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	counts := map[string]float64{}
	for number, bad := range badEntries() {
		id, _ := w.bus.do(append([]string{"XADD", streamRequests, "*"}, bad.fields...)...).(string)
		good := w.ask(fmt.Sprintf("good-%d", number), compiled, patience)
		if good.kind != typeReady {
			t.Errorf("%s: the good request behind it got %+v", bad.name, good)
		}
		letter := w.refused(streamRequests, id, bad.reason)
		if bad.fields[0] == "payload" && bad.reason != "oversized" && letter["payload"] != bad.fields[1] {
			t.Errorf("%s: the dead letter does not hold the payload", bad.name)
		}
		counts[bad.reason]++
	}
	for reason, want := range counts {
		// The service counts once it has heard of what the bus shows already.
		eventually(t, "/metrics counts the entries refused as "+reason, patience, func() bool {
			return w.metric(refusedSeries(reason, streamRequests)) >= want
		})
		if got := w.metric(refusedSeries(reason, streamRequests)); got != want {
			t.Errorf("/metrics counts %g entries refused as %s, want %g", got, reason, want)
		}
		eventually(t, "the summary packet counts the entries refused as "+reason, patience, func() bool {
			return w.lastSummary().refusals(reason, streamRequests) == want
		})
	}
	answers := w.answers()
	if len(answers["bad"]) > 0 || len(answers[""]) > 0 {
		t.Errorf("refused requests were answered: %v %v", answers["bad"], answers[""])
	}
}

// TestUnsignedCommandIsRefusedInsideASignedEnvelope: trust in the envelope is
// not trust in the command, which has a signature of its own.
func TestUnsignedCommandIsRefusedInsideASignedEnvelope(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.boot()
	command := stringField(varintField(nil, 1, 1), 2, "command-1")
	payload := envelope(typeCommand, command)
	id, _ := w.bus.do(addCommand(streamNormal, payload, sign(secret, payload))...).(string)
	w.refused(streamNormal, id, "permanent")
	w.settled(streamNormal, patience)
	if got := w.ask("after", missing, patience); got.kind != typeError {
		t.Errorf("the request after it got %+v", got)
	}
}

// commandBytes is what the signature of a command covers, whose id is the bytes of a
// request: read as an envelope, that would be its payload.
func commandBytes(now time.Time) []byte {
	b := stringField(varintField(nil, 1, typeRequest), 2, string(kernelRequest("bad", compiled, "run-e2e", now)))
	return varintField(b, 3, 1)
}
