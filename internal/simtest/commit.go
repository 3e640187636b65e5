package simtest

import "strconv"

// Outcome is how a delivery ended.
type Outcome struct {
	ID      ID
	Name    string // guards against replays; empty for none
	Answers []Message
	Reason  string // why it is given up, empty when it is not
}

// Result is what the bus made of an outcome.
type Result int64

const (
	Stale    Result = iota // somebody else settled the entry: nothing was published
	Done                   // acknowledged, with its answers or its dead letter
	Replayed               // acknowledged and buried: another entry of that name was answered
)

const (
	reasonReplay = "replay"
	markPrefix   = "mark:"
	// Nothing that a scenario does comes near these.
	streamBound = "1000000"
	markLife    = "31536000000" // ms
	maxPayload  = "1000000"
	markPlace   = 6 // of the argument that says where the marks begin
)

// commit settles the deliveries of one group by package oona's script: each is acknowledged, and only if that removed
// it, its answers and its mark, or its dead letter, are stored.
func (b *Bus) commit(stream, group, consumer string, outcomes []Outcome) ([]Result, error) {
	keys, marks := []string{stream, deadLetters}, []string(nil)
	args := []string{group, consumer, streamBound, streamBound, "0", maxPayload, ""}
	for _, o := range outcomes {
		if o.Reason != "" {
			args = append(args, "refused", "1", o.ID, o.Reason, "", "1")
			continue
		}
		life := ""
		if o.Name != "" {
			marks, life = append(marks, markPrefix+stream+":"+group+":"+o.Name), markLife
		}
		args = append(args, "done", "1", life, "1", strconv.Itoa(len(o.Answers)))
		for _, answer := range o.Answers {
			keys = append(keys, answer.Stream)
			args = append(args, strconv.Itoa(len(keys)))
		}
		args = append(args, o.ID)
		for _, answer := range o.Answers {
			args = append(args, answer.payload(), "")
		}
	}
	args[markPlace] = strconv.Itoa(len(keys) + 1)
	keys = append(keys, marks...)
	words := append([]string{"EVAL", b.script, strconv.Itoa(len(keys))}, keys...)
	reply, err := b.do(append(words, args...)...)
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(outcomes))
	for i, o := range outcomes {
		results[i] = Result(number(at(reply, i)))
		b.tell(results[i], o.Answers)
	}
	return results, nil
}

// tell wakes those who wait for answers, when these were stored.
func (b *Bus) tell(result Result, answers []Message) {
	if result != Done {
		return
	}
	for _, answer := range answers {
		b.wake(answer.Stream)
	}
}
