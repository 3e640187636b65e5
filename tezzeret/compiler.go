package tezzeret

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
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
	guardBatch = 8 // examples of the pre-warm batch

	// Timed runs of the standard strategy: enough for a 95th percentile, but no
	// more than a slow network has time for.
	leastRuns, mostRuns = 5, 20
	compileBudget       = 20 * time.Millisecond
	prewarmBudget       = 40 * time.Millisecond

	// compilerVersion is part of every build digest. It changes when a kernel
	// that is built from the same request may come out different.
	compilerVersion = 1
)

// Config is the slot that kernels are built for, and what may be built. The
// zero value is ready to use.
type Config struct {
	// Features is the width F of a host slot of feature vectors; kernels map
	// [N, F] to [N, F]. Defaults to 32. It is not read when Slot is set.
	Features int

	// Slot is the shape of the host slot. The zero slot means Features.
	Slot Slot

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
	config.Slot = cmp.Or(config.Slot, Slot{Features: cmp.Or(config.Features, 32)})
	return &Compiler{config: config}
}

// Slot is the slot that the compiler builds for.
func (c *Compiler) Slot() Slot { return c.config.Slot }

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
	if err := c.buildable(d); err != nil {
		return nil, err
	}
	if params == nil {
		params = Midpoints(d)
	}
	if err := checkParameters(d, params); err != nil {
		return nil, err
	}
	if reason := c.unfit(d, params); reason != "" {
		return nil, notCompilable(d, reason)
	}
	p, err := c.prove(ctx, d, params, strategy)
	if errors.Is(err, kernel.ErrProfile) {
		return nil, c.tooMuch(d, err)
	}
	if err != nil {
		return nil, fmt.Errorf("tezzeret: compile %s (%s): %w", d.GetBlueprintId(), d.GetName(), err)
	}
	return c.describe(d, params, p, strategy), nil
}

func (c *Compiler) tooMuch(d *leyline.BlueprintDescriptor, err error) error {
	return notCompilable(d, fmt.Sprintf("too much for a kernel in the slot %s: %v", c.config.Slot, err))
}

// proof is a kernel that was written, loaded and run, with what that took.
type proof struct {
	graph    *graph
	artifact []byte
	kernel   *kernel.Kernel

	compiles, prewarms []float64 // milliseconds, one a run
}

// prove builds the kernel, loads it from its bytes, and runs it.
func (c *Compiler) prove(ctx context.Context, d *leyline.BlueprintDescriptor,
	params map[string]float64, strategy string) (p proof, err error) {
	begin := time.Now()
	for !enough(strategy, len(p.compiles), time.Since(begin), compileBudget) {
		if err := c.produce(ctx, d, params, &p); err != nil {
			return proof{}, err
		}
	}
	if p.prewarms, err = c.prewarm(ctx, p.kernel, strategy, d.GetName() == poisons); err != nil {
		return proof{}, fmt.Errorf("pre-warm: %w", err)
	}
	return p, nil
}

// produce is one build: the file, and the kernel that is read back from it. Each
// must give the same bytes, or checksums would mean nothing.
func (c *Compiler) produce(ctx context.Context, d *leyline.BlueprintDescriptor,
	params map[string]float64, p *proof) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	start := time.Now()
	graph, artifact, err := c.build(d, params)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	loaded, err := kernel.Load(artifact)
	if err != nil {
		return fmt.Errorf("load what was written: %w", err)
	}
	if p.kernel != nil && loaded.Checksum() != p.kernel.Checksum() {
		return errors.New("two builds of one request differ")
	}
	p.compiles = append(p.compiles, milliseconds(time.Since(start)))
	p.graph, p.artifact, p.kernel = graph, artifact, loaded
	return nil
}

// build composes the network and writes it.
func (c *Compiler) build(d *leyline.BlueprintDescriptor, params map[string]float64) (*graph, []byte, error) {
	architecture := architectures[d.GetName()]
	g := newGraph(c.config.Slot, params, newWeights(d.GetBlueprintId(), params, c.config.Slot))
	g.enter(architecture.view)
	g.finish(g.leave(architecture.view, architecture.build(g)))
	if g.weights.left < 0 {
		return nil, nil, fmt.Errorf("%w: more than %d weights", kernel.ErrProfile, maxWeights)
	}
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
	architecture := architectures[d.GetName()]
	spec := guardSpec(c.config.Slot.batched(guardBatch))
	prewarmMs := median(p.prewarms)
	return &Compiled{
		Descriptor:     proto.CloneOf(d),
		Parameters:     maps.Clone(params),
		Artifact:       p.artifact,
		Checksum:       p.kernel.Checksum(),
		GuardDigest:    guardDigest(spec),
		GuardSpec:      spec,
		GuardSummary:   guardSummary(spec),
		CompileMs:      median(p.compiles),
		CompileSamples: p.compiles,
		PrewarmMs:      prewarmMs,
		PrewarmSamples: p.prewarms,
		ParameterCount: p.kernel.ParameterCount(),
		MultiplyAdds:   p.kernel.MultiplyAdds(),
		Architecture:   architecture.formula,
		Reference:      architecture.reference,
		Slot:           c.config.Slot,
		BuildDigest:    c.BuildDigest(d, params),
		Strategy:       strategy,
		GraphMetadata:  p.graph.graphMetadata(d, prewarmMs),
	}
}

// prewarm times forward passes of one fixed batch, and returns milliseconds.
func (c *Compiler) prewarm(ctx context.Context, loaded *kernel.Kernel, strategy string,
	poisons bool) ([]float64, error) {
	drawn := newWeights("prewarm", nil, c.config.Slot)
	drawn.left = guardBatch * maxSlot
	batch := drawn.uniform(1, c.config.Slot.batched(guardBatch)...)
	instance, tape := loaded.Instantiate(), kernel.NewTape()
	var samples []float64
	begin := time.Now()
	for !enough(strategy, len(samples), time.Since(begin), prewarmBudget) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		tape.Reset()
		start := time.Now()
		out, err := instance.Forward(tape, tape.Constant(batch))
		if err != nil {
			return nil, err
		}
		samples = append(samples, milliseconds(time.Since(start)))
		if err := checkOutput(out.Tensor(), batch.Shape, poisons); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

// enough says whether so many runs in that time are as many as wanted.
func enough(strategy string, runs int, took, budget time.Duration) bool {
	if strategy == StrategyConservative {
		return runs > 0
	}
	return runs >= mostRuns || runs >= leastRuns && took > budget
}

// checkOutput wants finite values in the shape of the input: a seed must fit
// where it is blended in. A stressor that poisons its output on purpose must
// fit only.
func checkOutput(out *kernel.Tensor, shape []int, poisons bool) error {
	if !slices.Equal(out.Shape, shape) {
		return fmt.Errorf("output has shape %s, want %s", joined(out.Shape, "x"), joined(shape, "x"))
	}
	if poisons {
		return nil
	}
	for i, v := range out.Data {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("output element %d is %v", i, v)
		}
	}
	return nil
}

func median(samples []float64) float64 { return percentile(samples, 50) }

// percentile is the sample that the given share, in percent, of all samples
// does not exceed.
func percentile(samples []float64, percent int) float64 {
	return slices.Sorted(slices.Values(samples))[max(0, ceilDiv(percent*len(samples), 100)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// BuildDigest identifies what Compile would build: the lower-case hexadecimal
// SHA-256 of the compiler's version, the blueprint, its parameters and the slot.
// A stored kernel with another digest is out of date. Nil params mean the
// midpoints.
func (c *Compiler) BuildDigest(d *leyline.BlueprintDescriptor, params map[string]float64) string {
	if params == nil {
		params = Midpoints(d)
	}
	digest := sha256.Sum256(fmt.Appendf(nil, "%d\n%s\n%s\n%s\n%s",
		compilerVersion, d.GetBlueprintId(), d.GetName(), canonical(params), c.config.Slot))
	return hex.EncodeToString(digest[:])
}
