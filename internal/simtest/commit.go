package simtest

// Outcome is how a delivery ended.
type Outcome struct {
	ID      ID
	Name    string // guards against replays; empty for none
	Answers []Message
	Reason  string // why it is given up, empty when it is not
}

// Result is what the bus made of an outcome.
type Result int

const (
	Stale    Result = iota // somebody else settled the entry: nothing was published
	Done                   // acknowledged, with its answers or its dead letter
	Replayed               // acknowledged and buried: another entry of that name was answered
)

const reasonReplay = "replay"

// commit settles the deliveries of one group: each is acknowledged, and only if that removed it, its answers and its
// mark, or its dead letter, are stored.
func (b *Bus) commit(stream, groupName string, outcomes []Outcome) ([]Result, error) {
	g, err := b.group(stream, groupName)
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(outcomes))
	for i, o := range outcomes {
		if g.acknowledge(o.ID) || b.defects.DoubleAck {
			results[i] = b.settle(stream, groupName, o)
		}
	}
	return results, nil
}

func (b *Bus) settle(stream, group string, o Outcome) Result {
	if o.Reason != "" {
		b.bury(stream, o, o.Reason)
		return Done
	}
	m := mark{stream, group, o.Name}
	if holder, held := b.marks[m]; held && holder != o.ID && o.Name != "" && !b.defects.NoMarks {
		b.bury(stream, o, reasonReplay)
		return Replayed
	}
	for _, answer := range o.Answers {
		b.add(answer)
	}
	if o.Name != "" {
		b.marks[m] = o.ID
	}
	return Done
}

func (b *Bus) bury(stream string, o Outcome, reason string) {
	origin := b.stream(stream).entries[o.ID-1].message
	b.add(Message{Stream: deadLetters, Name: origin.Name, Reason: reason, Cause: Cause{stream, origin.Name, o.ID}})
}
