package kasmina

import (
	"cmp"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/promotion"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

// Config configures a Core. The zero value of a field means its default.
type Config struct {
	Keyring *signing.Keyring // nil: every command is refused

	Promotion     promotion.Rules  // of seeds whose command does not set its own
	Schedule      trainer.Schedule // ramp of seeds whose command does not set its own; trainer.DefaultSchedule
	AutoFossilize bool             // keep an earned seed without waiting for the command

	// ArtifactURL is what kernels are served under: <ArtifactURL>/kernels/<sha256>.
	// Empty: trainers get paths only.
	ArtifactURL string

	Embargo           time.Duration // 30 s between a cull and the reset of the seed
	PrefetchTimeout   time.Duration // 5 s; grows with the latency that is measured
	Takeover          time.Duration // 60 s of silence, or three report intervals, after which another trainer takes a run over
	TelemetryInterval time.Duration // 10 s between packets of every seed; negative: with events only

	MaxSeeds    int // 64 seeds in a run's record
	MaxCommands int // 64 command ids remembered for a run

	MaxGradientNorm   float64 // 1e3: largest norm over a seed's parameters
	MaxGradientCosine float64 // 1: a larger one of host and seed, by its size, is a violation; 1 allows all
	LatencyBudgetMS   float64 // 50: a forward pass of a seed
}

const (
	// freshnessWindow is the age at which a report is stale, and a command of a run of whose
	// trainer nothing is known; clockSkew how far in the future a command may be issued.
	freshnessWindow = time.Minute
	clockSkew       = 5 * time.Second
	// secondReport is in how many takeover times the second report of a trainer must come,
	// until it counts as silent: how often it reports is not known before.
	secondReport = 15
	// kernelBudget: a slower kernel fetch degrades the seed's health.
	kernelBudget = time.Second
	// An order that was read is sent anew when two reports and this long have passed
	// without effect. An attach fetches its kernel first.
	orderPatience  = time.Second
	attachPatience = 10 * time.Second
	// maxForwardSpread bounds the standard deviation over the mean of a seed's forward
	// passes.
	maxForwardSpread = 2
)

// Bounds of what a record holds.
const (
	maxSeeds      = 256
	maxCommands   = 4096
	maxTombstones = 64
	maxRetired    = 16
	maxRefused    = 8
	maxEnded      = 64
	maxShown      = 8 // of those that ended, and kept for good
	endedReports  = 8 // for which the others are kept
	maxEmergency  = 8
	maxWrittenOff = 128
	maxPending    = 256
	maxGains      = 16
	maxIDLength   = 128
	maxOrder      = 1<<24 - 1 // metrics are float32
)

// withDefaults is the configuration with its defaults in place of zero values.
func withDefaults(c Config) *Config {
	if c.Schedule == (trainer.Schedule{}) {
		c.Schedule = trainer.DefaultSchedule()
	}
	c.ArtifactURL = strings.TrimSuffix(c.ArtifactURL, "/")
	c.Embargo = cmp.Or(c.Embargo, 30*time.Second)
	c.PrefetchTimeout = cmp.Or(c.PrefetchTimeout, 5*time.Second)
	c.Takeover = cmp.Or(c.Takeover, time.Minute)
	c.TelemetryInterval = cmp.Or(c.TelemetryInterval, 10*time.Second)
	c.MaxSeeds = cmp.Or(c.MaxSeeds, 64)
	c.MaxCommands = cmp.Or(c.MaxCommands, 64)
	c.MaxGradientNorm = cmp.Or(c.MaxGradientNorm, 1e3)
	c.MaxGradientCosine = cmp.Or(c.MaxGradientCosine, 1)
	c.LatencyBudgetMS = cmp.Or(c.LatencyBudgetMS, 50)
	c.MaxSeeds = min(c.MaxSeeds, maxSeeds)
	c.MaxCommands = min(c.MaxCommands, maxCommands)
	c.Promotion = promotion.Default().Over(c.Promotion)
	return &c
}
