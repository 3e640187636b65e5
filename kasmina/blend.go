package kasmina

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
)

// BlendMode says how a seed's output joins the host's.
type BlendMode string

// The blend modes, by the names of the blend_mode annotation.
const (
	BlendConvex     BlendMode = "CONVEX"
	BlendResidual   BlendMode = "RESIDUAL"
	BlendChannel    BlendMode = "CHANNEL"
	BlendConfidence BlendMode = "CONFIDENCE"
)

// BlendConfig configures the blend of one seed. The zero value is CONVEX.
type BlendConfig struct {
	Mode   BlendMode
	Source string // free text, echoed in telemetry

	Channels []float32 // CHANNEL: one weight in 0..1 for each channel, which is dimension 1

	GateK, GateTau     float64 // CONFIDENCE: slope and centre of the gate, at least 0
	AlphaLow, AlphaTop float64 // CONFIDENCE: bounds of the effective share, 0..1

	Configured     bool // a command asked for this blend
	LogitsRequired bool
	Logits         []float64 // stored for telemetry; the computation does not use them
}

// ErrBlendShape is wrapped when a blend does not fit the shapes it is given.
var ErrBlendShape = errors.New("blend does not fit")

// fits checks the configuration against the shape of one example of the host.
func (c *BlendConfig) fits(s slot) error {
	if len(s) == 0 {
		return fmt.Errorf("%w: the host's slot has no shape", ErrBlendShape)
	}
	if c.Mode == BlendChannel && len(c.Channels) != s[0] {
		return fmt.Errorf("%w: %d channel weights for a slot of %v", ErrBlendShape, len(c.Channels), []int(s))
	}
	if c.Mode == BlendConfidence && s[0] < 2 {
		return fmt.Errorf("%w: a confidence gate needs two channels, the slot is %v", ErrBlendShape, []int(s))
	}
	return nil
}

// blend joins seed's output to host's, both of one shape with the batch first,
// with a share alpha that is clamped to 0..1. The host is detached in every mode,
// so the gradient has no way to it.
func blend(t *kernel.Tape, c BlendConfig, alpha float64, host, seed kernel.Value) (kernel.Value, error) {
	if math.IsNaN(alpha) {
		return kernel.Value{}, errors.New("blend: alpha is not a number")
	}
	if !slices.Equal(host.Shape(), seed.Shape()) {
		return kernel.Value{}, fmt.Errorf("%w: host %v, seed %v", ErrBlendShape, host.Shape(), seed.Shape())
	}
	share := float32(clamp01(alpha))
	base := t.Detach(host)
	switch c.Mode {
	case BlendResidual:
		return blendResidual(t, share, base, seed)
	case BlendChannel:
		return blendChannel(t, c, share, base, seed)
	case BlendConfidence:
		return blendConfidence(t, c, share, base, seed)
	default:
		return blendConvex(t, share, base, seed)
	}
}

func blendConvex(t *kernel.Tape, share float32, host, seed kernel.Value) (kernel.Value, error) {
	if share == 1 {
		return seed, nil
	}
	scaled, err := t.Scale(seed, share)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("convex blend: %w", err)
	}
	rest, err := t.Scale(host, 1-share)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("convex blend: %w", err)
	}
	return t.Add(scaled, rest)
}

func blendResidual(t *kernel.Tape, share float32, host, seed kernel.Value) (kernel.Value, error) {
	scaled, err := t.Scale(seed, share)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("residual blend: %w", err)
	}
	return t.Add(host, scaled)
}

func blendChannel(
	t *kernel.Tape, c BlendConfig, share float32, host, seed kernel.Value,
) (kernel.Value, error) {
	if shape := seed.Shape(); len(shape) < 2 || shape[1] != len(c.Channels) {
		return kernel.Value{}, fmt.Errorf("%w: %d channel weights for %v", ErrBlendShape, len(c.Channels), shape)
	}
	shares := kernel.NewTensor(channelShape(len(seed.Shape()), len(c.Channels))...)
	for i, weight := range c.Channels {
		shares.Data[i] = float32(clamp01(float64(share * weight)))
	}
	return weighted(t, shares, host, seed)
}

// channelShape lines channels up with dimension 1 of a value of this rank.
func channelShape(rank, channels int) []int {
	shape := make([]int, rank)
	for i := range shape {
		shape[i] = 1
	}
	shape[1] = channels
	return shape
}

func blendConfidence(
	t *kernel.Tape, c BlendConfig, share float32, host, seed kernel.Value,
) (kernel.Value, error) {
	gate, err := confidence(seed.Tensor(), c.GateK, c.GateTau)
	if err != nil {
		return kernel.Value{}, err
	}
	for i, g := range gate.Data {
		gate.Data[i] = float32(min(max(float64(share*g), c.AlphaLow), c.AlphaTop))
	}
	return weighted(t, gate, host, seed)
}

// confidence is the gate at each position of scores [N, classes, positions...]:
// the sigmoid of the margin between the two largest scores there. The result,
// [N, 1, positions...], is a constant: no gradient flows through the gate.
func confidence(scores *kernel.Tensor, k, tau float64) (*kernel.Tensor, error) {
	if scores == nil || len(scores.Shape) < 2 || scores.Shape[1] < 2 {
		return nil, fmt.Errorf("%w: a confidence gate needs scores [N, classes, ...]", ErrBlendShape)
	}
	shape := slices.Clone(scores.Shape)
	classes := shape[1]
	shape[1] = 1
	gate := kernel.NewTensor(shape...)
	positions := slot(shape[2:]).size()
	for i := range gate.Data {
		example, position := i/positions, i%positions
		margin := topMargin(scores.Data[example*classes*positions+position:], classes, positions)
		g := 1 / (1 + math.Exp(-k*(margin-tau)))
		if math.IsNaN(g) {
			return nil, fmt.Errorf("confidence gate: example %d of the seed's output is not a number", example)
		}
		gate.Data[i] = float32(g)
	}
	return gate, nil
}

// topMargin is the largest of count scores, stride apart, less the second
// largest; NaN spreads.
func topMargin(scores []float32, count, stride int) float64 {
	first, second := math.Inf(-1), math.Inf(-1)
	for i := range count {
		s := float64(scores[i*stride])
		if math.IsNaN(s) {
			return s
		}
		if s > first {
			first, second = s, first
		} else if s > second {
			second = s
		}
	}
	return first - second
}

// weighted is e*seed + (1-e)*host for constant shares e that broadcast.
func weighted(t *kernel.Tape, shares *kernel.Tensor, host, seed kernel.Value) (kernel.Value, error) {
	rest := kernel.NewTensor(shares.Shape...)
	for i, e := range shares.Data {
		rest.Data[i] = 1 - e
	}
	grown, err := t.Mul(t.Constant(shares), seed)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("weigh the seed: %w", err)
	}
	kept, err := t.Mul(t.Constant(rest), host)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("weigh the host: %w", err)
	}
	return t.Add(grown, kept)
}

func clamp01(x float64) float64 {
	return min(max(x, 0), 1)
}
