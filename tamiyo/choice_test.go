package tamiyo

import (
	"math"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
)

// with is a safe blueprint, changed.
func with(id string, parameters int, change func(*Candidate)) Candidate {
	c := safe(id, parameters)
	if change != nil {
		change(&c)
	}
	return c
}

func TestWhichOfTwoBlueprintsIsBegun(t *testing.T) {
	t.Parallel()
	features := []int{32}
	earned := func(tried, kept int, gain float64) func(*Candidate) {
		return func(c *Candidate) { c.Earned = Earned{Tried: tried, Kept: kept, Gain: gain} }
	}
	risk := func(risk float64) func(*Candidate) { return func(c *Candidate) { c.Risk = risk } }
	for name, row := range map[string]struct {
		better, worse Candidate
		shape         []int
		device        string
	}{
		"more parameters":              {with("b", 2000, nil), with("a", 1000, nil), features, ""},
		"not many more with more risk": {with("b", 9000, risk(0.1)), with("a", 12000, risk(0.5)), features, ""},
		"less risk":                    {with("b", 1000, risk(0.1)), with("a", 1000, risk(0.2)), features, ""},
		"judged as less of a risk":     {with("b", 1000, risk(0.1)), with("a", 1000, func(c *Candidate) { c.Risk, c.BSDS = 0.1, &leyline.BSDS{RiskScore: 0.4} }), features, ""},
		"a judgement lowers no risk":   {with("a", 1000, risk(0.3)), with("b", 1000, func(c *Candidate) { c.Risk, c.BSDS = 0.3, &leyline.BSDS{RiskScore: 0.1} }), features, ""},
		"it fits":                      {with("b", 1000, nil), with("a", 1500, func(c *Candidate) { c.Misfit = true }), features, ""},
		"fewer multiply-adds":          {with("b", 1000, func(c *Candidate) { c.MultiplyAdds = 1000 }), with("a", 1000, func(c *Candidate) { c.MultiplyAdds = 2000 }), features, ""},
		"kept before":                  {with("b", 500, earned(3, 3, 0.1)), with("a", 2000, nil), features, ""},
		"not dropped before":           {with("b", 500, nil), with("a", 2000, earned(6, 0, 0)), features, ""},
		"kept seeds that brought more": {with("b", 1000, earned(4, 2, 0.5)), with("a", 1000, earned(4, 2, 0.1)), features, ""},
		"one failure is not the end":   {with("b", 9000, earned(1, 0, 0)), with("a", 300, nil), features, ""},
		"the name, when all is equal":  {with("a", 1000, nil), with("b", 1000, nil), features, ""},
		"faster on the trainer's": {
			with("b", 1000, func(c *Candidate) { c.LatencyMS = map[string]float64{"cuda": 1, "cpu": 9}; c.MultiplyAdds = 9 }),
			with("a", 1000, func(c *Candidate) { c.LatencyMS = map[string]float64{"cuda": 2, "cpu": 1}; c.MultiplyAdds = 1 }), features, "CUDA",
		},
		"multiply-adds where one was not measured": {
			with("b", 1000, func(c *Candidate) { c.LatencyMS = map[string]float64{"cuda": 9}; c.MultiplyAdds = 1000 }),
			with("a", 1000, func(c *Candidate) { c.MultiplyAdds = 9000 }), features, "cuda",
		},
		"size counts by the slot": {with("b", 1000, risk(0.1)), with("a", 9000, risk(0.3)), []int{4}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := hostOf(&leyline.SystemStatePacket{HardwareContext: &leyline.HardwareContext{DeviceType: row.device}}, 0, 0)
			for _, offered := range [][]Candidate{{row.better, row.worse}, {row.worse, row.better}} {
				if got := rank("s", row.shape, offered, slot{}, in)[0].candidate.BlueprintID; got != row.better.BlueprintID {
					t.Errorf("%s is begun", got)
				}
			}
		})
	}
}

func TestWhyABlueprintIsNotBegun(t *testing.T) {
	t.Parallel()
	memory := slot{WrittenOff: []string{"written off"}, Setbacks: map[string]int{"set back": 1}}
	offered := []Candidate{
		with("experimental", 900, func(c *Candidate) { c.Tier = leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL }),
		with("approval", 900, func(c *Candidate) { c.ApprovalRequired = true }),
		with("quarantine", 900, func(c *Candidate) { c.QuarantineOnly = true }),
		with("empty", 0, nil), with("written off", 900, nil), with("set back", 900, nil), with("free", 10, nil),
		with("risky", 900, func(c *Candidate) { c.Risk = 0.51 }),
		with("no number", 900, func(c *Candidate) { c.Risk = math.NaN() }),
		with("costly", 900, func(c *Candidate) { c.MultiplyAdds = 5901 }),
	}
	var got []string
	for _, c := range rank("s", []int{32}, offered, memory, host{work: 5000}) {
		got = append(got, c.String())
	}
	want := []string{
		"free at s: 0.006", "set back at s: 0.438", "approval at s: not for want of approval",
		"costly at s: not for what it costs", "empty at s: not for want of parameters",
		"experimental at s: not for its tier EXPERIMENTAL", "no number at s: not for bp_quarantine", "quarantine at s: not for quarantine",
		"risky at s: not for blueprint_risk", "written off at s: not for what it came to here",
	}
	if !slices.Equal(got, want) {
		t.Errorf("considered %q", got)
	}
}
