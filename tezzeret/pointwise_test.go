package tezzeret_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

func TestIdentityReturnsItsInputToTheBit(t *testing.T) {
	x := sample(5, 32)
	for _, name := range []string{"identity_passthrough", "dropout_light"} {
		if y := run(t, name, nil, x); !slices.Equal(y.Data, x.Data) {
			t.Errorf("%s changed its input", name)
		}
	}
}

func TestReluClamps(t *testing.T) {
	x := sample(5, 32)
	wantClose(t, "relu", run(t, "relu_activation", nil, x), each(x, relu), 0)
}

func TestGeluIsTheExactForm(t *testing.T) {
	x := sample(5, 32)
	x.Data[0], x.Data[1] = 1, -1
	y := run(t, "gelu_activation", nil, x)
	wantClose(t, "gelu", y, each(x, gelu), 1e-6)
	if math.Abs(float64(y.Data[0])-0.8413447) > 1e-6 {
		t.Errorf("gelu(1) = %v", y.Data[0])
	}
}

func TestLinearProjectionStartsAtItsScale(t *testing.T) {
	x := sample(64, 32)
	for _, scale := range []float64{0.5, 1, 2} {
		y := run(t, "linear_projection", map[string]float64{"scale": scale}, x)
		// The least-squares factor from input to output.
		dot, square := 0.0, 0.0
		for i, v := range x.Data {
			dot += float64(v) * float64(y.Data[i])
			square += float64(v) * float64(v)
		}
		if factor := dot / square; math.Abs(factor-scale) > 0.02 {
			t.Errorf("scale %v: output is %v times the input", scale, factor)
		}
	}
}

func TestLayerScalingMultipliesByItsScale(t *testing.T) {
	x := sample(5, 32)
	for _, scale := range []float64{0.8, 1, 1.2} {
		y := run(t, "layer_scaling", map[string]float64{"scale": scale}, x)
		wantClose(t, "layer scaling", y, each(x, func(v float64) float64 { return v * scale }), 1e-6)
	}
}

func TestLayerNormNormalisesEachRow(t *testing.T) {
	x := sample(5, 32)
	for i := range x.Data {
		x.Data[i] = 100 + 7*x.Data[i]
	}
	y := run(t, "layer_norm_basic", nil, x)
	for r := range 5 {
		mean, variance := moments(y.Data[r*32 : (r+1)*32])
		if math.Abs(mean) > 1e-4 || math.Abs(variance-1) > 1e-3 {
			t.Errorf("row %d: mean %v, variance %v", r, mean, variance)
		}
	}
}

func TestLayerNormHonoursEpsilon(t *testing.T) {
	x := sample(1, 32)
	for i := range x.Data {
		x.Data[i] *= 0.01
	}
	_, v := moments(x.Data)
	for _, epsilon := range []float64{1e-6, 1e-4, 1e-3} {
		y := run(t, "layer_norm_basic", map[string]float64{"epsilon": epsilon}, x)
		_, got := moments(y.Data)
		if want := v / (v + epsilon); math.Abs(got-want) > 1e-3 {
			t.Errorf("epsilon %v: variance %v, want %v", epsilon, got, want)
		}
	}
}

func moments(row []float32) (mean, variance float64) {
	for _, v := range row {
		mean += float64(v) / float64(len(row))
	}
	for _, v := range row {
		variance += (float64(v) - mean) * (float64(v) - mean) / float64(len(row))
	}
	return mean, variance
}

func TestBatchNormStartsWithUnitStatistics(t *testing.T) {
	x := sample(5, 32)
	want := each(x, func(v float64) float64 { return v / math.Sqrt(1+1e-5) })
	wantClose(t, "batch norm", run(t, "batch_norm_1d", nil, x), want, 1e-6)
}

// What only matters while training stands in the file, bit for bit.
func TestTrainingParametersAreInTheArtifact(t *testing.T) {
	cases := map[string]struct {
		parameter string
		values    []float64
	}{
		"dropout_light": {"dropout", []float64{0.05, 0.3}},
		"batch_norm_1d": {"momentum", []float64{0.55, 0.93}},
	}
	for name, c := range cases {
		for _, value := range c.values {
			artifact := compile(t, find(t, name), map[string]float64{c.parameter: value}).Artifact
			bits := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(value)))
			if !bytes.Contains(artifact, bits) {
				t.Errorf("%s: %s %v is not in the artifact", name, c.parameter, value)
			}
		}
	}
}

func TestLearnedPositionalStartsAsAWaveOfItsFrequency(t *testing.T) {
	for _, frequency := range []float64{0.1, 0.55, 1} {
		x := kernel.NewTensor(3, 32)
		y := run(t, "learned_positional", map[string]float64{"frequency": frequency}, x)
		want := make([]float64, 3*32)
		for i := range want {
			wave := math.Sin
			if i%2 == 1 {
				wave = math.Cos
			}
			want[i] = 0.1 * wave(frequency*float64(i%32))
		}
		wantClose(t, "positional", y, want, 1e-6)
	}
}
