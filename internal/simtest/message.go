package simtest

import "strings"

// deadLetters is where the bus keeps what it gave up.
const deadLetters = "oona.deadletter"

// Message is what a stream carries: a name that means the same wherever and however often it is published.
type Message struct {
	Stream string
	Name   string
	Cause  Cause
	Reason string // of a dead letter
}

// Cause is the entry that a message answers or buries.
type Cause struct {
	Stream, Name string
	ID           ID
}

const payloadSeparator = "|"

// payload is what stands for the message in an entry.
func (m Message) payload() string {
	if m.Cause == (Cause{}) {
		return m.Name
	}
	return strings.Join([]string{m.Name, m.Cause.Stream, m.Cause.Name, m.Cause.ID}, payloadSeparator)
}

// messageOf reads the fields of an entry.
func messageOf(stream string, fields []any) Message {
	values := make(map[string]string, len(fields)/2)
	for i := 0; i+1 < len(fields); i += 2 {
		values[text(fields[i])] = text(fields[i+1])
	}
	parts := strings.Split(values["payload"], payloadSeparator)
	m := Message{Stream: stream, Name: parts[0], Reason: values["reason"]}
	switch {
	case stream == deadLetters:
		m.Cause = Cause{Stream: values["origin_stream"], Name: m.Name, ID: values["entry_id"]}
	case len(parts) == 4:
		m.Cause = Cause{Stream: parts[1], Name: parts[2], ID: parts[3]}
	}
	return m
}

// entriesOf reads a list of entries.
func entriesOf(stream string, reply any) []Entry {
	var entries []Entry
	for _, part := range list(reply) {
		entries = append(entries, Entry{Message: messageOf(stream, list(at(part, 1))), ID: text(at(part, 0))})
	}
	return entries
}
