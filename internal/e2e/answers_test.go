package e2e

import (
	"slices"
	"testing"
	"time"
)

// answer is a reply to a kernel request as it stands on the bus.
type answer struct {
	kind                         uint64
	requestID, blueprintID       string
	artifactRef, checksum, cause string
}

// request sends a signed request for a blueprint and returns its entry id.
func (w *world) request(id, blueprint string) (entryID string) {
	w.t.Helper()
	entryID, _ = w.bus.do(requestCommand(id, blueprint)...).(string)
	return entryID
}

func requestCommand(id, blueprint string) []string {
	payload := envelope(typeRequest, kernelRequest(id, blueprint, "run-e2e", time.Now()))
	return addCommand(streamRequests, payload, sign(secret, payload))
}

func addCommand(stream string, payload []byte, signature string) []string {
	command := []string{"XADD", stream, "*", "payload", string(payload)}
	if signature == "" {
		return command
	}
	return append(command, "signature", signature)
}

// answers reads every answer on the bus, by request id. Each must be signed.
func (w *world) answers() map[string][]answer {
	w.t.Helper()
	answers := map[string][]answer{}
	for _, e := range slices.Concat(w.bus.entries(streamReady), w.bus.entries(streamErrors)) {
		payload := []byte(e.fields["payload"])
		if e.fields["signature"] != sign(secret, payload) {
			w.t.Errorf("entry %s is not signed with our secret: %v", e.id, e.fields)
		}
		if a := decodeAnswer(w.t, payload); a.requestID != "" {
			answers[a.requestID] = append(answers[a.requestID], a)
		}
	}
	return answers
}

// decodeAnswer returns the zero answer for any other message.
func decodeAnswer(t testing.TB, payload []byte) answer {
	t.Helper()
	outer := decodeMessage(t, payload)
	kind := outer[1].varint
	if kind != typeReady && kind != typeError {
		return answer{}
	}
	inner := decodeMessage(t, outer[2].bytes)
	a := answer{kind: kind, requestID: inner.text(1), blueprintID: inner.text(2)}
	if kind == typeError {
		a.cause = inner.text(3)
		return a
	}
	a.artifactRef, a.checksum = inner.text(3), inner.text(4)
	return a
}

// ask sends a request and waits for its one answer.
func (w *world) ask(id, blueprint string, within time.Duration) answer {
	w.t.Helper()
	w.request(id, blueprint)
	return w.await(id, within)
}

func (w *world) await(id string, within time.Duration) (got answer) {
	w.t.Helper()
	eventually(w.t, "request "+id+" is answered", within, func() bool {
		answers := w.answers()[id]
		if len(answers) > 0 {
			got = answers[0]
		}
		return len(answers) > 0
	})
	return got
}

// mustBeAnsweredOnce checks every id and returns how many were lost and how
// many were answered more than once.
func (w *world) mustBeAnsweredOnce(ids []string) (lost, duplicated int) {
	w.t.Helper()
	answers := w.answers()
	for _, id := range ids {
		switch n := len(answers[id]); {
		case n == 0:
			lost++
		case n > 1:
			duplicated++
		}
	}
	if lost+duplicated > 0 {
		w.t.Errorf("of %d requests %d were lost and %d answered more than once", len(ids), lost, duplicated)
	}
	return lost, duplicated
}

// settled waits until the group has read the whole stream and finished it.
func (w *world) settled(stream string, within time.Duration) {
	w.t.Helper()
	w.settledFor(group, stream, within)
}

func (w *world) settledFor(group, stream string, within time.Duration) {
	w.t.Helper()
	eventually(w.t, stream+" is read to its end and nothing is pending", within, func() bool {
		g := w.bus.group(stream, group)
		return g["pending"] == "0" && g["lag"] == "0"
	})
}

// deadLetters returns the dead letters of one entry.
func (w *world) deadLetters(entryID string) (found []map[string]string) {
	w.t.Helper()
	for _, e := range w.bus.entries(streamDeadLetter) {
		if e.fields["entry_id"] == entryID {
			found = append(found, e.fields)
		}
	}
	return found
}

// refused waits for the dead letter of an entry and checks what it says.
func (w *world) refused(stream, entryID, reason string) map[string]string {
	w.t.Helper()
	var letters []map[string]string
	eventually(w.t, "entry "+entryID+" becomes a dead letter ("+reason+")", patience, func() bool {
		letters = w.deadLetters(entryID)
		return len(letters) > 0
	})
	letter := letters[0]
	if len(letters) != 1 || letter["origin_stream"] != stream || letter["group"] != group || letter["reason"] != reason {
		w.t.Errorf("entry %s of %s, reason %s: dead letters %.600v", entryID, stream, reason, letters)
	}
	if letter["error"] == "" || letter["attempts"] == "" || letter["time"] == "" {
		w.t.Errorf("dead letter without error, attempts or time: %.600v", letter)
	}
	return letter
}

// lastSummary is the newest summary packet on the telemetry stream.
func (w *world) lastSummary() (last packet) {
	w.t.Helper()
	for _, e := range w.bus.entries(streamTelemetry) {
		outer := decodeMessage(w.t, []byte(e.fields["payload"]))
		if outer[1].varint != typeTelemetry {
			continue
		}
		if p := decodePacket(w.t, outer[2].bytes); p.source == "weatherlight" && p.has("weatherlight.uptime_s") {
			last = p
		}
	}
	return last
}

// value returns the value of a point, -1 when there is none.
func (p packet) value(name string) float64 {
	for _, point := range p.points {
		if point.name == name {
			return point.value
		}
	}
	return -1
}

func (p packet) has(name string) bool {
	return slices.ContainsFunc(p.points, func(point metricPoint) bool { return point.name == name })
}

// refusals is how many entries of a stream the packet says were refused.
func (p packet) refusals(reason, stream string) float64 {
	for _, point := range p.points {
		if point.name == "oona.refused_total" && point.attributes["reason"] == reason && point.attributes["stream"] == stream {
			return point.value
		}
	}
	return 0
}
