package transcript

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

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
	value, err := parsed(raw, 64)
	*n = number(value)
	return err
}

func parsed(raw []byte, bits int) (float64, error) {
	said := string(raw)
	if unquoted, err := strconv.Unquote(said); err == nil {
		said = unquoted
	}
	value, err := strconv.ParseFloat(said, bits)
	if err != nil {
		return 0, fmt.Errorf("%.32q is no number", said)
	}
	return value, nil
}

// single is one of fewer digits.
type single float32

// MarshalJSON writes what JSON has no number for as a text.
func (s single) MarshalJSON() ([]byte, error) {
	if value := float64(s); math.IsNaN(value) || math.IsInf(value, 0) {
		return number(value).MarshalJSON()
	}
	return strconv.AppendFloat(nil, float64(s), 'g', -1, 32), nil
}

// UnmarshalJSON reads either.
func (s *single) UnmarshalJSON(raw []byte) error {
	value, err := parsed(raw, 32)
	*s = single(value)
	return err
}

// text is one that JSON carries byte by byte, even when it is none.
type text string

// MarshalJSON writes bytes that are no text as a list of them.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal([][]byte{[]byte(t)})
}

// UnmarshalJSON reads either.
func (t *text) UnmarshalJSON(raw []byte) error {
	var list [][]byte
	if json.Unmarshal(raw, &list) == nil && len(list) == 1 {
		*t = text(list[0])
		return nil
	}
	return json.Unmarshal(raw, (*string)(t))
}

// candidate is a blueprint as the library told of it.
type candidate struct {
	ID           text              `json:"id"`
	Name         text              `json:"name,omitempty"`
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
	earned
}

// earned is what seeds of it came to.
type earned struct {
	Tried int    `json:"tried,omitempty"`
	Kept  int    `json:"kept,omitempty"`
	Gain  number `json:"gain"`
}

func candidateOf(c *tamiyo.Candidate) candidate {
	told := candidate{
		ID: text(c.BlueprintID), Name: text(c.Name), Tier: int32(c.Tier), Risk: number(c.Risk), Stage: c.Stage,
		Parameters: c.ParameterCount, Approval: c.ApprovalRequired, Quarantine: c.QuarantineOnly, MultiplyAdds: c.MultiplyAdds,
		Misfit: c.Misfit, Judged: c.BSDS != nil, earned: earned{c.Earned.Tried, c.Earned.Kept, number(c.Earned.Gain)},
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
		BlueprintID: string(c.ID), Name: string(c.Name), Tier: leyline.BlueprintTier(c.Tier), Risk: float64(c.Risk), Stage: c.Stage,
		ParameterCount: c.Parameters, ApprovalRequired: c.Approval, QuarantineOnly: c.Quarantine, MultiplyAdds: c.MultiplyAdds,
		Misfit: c.Misfit, Earned: tamiyo.Earned{Tried: c.Tried, Kept: c.Kept, Gain: float64(c.Gain)},
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
	Text    text `json:"text"`
	Overdue bool `json:"overdue,omitempty"` // the step ran out of time over it
}

// maxFailure bounds the text of one: the controller tells no more of it.
const maxFailure = 512

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	said := err.Error()
	return &failure{text(said[:min(len(said), maxFailure)]), errors.Is(err, context.DeadlineExceeded)}
}

// Error is what it was.
func (f *failure) Error() string { return string(f.Text) }

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
	ID        text      `json:"id"`
	Known     bool      `json:"known"`
	Candidate candidate `json:"candidate"`
	Failure   *failure  `json:"failure,omitempty"`
}

// consulted is a policy, with its answers in the order in which it was asked.
type consulted struct {
	Version string   `json:"version"`
	Answers []answer `json:"answers,omitempty"`
}

// answer is that to the rows of one slot, or of the living seeds, as far as its columns count: to all of them, or to
// the best alone where nothing of the others is told.
type answer struct {
	Rows    [][]single `json:"rows"`
	Best    int        `json:"best,omitempty"` // its place, when it is alone
	Of      int        `json:"of,omitempty"`   // how many there were, when it is
	Failure *failure   `json:"failure,omitempty"`
}

func answerOf(answers [][]float32, err error, whole bool) answer {
	told := answer{Failure: failureOf(err)}
	if err != nil || len(answers) == 0 {
		return told
	}
	rows := answers
	if !whole {
		best := slices.MaxFunc(answers, func(a, b []float32) int { return cmp.Compare(a[0], b[0]) }) // the first of equals
		told.Best = slices.IndexFunc(answers, func(row []float32) bool { return &row[0] == &best[0] })
		told.Of, rows = len(answers), [][]float32{best}
	}
	for _, row := range rows {
		columns := make([]single, min(len(row), tamiyo.AnswerColumns))
		for i := range columns {
			columns[i] = single(row[i])
		}
		told.Rows = append(told.Rows, columns)
	}
	return told
}

// lacks says that it is no answer to that many rows.
func (a *answer) lacks(rows int) bool {
	told := len(a.Rows)
	if a.Of != 0 || a.Best != 0 {
		if told != 1 || a.Best < 0 || a.Best >= a.Of {
			return true
		}
		told = a.Of
	}
	narrow := func(row []single) bool { return len(row) != tamiyo.AnswerColumns }
	return told != rows || slices.ContainsFunc(a.Rows, narrow)
}

// rows are as many answers as there were. What was not told is worth less than the best.
func (a *answer) rows() [][]float32 {
	answers := make([][]float32, max(a.Of, len(a.Rows)))
	for i := range answers {
		answers[i] = make([]float32, tamiyo.AnswerColumns)
		answers[i][0] = float32(math.Inf(-1))
	}
	for i, row := range a.Rows {
		for column, value := range row {
			answers[a.Best+i][column] = float32(value)
		}
	}
	return answers
}

// listener is a policy whose answers are written down.
type listener struct {
	tamiyo.Policy
	heard   *consulted
	room    *int // for rows of which each is told
	decides bool
}

// Judge asks the policy.
func (l listener) Judge(ctx context.Context, rows [][]float32) ([][]float32, error) {
	answers, err := l.Policy.Judge(ctx, rows)
	if aboutSeeds(rows) {
		l.heard.Answers = append(l.heard.Answers, answerOf(answers, err, true))
		return answers, err
	}
	whole := *l.room > 0 || l.decides && slices.ContainsFunc(answers, begins)
	l.heard.Answers = append(l.heard.Answers, answerOf(answers, err, whole))
	*l.room -= len(answers)
	return answers, err
}

// aboutSeeds says that it is asked about living seeds, of each of which the answer counts.
func aboutSeeds(rows [][]float32) bool { return len(rows) > 0 && rows[0][tamiyo.FeatureLiving] == 1 }

// begins says whether what is answered about a blueprint may begin a seed of it. Then all
// that was considered beside it at its slot is told, in the report of the seed.
func begins(row []float32) bool { return len(row) > 0 && row[0] > 0 }

func (t *Transcript) listen(place int, policy tamiyo.Policy) tamiyo.Policy {
	if policy == nil {
		return nil
	}
	t.Policies[place] = &consulted{Version: tamiyo.VersionOf(policy)}
	// What the one that decides puts behind what an explanation has room for, at slots where it
	// begins nothing, and all but what the one in the shadow puts first, no decision tells of.
	room := 0
	if place == 0 {
		room = tamiyo.MostListed
	}
	return listener{policy, t.Policies[place], &room, place == 0}
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
	i := slices.IndexFunc(p.transcript.Blueprints, func(b blueprint) bool { return string(b.ID) == id })
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
	if told.lacks(len(rows)) {
		return nil, p.stray("policy %.128q about %d blueprints", p.consulted.Version, len(rows))
	}
	return told.rows(), nil
}

func (p *player) policy(told *consulted) tamiyo.Policy {
	if told == nil {
		return nil
	}
	return &played{player: p, consulted: told}
}
