package tamiyo

import (
	"context"
	"log/slog"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

// DefaultPolicyVersion names the plain controller's own rules while no policy
// is active.
const DefaultPolicyVersion = "tamiyo_plain_v1"

// Candidate is a compiled blueprint that a seed could be germinated from.
type Candidate struct {
	BlueprintID      string
	Tier             leyline.BlueprintTier
	Risk             float64 // 0..1
	ParameterCount   int
	ApprovalRequired bool
	QuarantineOnly   bool
}

// Config configures a [Controller]. Epoch counts are epochs evaluated, which a
// run reports once each.
type Config struct {
	Keyring       *signing.Keyring
	Candidates    func(ctx context.Context) ([]Candidate, error)
	MeshLayers    func(trainingRunID string) []string // host layers a seed attaches to; default ["host"]
	PolicyVersion func() string                       // active policy; empty means DefaultPolicyVersion

	Patience         uint32        // epochs without a better validation loss that make a stall; default 4
	MinDelta         float64       // relative fall of the loss that counts as better; default 0.01
	MinAccuracyGain  float64       // accuracy, 0..1, that a seed must add; default 0.005
	MinLossGain      float64       // relative fall of the loss that a seed must bring; default 0.01
	ProbationEpochs  uint32        // epochs of gain in PROBATIONARY before FOSSILIZE; default 2
	RegressionEpochs uint32        // epochs of loss before CULL; default 2
	MaxAgeEpochs     uint32        // age at which a seed without gain is culled; default 40
	EffectEpochs     uint32        // epochs a command may take to show; default 3
	MaxGerminations  int           // tries of one germination; default 3
	LossSpike        float64       // rise of the loss within an epoch; default 0.15
	HoldDownEpochs   uint32        // calm epochs that end conservative mode; default 3
	MaxRuns          int           // runs watched at a time; default 64
	MaxSeeds         int           // seeds watched per run; default 64
	RunExpiry        time.Duration // silence after which a run is forgotten; default 1 h
	Deadline         time.Duration // execution_deadline_ms of commands; default 60 s

	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c = c.withDefaultFuncs()
	c.Patience = positiveOr(c.Patience, 4)
	c.MinDelta = positiveOr(c.MinDelta, 0.01)
	c.MinAccuracyGain = positiveOr(c.MinAccuracyGain, 0.005)
	c.MinLossGain = positiveOr(c.MinLossGain, 0.01)
	c.ProbationEpochs = positiveOr(c.ProbationEpochs, 2)
	c.RegressionEpochs = positiveOr(c.RegressionEpochs, 2)
	c.MaxAgeEpochs = positiveOr(c.MaxAgeEpochs, 40)
	c.EffectEpochs = positiveOr(c.EffectEpochs, 3)
	c.MaxGerminations = positiveOr(c.MaxGerminations, 3)
	c.LossSpike = positiveOr(c.LossSpike, 0.15)
	c.HoldDownEpochs = positiveOr(c.HoldDownEpochs, 3)
	c.MaxRuns = positiveOr(c.MaxRuns, 64)
	c.MaxSeeds = positiveOr(c.MaxSeeds, 64)
	c.RunExpiry = positiveOr(c.RunExpiry, time.Hour)
	c.Deadline = positiveOr(c.Deadline, time.Minute)
	return c
}

func (c Config) withDefaultFuncs() Config {
	if c.Candidates == nil {
		c.Candidates = func(context.Context) ([]Candidate, error) { return nil, nil }
	}
	if c.MeshLayers == nil {
		c.MeshLayers = func(string) []string { return []string{"host"} }
	}
	if c.PolicyVersion == nil {
		c.PolicyVersion = func() string { return "" }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func positiveOr[T int | uint32 | float64 | time.Duration](value, fallback T) T {
	if value > 0 {
		return value
	}
	return fallback
}
