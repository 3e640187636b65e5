package kasmina

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

// Publisher sends kernel prefetch requests to the kernel library.
type Publisher interface {
	PublishKernelPrefetchRequest(context.Context, *leyline.KernelPrefetchRequest) error
}

// Config configures a Manager. The zero value of a field means its default.
type Config struct {
	Keyring  *signing.Keyring // nil: every command is refused
	Requests Publisher        // nil: every germination is refused

	// Emit takes finished telemetry packets. It is called by the owner
	// goroutine and must not block. Nil drops them.
	Emit func(*leyline.TelemetryPacket)

	// Open reads an artifact by its announced reference; by default a regular file.
	Open func(ctx context.Context, ref string) (io.ReadCloser, error)

	LedgerPath     string // file of the nonce ledger; empty keeps it in memory
	LedgerCapacity int    // 4096 nonces

	FreshnessWindow time.Duration // 60 s: age at which a command is stale
	ClockSkew       time.Duration // 5 s: how far in the future a command may be issued

	Embargo         time.Duration // 30 s between a cull and the reset of the seed
	PrefetchTimeout time.Duration // 5 s; grows with the latency that is measured
	LatencyBudget   time.Duration // 1 s: a slower kernel fetch degrades the seed's health
	MaxSeeds        int           // 256 seeds in the registry

	SweepInterval     time.Duration // 250 ms between looks at the deadlines
	TelemetryInterval time.Duration // 10 s between packets of every seed; negative: on Finalize only

	Promotion     Promotion
	AutoFossilize bool // fossilise an earned seed without waiting for the command

	Logger *slog.Logger // nil logs nothing
}

func (c Config) withDefaults() Config {
	orDefault(&c.LedgerCapacity, 4096)
	orDefault(&c.FreshnessWindow, time.Minute)
	orDefault(&c.ClockSkew, 5*time.Second)
	orDefault(&c.Embargo, 30*time.Second)
	orDefault(&c.PrefetchTimeout, 5*time.Second)
	orDefault(&c.LatencyBudget, time.Second)
	orDefault(&c.MaxSeeds, 256)
	orDefault(&c.SweepInterval, 250*time.Millisecond)
	orDefault(&c.TelemetryInterval, 10*time.Second)
	c.Promotion = c.Promotion.withDefaults()
	if c.Emit == nil {
		c.Emit = func(*leyline.TelemetryPacket) {}
	}
	if c.Open == nil {
		c.Open = openFile
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Promotion says what a seed must show to move on. Residences are counted in
// observed epochs within the stage.
type Promotion struct {
	MinTraining   int     // 3: epochs in TRAINING before the seed may leave
	TrainEpochs   int     // 12: epochs in TRAINING after which it is decided
	Plateau       int     // 3: epochs without a better loss that count as converged
	PlateauGain   float64 // 0.01: relative gain that counts as a better loss
	MaxBlending   int     // 60: epochs after which a ramp that does not end fails
	MinShadowing  int     // 2
	MaxShadowing  int     // 10: epochs without earning before the seed is culled
	MinProbation  int     // 2
	MaxProbation  int     // 10
	MinGain       float64 // 0.01: relative gain in loss that earns a promotion
	AccuracyGain  float64 // 0.005: gain in accuracy that earns one instead
	MaxRegression float64 // 0.02: relative loss above the host's that culls at once
}

func (p Promotion) withDefaults() Promotion {
	orDefault(&p.MinTraining, 3)
	orDefault(&p.TrainEpochs, 12)
	orDefault(&p.Plateau, 3)
	orDefault(&p.PlateauGain, 0.01)
	orDefault(&p.MaxBlending, 60)
	orDefault(&p.MinShadowing, 2)
	orDefault(&p.MaxShadowing, 10)
	orDefault(&p.MinProbation, 2)
	orDefault(&p.MaxProbation, 10)
	orDefault(&p.MinGain, 0.01)
	orDefault(&p.AccuracyGain, 0.005)
	orDefault(&p.MaxRegression, 0.02)
	return p
}

// orDefault sets a field that was left at zero.
func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
