package graft

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/trainer"
)

// ErrBlend is wrapped when a blend does not fit the shapes it is given, or is of
// no known mode.
var ErrBlend = errors.New("graft: blend does not fit")

// join blends the seed's output with the host's, both of one shape with the
// batch first. share is above 0 and at most 1. Whether a gradient reaches the
// host is a matter of whether host is detached; none flows through shares.
func (s *seed) join(t *kernel.Tape, share float64, host, out kernel.Value) (kernel.Value, error) {
	if !slices.Equal(host.Shape(), out.Shape()) {
		return kernel.Value{}, fmt.Errorf("%w: host %v, seed %v", ErrBlend, host.Shape(), out.Shape())
	}
	a := float32(min(max(share, 0), 1))
	switch s.blend.Mode {
	case trainer.Residual:
		return joinResidual(t, a, host, out)
	case trainer.Channel:
		if err := s.channelShares(a, out.Shape()); err != nil {
			return kernel.Value{}, err
		}
	case trainer.Confidence:
		if err := s.confidenceShares(a, out.Tensor()); err != nil {
			return kernel.Value{}, err
		}
	case "", trainer.Convex:
		if a == 1 {
			return out, nil
		}
		s.shares.Shape, s.shares.Data = s.shares.Shape[:0], append(s.shares.Data[:0], a)
	default:
		return kernel.Value{}, fmt.Errorf("%w: mode %.32q", ErrBlend, s.blend.Mode)
	}
	joined, err := t.Mix(&s.shares, out, host)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("blend: %w", err)
	}
	return joined, nil
}

func joinResidual(t *kernel.Tape, a float32, host, out kernel.Value) (kernel.Value, error) {
	if a != 1 {
		scaled, err := t.Scale(out, a)
		if err != nil {
			return kernel.Value{}, fmt.Errorf("blend: %w", err)
		}
		out = scaled
	}
	joined, err := t.Add(host, out)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("blend: %w", err)
	}
	return joined, nil
}

// channelShares are clamp01(a·v), lined up with dimension 1 of the output.
func (s *seed) channelShares(a float32, out []int) error {
	if len(out) < 2 || out[1] != len(s.blend.Channels) {
		return fmt.Errorf("%w: %d channel weights for %v", ErrBlend, len(s.blend.Channels), slices.Clone(out))
	}
	s.shares.Shape = append(s.shares.Shape[:0], out[1:]...)
	for i := range s.shares.Shape[1:] {
		s.shares.Shape[1+i] = 1
	}
	s.shares.Data = s.shares.Data[:0]
	for _, weight := range s.blend.Channels {
		s.shares.Data = append(s.shares.Data, min(max(a*weight, 0), 1))
	}
	return nil
}

// confidenceShares are clamp(a·gate, low, top) at each position of scores [N,
// classes, positions...]: the gate is the sigmoid of the margin between the two
// largest scores there. The result is [N, 1, positions...].
func (s *seed) confidenceShares(a float32, scores *kernel.Tensor) error {
	if scores == nil || len(scores.Shape) < 2 || scores.Shape[1] < 2 {
		return fmt.Errorf("%w: a confidence gate needs scores [N, classes, ...]", ErrBlend)
	}
	classes, positions := scores.Shape[1], shape(scores.Shape[2:]).size()
	s.shares.Shape = append(s.shares.Shape[:0], scores.Shape...)
	s.shares.Shape[1] = 1
	s.shares.Data = s.shares.Data[:0]
	for at := range scores.Shape[0] * positions {
		example, position := at/positions, at%positions
		margin := topMargin(scores.Data[example*classes*positions+position:], classes, positions)
		gate := 1 / (1 + math.Exp(-s.blend.GateK*(margin-s.blend.GateTau)))
		if math.IsNaN(gate) {
			return fmt.Errorf("confidence gate: example %d of the seed's output gives no number", example)
		}
		share := min(max(float64(a*float32(gate)), s.blend.AlphaLow), s.blend.AlphaTop)
		s.shares.Data = append(s.shares.Data, float32(share))
	}
	return nil
}

// topMargin is the largest of count scores, stride apart, less the second
// largest; NaN spreads.
func topMargin(scores []float32, count, stride int) float64 {
	first, second := math.Inf(-1), math.Inf(-1)
	for i := range count {
		score := float64(scores[i*stride])
		if math.IsNaN(score) {
			return score
		}
		if score > first {
			first, second = score, first
		} else if score > second {
			second = score
		}
	}
	return first - second
}
