package transcript

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
)

// number is a figure that JSON carries even when it is none.
type number float64

// MarshalJSON writes what JSON has no number for as a text.
func (n number) MarshalJSON() ([]byte, error) {
	text := strconv.AppendFloat(nil, float64(n), 'g', -1, 64)
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return strconv.AppendQuote(nil, string(text)), nil
	}
	return text, nil
}

// UnmarshalJSON reads either.
func (n *number) UnmarshalJSON(raw []byte) error {
	text := string(raw)
	if unquoted, err := strconv.Unquote(text); err == nil {
		text = unquoted
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fmt.Errorf("%.32q is no number", text)
	}
	*n = number(value)
	return nil
}

// candidate is a blueprint as the library told of it.
type candidate struct {
	ID           string            `json:"id"`
	Tier         int32             `json:"tier,omitempty"`
	Risk         number            `json:"risk"`
	Stage        uint32            `json:"stage,omitempty"`
	Parameters   int               `json:"parameters,omitempty"`
	Approval     bool              `json:"approval,omitempty"`
	Quarantine   bool              `json:"quarantine,omitempty"`
	MultiplyAdds int64             `json:"multiply_adds,omitempty"`
	LatencyMS    map[string]number `json:"latency_ms,omitempty"`
	Misfit       bool              `json:"misfit,omitempty"`
	BSDS         []byte            `json:"bsds,omitempty"`
	Judged       bool              `json:"judged,omitempty"` // there is a BSDS, though it may be empty
	Tried        int               `json:"tried,omitempty"`
	Kept         int               `json:"kept,omitempty"`
	Gain         number            `json:"gain"`
}

func candidateOf(c *tamiyo.Candidate) candidate {
	told := candidate{
		ID: c.BlueprintID, Tier: int32(c.Tier), Risk: number(c.Risk), Stage: c.Stage, Parameters: c.ParameterCount,
		Approval: c.ApprovalRequired, Quarantine: c.QuarantineOnly, MultiplyAdds: c.MultiplyAdds, Misfit: c.Misfit,
		Judged: c.BSDS != nil, Tried: c.Earned.Tried, Kept: c.Earned.Kept, Gain: number(c.Earned.Gain),
	}
	if len(c.LatencyMS) > 0 {
		told.LatencyMS = make(map[string]number, len(c.LatencyMS))
		for device, ms := range c.LatencyMS {
			told.LatencyMS[device] = number(ms)
		}
	}
	if told.Judged {
		told.BSDS, _ = deterministic(c.BSDS) // what came over the bus can be written
	}
	return told
}

func candidatesOf(all []tamiyo.Candidate) []candidate {
	told := make([]candidate, len(all))
	for i := range all {
		told[i] = candidateOf(&all[i])
	}
	return told
}

func (c *candidate) candidate() (tamiyo.Candidate, error) {
	told := tamiyo.Candidate{
		BlueprintID: c.ID, Tier: leyline.BlueprintTier(c.Tier), Risk: float64(c.Risk), Stage: c.Stage, ParameterCount: c.Parameters,
		ApprovalRequired: c.Approval, QuarantineOnly: c.Quarantine, MultiplyAdds: c.MultiplyAdds, Misfit: c.Misfit,
		Earned: tamiyo.Earned{Tried: c.Tried, Kept: c.Kept, Gain: float64(c.Gain)},
	}
	if len(c.LatencyMS) > 0 {
		told.LatencyMS = make(map[string]float64, len(c.LatencyMS))
		for device, ms := range maps.All(c.LatencyMS) {
			told.LatencyMS[device] = float64(ms)
		}
	}
	if !c.Judged {
		return told, nil
	}
	told.BSDS = new(leyline.BSDS)
	if err := proto.Unmarshal(c.BSDS, told.BSDS); err != nil {
		return tamiyo.Candidate{}, fmt.Errorf("BSDS of %.128q: %w", c.ID, err)
	}
	return told, nil
}

// failure is why something could not be told.
type failure struct {
	Text    string `json:"text"`
	Overdue bool   `json:"overdue,omitempty"` // the step ran out of time over it
}

// maxFailure bounds the text of one: the controller tells no more of it.
const maxFailure = 512

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	text := err.Error()
	return &failure{text[:min(len(text), maxFailure)], errors.Is(err, context.DeadlineExceeded)}
}

// Error is what it was.
func (f *failure) Error() string { return f.Text }

// Is says that it was for want of time.
func (f *failure) Is(target error) bool { return f.Overdue && target == context.DeadlineExceeded }

func (f *failure) err() error {
	if f == nil {
		return nil
	}
	return f
}

// slotAnswer is what fitted a slot.
type slotAnswer struct {
	Slot       []int       `json:"slot"`
	Candidates []candidate `json:"candidates"`
	Failure    *failure    `json:"failure,omitempty"`
}

// blueprint is what was known of the blueprint of a seed.
type blueprint struct {
	ID        string    `json:"id"`
	Known     bool      `json:"known"`
	Candidate candidate `json:"candidate"`
	Failure   *failure  `json:"failure,omitempty"`
}

// consulted is a policy, with its answers in the order in which it was asked.
type consulted struct {
	Version string   `json:"version"`
	Answers []answer `json:"answers,omitempty"`
}

// answer is that to the rows of one slot, as far as its columns count.
type answer struct {
	Rows    [][]number `json:"rows"`
	Failure *failure   `json:"failure,omitempty"`
}

// listener is a policy whose answers are written down.
type listener struct {
	tamiyo.Policy
	heard *consulted
}

// Judge asks the policy.
func (l listener) Judge(ctx context.Context, rows [][]float32) ([][]float32, error) {
	answers, err := l.Policy.Judge(ctx, rows)
	told := answer{Failure: failureOf(err)}
	for _, row := range answers {
		numbers := make([]number, min(len(row), tamiyo.AnswerColumns))
		for i := range numbers {
			numbers[i] = number(row[i])
		}
		told.Rows = append(told.Rows, numbers)
	}
	l.heard.Answers = append(l.heard.Answers, told)
	return answers, err
}

func (t *Transcript) listen(place int, policy tamiyo.Policy) tamiyo.Policy {
	if policy == nil {
		return nil
	}
	t.Policies[place] = &consulted{Version: tamiyo.VersionOf(policy)}
	return listener{policy, t.Policies[place]}
}

// errOther is told to a controller that asks for what it did not ask for then.
var errOther = errors.New("nothing of that was recorded")

// player answers a controller as it was answered then.
type player struct {
	transcript *Transcript
	slots      int    // asked for so far
	strayed    string // what it asked for that it did not then
}

func (p *player) stray(format string, args ...any) error {
	if p.strayed == "" {
		p.strayed = fmt.Sprintf(format, args...)
	}
	return errOther
}

func (p *player) candidates(slot []int) ([]tamiyo.Candidate, error) {
	if p.slots >= len(p.transcript.Slots) || !slices.Equal(p.transcript.Slots[p.slots].Slot, slot) {
		return nil, p.stray("what fits a slot of %v", slot)
	}
	told := &p.transcript.Slots[p.slots]
	p.slots++
	all := make([]tamiyo.Candidate, len(told.Candidates))
	for i := range all {
		var err error
		if all[i], err = told.Candidates[i].candidate(); err != nil {
			return nil, p.stray("%v", err)
		}
	}
	return all, told.Failure.err()
}

func (p *player) blueprint(id string) (tamiyo.Candidate, bool, error) {
	i := slices.IndexFunc(p.transcript.Blueprints, func(b blueprint) bool { return b.ID == id })
	if i < 0 {
		return tamiyo.Candidate{}, false, p.stray("the blueprint %.128q", id)
	}
	told := &p.transcript.Blueprints[i]
	c, err := told.Candidate.candidate()
	if err != nil {
		return tamiyo.Candidate{}, false, p.stray("%v", err)
	}
	return c, told.Known, told.Failure.err()
}

// played is a policy that answers as it answered then.
type played struct {
	*player
	*consulted
	asked int
}

// Version is that of the policy.
func (p *played) Version() string { return p.consulted.Version }

// Judge gives the next answer.
func (p *played) Judge(_ context.Context, rows [][]float32) ([][]float32, error) {
	if p.asked >= len(p.Answers) {
		return nil, p.stray("policy %.128q about %d blueprints", p.consulted.Version, len(rows))
	}
	told := p.Answers[p.asked]
	p.asked++
	if told.Failure != nil {
		return nil, told.Failure
	}
	answers := make([][]float32, len(told.Rows))
	for i, row := range told.Rows {
		if len(row) != tamiyo.AnswerColumns {
			return nil, p.stray("policy %.128q with answers of other columns", p.consulted.Version)
		}
		for _, value := range row {
			answers[i] = append(answers[i], float32(value))
		}
	}
	if len(answers) != len(rows) {
		return nil, p.stray("policy %.128q about %d blueprints", p.consulted.Version, len(rows))
	}
	return answers, nil
}

func (p *player) policy(told *consulted) tamiyo.Policy {
	if told == nil {
		return nil
	}
	return &played{player: p, consulted: told}
}
