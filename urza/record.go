package urza

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

// keptSamples is how many pre-warm times a record remembers.
const keptSamples = 20

// Record is what the library knows about one stored kernel.
type Record struct {
	Descriptor  *leyline.BlueprintDescriptor
	Variant     string // key of the trainer.Variant; empty is the blueprint's own kernel
	ArtifactRef string // absolute path, or URL in an object store
	Checksum    string // hex SHA-256; empty in a prototype's row saved without one
	GuardDigest string // as stored; may be empty
	Bytes       int64  // size of the file; 0 when it is missing
	Approved    bool   // an operator approved this very artifact
	SetAside    bool   // an operator set the blueprint aside: it is not served
	// PrewarmSamples are the last 20 pre-warm times in milliseconds, oldest first.
	PrewarmSamples       []float64
	CompileMs, PrewarmMs float64
	// Extras is everything stored beside the descriptor, as JSON values.
	Extras map[string]any
}

func newRecord(descriptor *leyline.BlueprintDescriptor, path string, extras map[string]any) *Record {
	return &Record{
		Descriptor:     descriptor,
		ArtifactRef:    path,
		Checksum:       strings.ToLower(strings.TrimSpace(text(extras["checksum"]))),
		GuardDigest:    text(extras["guard_digest"]),
		PrewarmSamples: samples(extras["prewarm_samples"]),
		CompileMs:      duration(extras["compile_ms"]),
		PrewarmMs:      duration(extras["prewarm_ms"]),
		Extras:         extras,
	}
}

// clone shares nothing with the record, so that a caller's changes stay the caller's.
func (r *Record) clone() *Record {
	c := *r
	c.Descriptor = proto.CloneOf(r.Descriptor)
	c.PrewarmSamples = slices.Clone(r.PrewarmSamples)
	c.Extras, _ = cloneJSON(r.Extras).(map[string]any)
	return &c
}

// announcedDigest is the guard digest, or the prototype's stand-in for a missing
// one: the hex SHA-256 of "<blueprint id>:<tier number>".
func (r *Record) announcedDigest() string {
	if r.GuardDigest != "" {
		return r.GuardDigest
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s:%d", r.Descriptor.GetBlueprintId(), r.Descriptor.GetTier()))
	return hex.EncodeToString(sum[:])
}

func cloneJSON(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = cloneJSON(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = cloneJSON(e)
		}
		return out
	}
	return value
}

func text(value any) string {
	s, _ := value.(string)
	return s
}

// duration reads a time in milliseconds, 0 when it is no usable one.
func duration(value any) float64 {
	if f, _ := value.(float64); usable(f) {
		return f
	}
	return 0
}

// usable is false for times that are none, and for those that a message would
// carry as an infinity.
func usable(ms float64) bool { return ms >= 0 && ms <= math.MaxFloat32 }

// samples reads a list of times, leaving out what is no usable number.
func samples(value any) []float64 {
	var out []float64
	switch list := value.(type) {
	case []float64:
		out = slices.Clone(list)
	case []any:
		for _, v := range list {
			if f, ok := v.(float64); ok {
				out = append(out, f)
			}
		}
	}
	out = slices.DeleteFunc(out, func(f float64) bool { return !usable(f) })
	return out[max(0, len(out)-keptSamples):]
}

// percentile interpolates linearly between the two nearest of the sorted values;
// q is in 0..1. No values give 0.
func percentile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (sorted[high]-sorted[low])*(at-float64(low))
}
