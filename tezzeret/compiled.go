package tezzeret

import (
	"context"
	"errors"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
)

// Strategies of a compilation.
const (
	// StrategyStandard builds and pre-warms several times and measures the median.
	StrategyStandard = "standard"

	// StrategyConservative builds and pre-warms once; the forge uses it, one kernel at a
	// time, after failures.
	StrategyConservative = "conservative"
)

// Compiled is a kernel that was built, loaded again from its bytes, and run.
type Compiled struct {
	Descriptor *leyline.BlueprintDescriptor
	Parameters map[string]float64

	// Artifact is the ONNX file, Checksum its lower-case hexadecimal SHA-256.
	Artifact []byte
	Checksum string

	// The guard says which input the kernel was proved with.
	GuardDigest  string
	GuardSpec    []GuardTensor
	GuardSummary []string

	// Medians and samples of what was measured, in milliseconds: to build, write
	// and load the kernel, and one forward pass of a batch of 8.
	CompileMs, PrewarmMs           float64
	CompileSamples, PrewarmSamples []float64

	// ParameterCount is the number of trainable elements, MultiplyAdds the
	// number of multiply-adds of one forward pass of one row.
	ParameterCount int
	MultiplyAdds   int64

	// Architecture and Reference say what was built and where it is described.
	Architecture, Reference string

	// Slot is what the kernel fits into; BuildDigest is that of its request.
	Slot        Slot
	BuildDigest string

	Strategy      string
	GraphMetadata map[string]any
}

// Update is the catalogue announcement of the kernel; who stores it fills in
// the artifact's reference.
func (c *Compiled) Update() *leyline.KernelCatalogUpdate {
	return &leyline.KernelCatalogUpdate{
		BlueprintId: c.Descriptor.GetBlueprintId(),
		Checksum:    c.Checksum,
		GuardDigest: c.GuardDigest,
		CompileMs:   float32(c.CompileMs),
		PrewarmMs:   float32(c.PrewarmMs),
	}
}

// Extras are the facts stored beside the descriptor: the prototype's keys, and
// the parameters, counts and architecture that it did not keep.
func (c *Compiled) Extras() map[string]any {
	return map[string]any{
		"guard_spec":         c.GuardSpec,
		"guard_digest":       c.GuardDigest,
		"guard_spec_summary": c.GuardSummary,
		"compile_ms":         c.CompileMs,
		"compile_p50_ms":     percentile(c.CompileSamples, 50),
		"compile_p95_ms":     percentile(c.CompileSamples, 95),
		"prewarm_ms":         c.PrewarmMs,
		"prewarm_samples":    c.PrewarmSamples,
		"prewarm_p50_ms":     percentile(c.PrewarmSamples, 50),
		"prewarm_p95_ms":     percentile(c.PrewarmSamples, 95),
		"compile_strategy":   c.Strategy,
		"eager_fallback":     false,
		"inductor_cache_dir": nil,
		"graph_metadata":     c.GraphMetadata,
		"parameters":         c.Parameters,
		"parameter_count":    c.ParameterCount,
		"multiply_adds":      c.MultiplyAdds,
		"architecture":       c.Architecture,
		"reference":          c.Reference,
		"slot":               c.Slot.Shape(),
		"build_digest":       c.BuildDigest,
	}
}

// ForForge is the compiler as a forge drives it: each blueprint at the midpoints of its
// parameters.
func (c *Compiler) ForForge() forge.Compiler { return forging{c} }

type forging struct{ *Compiler }

func (f forging) BuildDigest(d *leyline.BlueprintDescriptor) string {
	return f.Compiler.BuildDigest(d, nil)
}

func (f forging) Compile(ctx context.Context, d *leyline.BlueprintDescriptor, conservative bool) (*forge.Kernel, error) {
	compile := f.Compiler.Compile
	if conservative {
		compile = f.CompileConservative
	}
	c, err := compile(ctx, d, nil)
	if err != nil {
		return nil, err
	}
	return &forge.Kernel{
		Artifact: c.Artifact, Update: c.Update(), Extras: c.Extras(), CompileMs: c.CompileMs, PrewarmMs: c.PrewarmMs,
	}, nil
}

func (f forging) Classify(err error) (kind string, final bool) {
	_, refused := errors.AsType[*NotCompilableError](err)
	if errors.Is(err, ErrParameters) {
		return "invalid_parameters", true
	}
	return "compile_error", refused
}
