package tezzeret

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
)

const (
	guardBatch       = 8 // rows of the pre-warm batch
	standardPrewarms = 5 // timed forward passes of the standard strategy
)

// Config is the slot that kernels are built for, and what may be built. The
// zero value is ready to use.
type Config struct {
	// Features is the width F of the host slot; kernels map [N, F] to [N, F].
	// Defaults to 32.
	Features int

	// Approved lists the blueprint ids whose approval requirement is met.
	Approved []string

	// Quarantine lists the ids that may be compiled because the deployment
	// keeps them in quarantine; it includes the approval.
	Quarantine []string
}

// Compiler builds kernels. It holds no state and is safe for concurrent use.
type Compiler struct{ config Config }

// NewCompiler returns a compiler for the configured slot.
func NewCompiler(config Config) *Compiler {
	config.Features = cmp.Or(config.Features, 32)
	return &Compiler{config: config}
}

// Compile builds the kernel of a blueprint with the standard strategy. Nil
// params mean the midpoints of the declared bounds. Errors are
// *NotCompilableError, ErrParameters, the context's, or a failure to build,
// load or run what was built.
func (c *Compiler) Compile(ctx context.Context, d *leyline.BlueprintDescriptor,
	params map[string]float64) (*Compiled, error) {
	return c.compile(ctx, d, params, StrategyStandard)
}

// CompileConservative is Compile with the conservative strategy. The artifact
// is the same to the bit.
func (c *Compiler) CompileConservative(ctx context.Context, d *leyline.BlueprintDescriptor,
	params map[string]float64) (*Compiled, error) {
	return c.compile(ctx, d, params, StrategyConservative)
}

func (c *Compiler) compile(ctx context.Context, d *leyline.BlueprintDescriptor,
	params map[string]float64, strategy string) (*Compiled, error) {
	if err := c.Compilable(d); err != nil {
		return nil, err
	}
	if params == nil {
		params = Midpoints(d)
	}
	if err := checkParameters(d, params); err != nil {
		return nil, err
	}
	p, err := c.prove(ctx, d, params, strategy)
	if err != nil {
		return nil, fmt.Errorf("tezzeret: compile %s (%s): %w", d.GetBlueprintId(), d.GetName(), err)
	}
	return c.describe(d, params, p, strategy), nil
}

// proof is a kernel that was written, loaded and run, with what that took.
type proof struct {
	graph     *graph
	artifact  []byte
	kernel    *kernel.Kernel
	compileMs float64
	samples   []float64
}

// prove builds the kernel, loads it from its bytes, and runs it.
func (c *Compiler) prove(ctx context.Context, d *leyline.BlueprintDescriptor,
	params map[string]float64, strategy string) (p proof, err error) {
	if err := ctx.Err(); err != nil {
		return proof{}, err
	}
	start := time.Now()
	if p.graph, p.artifact, err = c.build(d, params); err != nil {
		return proof{}, fmt.Errorf("write: %w", err)
	}
	if p.kernel, err = kernel.Load(p.artifact); err != nil {
		return proof{}, fmt.Errorf("load what was written: %w", err)
	}
	p.compileMs = milliseconds(time.Since(start))
	if p.samples, err = c.prewarm(ctx, p.kernel, strategy); err != nil {
		return proof{}, fmt.Errorf("pre-warm: %w", err)
	}
	return p, nil
}

// build composes the network and writes it.
func (c *Compiler) build(d *leyline.BlueprintDescriptor, params map[string]float64) (*graph, []byte, error) {
	architecture, _ := architectureOf(d.GetName())
	g := newGraph(c.config.Features, params, newWeights(d.GetBlueprintId(), params, c.config.Features))
	g.finish(architecture.build(g))
	artifact, err := g.bytes(d.GetName(), [][2]string{
		{"blueprint_id", d.GetBlueprintId()},
		{"blueprint_name", d.GetName()},
		{"parameters", canonical(params)},
		{"architecture", architecture.formula},
		{"reference", architecture.reference},
	})
	return g, artifact, err
}

func (c *Compiler) describe(d *leyline.BlueprintDescriptor, params map[string]float64,
	p proof, strategy string) *Compiled {
	architecture, _ := architectureOf(d.GetName())
	spec := guardSpec([]int{guardBatch, c.config.Features})
	prewarmMs := median(p.samples)
	return &Compiled{
		Descriptor:     proto.CloneOf(d),
		Parameters:     maps.Clone(params),
		Artifact:       p.artifact,
		Checksum:       p.kernel.Checksum(),
		GuardDigest:    guardDigest(spec),
		GuardSpec:      spec,
		GuardSummary:   guardSummary(spec),
		CompileMs:      p.compileMs,
		PrewarmMs:      prewarmMs,
		PrewarmSamples: p.samples,
		ParameterCount: p.kernel.ParameterCount(),
		MultiplyAdds:   p.kernel.MultiplyAdds(),
		Architecture:   architecture.formula,
		Reference:      architecture.reference,
		Strategy:       strategy,
		GraphMetadata:  p.graph.graphMetadata(d, prewarmMs),
	}
}

// prewarm times forward passes of one fixed batch, and returns milliseconds.
func (c *Compiler) prewarm(ctx context.Context, loaded *kernel.Kernel, strategy string) ([]float64, error) {
	runs := standardPrewarms
	if strategy == StrategyConservative {
		runs = 1
	}
	batch := newWeights("prewarm", nil, c.config.Features).uniform(1, guardBatch, c.config.Features)
	instance, tape := loaded.Instantiate(), kernel.NewTape()
	samples := make([]float64, runs)
	for i := range samples {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		tape.Reset()
		start := time.Now()
		out, err := instance.Forward(tape, tape.Constant(batch))
		if err != nil {
			return nil, err
		}
		samples[i] = milliseconds(time.Since(start))
		if err := checkOutput(out.Tensor(), batch.Shape); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

// checkOutput wants finite values in the shape of the input: a seed must fit
// where it is blended in.
func checkOutput(out *kernel.Tensor, shape []int) error {
	if !slices.Equal(out.Shape, shape) {
		return fmt.Errorf("output has shape %s, want %s", joined(out.Shape, "x"), joined(shape, "x"))
	}
	for i, v := range out.Data {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("output element %d is %v", i, v)
		}
	}
	return nil
}

func median(samples []float64) float64 {
	return slices.Sorted(slices.Values(samples))[len(samples)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
