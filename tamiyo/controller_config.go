package tamiyo

import (
	"cmp"
	"context"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
)

// DefaultPolicyVersion names the plain controller's own rules while no policy
// is active.
const DefaultPolicyVersion = "tamiyo_plain_v1"

// Candidate is a compiled blueprint that a seed could be germinated from.
type Candidate struct {
	BlueprintID      string
	Name             string // as the catalogue has it
	Tier             leyline.BlueprintTier
	Risk             float64 // 0..1
	Stage            uint32
	ParameterCount   int
	ApprovalRequired bool
	QuarantineOnly   bool

	MultiplyAdds int64              // of one forward pass of one example; negative where nobody counted
	LatencyMS    map[string]float64 // of one, as measured, by the device in lower case
	Misfit       bool               // it only makes sense of the slot by taking it for something else
	BSDS         *leyline.BSDS      // how it was judged; nil: it was not
	Earned       Earned
}

// Refused says which rule would not have a seed of it begun for how it was judged.
func (c Candidate) Refused() (rule string, refused bool) {
	finding, refused := rules.Refuses(c.facts(true))
	c.BSDS = nil
	if _, anyway := rules.Refuses(c.facts(true)); anyway { // not for that
		return "", false
	}
	return finding.Rule, refused
}

// Blueprints are what is asked for a controller while it decides.
type Blueprints struct {
	// Candidates are the blueprints that a seed at a slot of this shape could be
	// germinated from in a run.
	Candidates func(ctx context.Context, run string, slot []int) ([]Candidate, error)
	// Prepare hears after a decision of the shapes of the free slots that the run's next report
	// looks at [nobody does].
	Prepare func(run string, slots [][]int)
	// Blueprint is what is known of a seed's blueprint [nothing].
	Blueprint func(ctx context.Context, id string) (blueprint Candidate, known bool, err error)
	// StepTimeout is how long a decision may ask for what fits and for what is known [for as
	// long as the report may take].
	StepTimeout time.Duration
	// Permit has the last word on a germination that the controller chose. It has several such
	// steps of its own.
	Permit func(ctx context.Context, blueprintID string) error
}

// Earned is what seeds of a blueprint came to, in all runs.
type Earned struct {
	Tried int     // judged to the end
	Kept  int     // fossilized
	Gain  float64 // mean relative fall of the loss that those brought
}

// Config configures a [Controller]. What is counted in epochs is counted in
// reports evaluated: a trainer sends one an epoch, or one each so many steps.
type Config struct {
	// Policies are the one that decides and the one in the shadow, nil where there is
	// none.
	Policies func() (active, shadow Policy)

	// Rules are annotations of a run's GERMINATE commands, such as
	// promotion_min_training: what its seeds must show, whoever decides on them. They
	// replace none of the controller's own, and the same run always has the same. nil
	// leaves the rules to Kasmina.
	Rules func(run string) map[string]string

	Patience        uint32        // epochs without a better validation loss that make a stall; default 4
	MinDelta        float64       // relative fall of the loss that counts as better; default 0.01
	MinAccuracyGain float64       // accuracy, 0..1, that a seed must add; default 0.005
	MinLossGain     float64       // relative fall of the loss that a seed must bring; default 0.01
	ProbationEpochs uint32        // epochs of gain in PROBATIONARY before FOSSILIZE; default 2
	MaxAgeEpochs    uint32        // age at which a seed without gain is culled; default 40
	EffectTime      time.Duration // a command may take to show, and 3 epochs; default 10 s
	Embargo         time.Duration // Kasmina's, which holds a seed that could not be attached; default 30 s
	MaxGrowing      int           // seeds of a run that grow at a time, one a slot; default 1
	HoldDownEpochs  uint32        // calm epochs that end conservative mode, or a pause; default 3
	Conservative    bool          // every run is conservative, until another configuration
	// ObservationWindow is how many reports with a validation loss are watched after a seed
	// was kept, for one more field report; 1 or 0 are none.
	ObservationWindow uint32
	MaxSeeds          int // seeds known of a run; default and most 64
}

func (c Config) withDefaults() Config {
	if c.Policies == nil {
		c.Policies = func() (active, shadow Policy) { return nil, nil }
	}
	if c.Rules == nil {
		c.Rules = func(string) map[string]string { return nil }
	}
	c.Patience = cmp.Or(c.Patience, 4)
	c.MinDelta = cmp.Or(max(c.MinDelta, 0), 0.01)
	c.MinAccuracyGain = cmp.Or(max(c.MinAccuracyGain, 0), 0.005)
	c.MinLossGain = cmp.Or(max(c.MinLossGain, 0), 0.01)
	c.ProbationEpochs = cmp.Or(c.ProbationEpochs, 2)
	c.MaxAgeEpochs = cmp.Or(c.MaxAgeEpochs, 40)
	c.EffectTime = cmp.Or(max(c.EffectTime, 0), 10*time.Second)
	c.Embargo = cmp.Or(max(c.Embargo, 0), 30*time.Second)
	c.MaxGrowing = cmp.Or(max(c.MaxGrowing, 0), 1)
	c.HoldDownEpochs = cmp.Or(c.HoldDownEpochs, 3)
	c.MaxSeeds = min(cmp.Or(max(c.MaxSeeds, 0), maxSeeds), maxSeeds)
	return c
}
