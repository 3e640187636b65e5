package transcript

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
)

// weighed hears of the blueprints that might have been begun at a slot, with what a policy is
// told of each.
type weighed = func(slot string, blueprints []string, rows [][]float32)

// Decide makes the decision again. The error says where it came out differently, if it did.
// What is weighed at each slot, hears is told of; it may be nil.
func (t *Transcript) Decide(hears weighed) (tamiyo.Decision, error) {
	decision, err := t.decide(hears)
	if err != nil {
		return tamiyo.Decision{}, fmt.Errorf("replay %s: %w", t.Name(), err)
	}
	return decision, nil
}

func (t *Transcript) decide(hears weighed) (decision tamiyo.Decision, err error) {
	state, err := t.state()
	if err != nil {
		return tamiyo.Decision{}, err
	}
	record, err := t.known()
	if err != nil {
		return tamiyo.Decision{}, err
	}
	p := &player{transcript: t}
	state.Weighed = hears
	config := t.Settings.config()
	config.Rules = func(string) map[string]string { return t.Rules }
	config.Policies = func() (active, shadow tamiyo.Policy) { return p.policy(t.Policies[0]), p.policy(t.Policies[1]) }
	var candidates func([]int) ([]tamiyo.Candidate, error)
	if t.Lists {
		candidates = p.candidates
	}
	if t.Knows {
		state.Blueprint = p.blueprint
	}
	decision = tamiyo.NewController(config).Decide(record, state, time.Unix(0, t.Now), candidates)
	now, err := outcomeOf(decision, new([]byte))
	if err != nil {
		return tamiyo.Decision{}, err
	}
	if d := differ(&t.Outcome, &now, p.strayed); d != nil {
		return tamiyo.Decision{}, d
	}
	return decision, nil
}

// difference is where a decision came out in another way than it was recorded.
type difference struct {
	What    string // of it
	Was, Is string // as recorded, and now
}

func (d *difference) Error() string {
	return fmt.Sprintf("%s\n  was %s\n  is  %s", d.What, d.Was, d.Is)
}

// Name is the report that was decided on.
func (t *Transcript) Name() string {
	if t.Report != nil {
		return fmt.Sprintf("report %d of trainer %.128q", t.Report.Number, t.Report.TrainerID)
	}
	state, err := t.state()
	if err != nil {
		return "a report that cannot be read"
	}
	return fmt.Sprintf("epoch %d of a trainer that only reports", state.Packet.GetCurrentEpoch())
}

// differ finds the first difference of two outcomes; strayed is what the controller asked for
// that it had not asked for then.
func differ(was, now *outcome, strayed string) *difference {
	if i, same := compare(was.Commands, now.Commands); !same {
		return &difference{fmt.Sprintf("command %d", i+1),
			shown(was.Commands, i, new(leyline.AdaptationCommand)), shown(now.Commands, i, new(leyline.AdaptationCommand))}
	}
	if i, same := compare(was.Reports, now.Reports); !same {
		return &difference{fmt.Sprintf("field report %d", i+1),
			shown(was.Reports, i, new(leyline.FieldReport)), shown(now.Reports, i, new(leyline.FieldReport))}
	}
	switch {
	case was.Record != now.Record:
		return &difference{"record of the run, by SHA-256", was.Record, now.Record}
	case was.Telemetry != now.Telemetry:
		return &difference{"telemetry, by SHA-256", was.Telemetry, now.Telemetry}
	case strayed != "":
		return &difference{"what it asks for", "nothing of the kind", strayed}
	default:
		return nil
	}
}

// compare finds the first of two lists that differs.
func compare(was, is [][]byte) (first int, same bool) {
	for i := range max(len(was), len(is)) {
		if i >= len(was) || i >= len(is) || !bytes.Equal(was[i], is[i]) {
			return i, false
		}
	}
	return 0, true
}

// shown is a message of a list for a reader.
func shown(list [][]byte, i int, as proto.Message) string {
	if i >= len(list) {
		return "none"
	}
	if err := proto.Unmarshal(list[i], as); err != nil {
		return fmt.Sprintf("%d bytes that are none", len(list[i]))
	}
	return protojson.Format(as)
}

// follows says whether a decision was made on the record that another one left.
func (t *Transcript) follows(before *Transcript) bool {
	return digest(t.Record) == before.Outcome.Record
}

// begins says whether nothing was known of the run before.
func (t *Transcript) begins() bool { return string(t.Record) == "null" }

// Result is what a replay came to.
type Result struct {
	Run       string
	Decisions int // made again
	Commands  int // of those
	// Missing are the places where a decision is not in the record of the run, and commands
	// that no decision in it gave.
	Missing    []string
	Difference error // the first; nil: all came out as they were recorded
}

// Replay makes the decisions of a run again, in their order, and ends at the first that
// differs.
func (r *Run) Replay() (Result, error) {
	result := Result{Run: r.ID}
	given := make(map[string]bool)
	for i, t := range r.Decisions {
		switch {
		case i == 0 && !t.begins():
			result.Missing = append(result.Missing, "what was decided before "+t.Name())
		case i > 0 && !t.follows(r.Decisions[i-1]):
			result.Missing = append(result.Missing, "what was decided between "+r.Decisions[i-1].Name()+" and "+t.Name())
		}
		if _, err := t.Decide(nil); err != nil {
			if _, differs := errors.AsType[*difference](err); differs {
				result.Difference, err = err, nil
			}
			return result, err
		}
		result.Decisions++
		for _, text := range t.Outcome.Commands {
			command := new(leyline.AdaptationCommand)
			if err := proto.Unmarshal(text, command); err == nil {
				given[command.GetCommandId()] = true
				result.Commands++
			}
		}
	}
	for _, id := range r.Commands {
		if !given[id] {
			result.Missing = append(result.Missing, fmt.Sprintf("the decision that gave command %.128q", id))
		}
	}
	if r.Cut {
		result.Missing = append(result.Missing, "the end of its export")
	}
	return result, nil
}
