package urza

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
	"github.com/esper-lite/weatherlight/urza/internal/metadata"
)

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

// decode turns a row into a record. The columns win over the JSON.
func decode(r catalogue.Row) (*Record, error) {
	if r.ID == "" || !catalogue.Storable(r.ID) || !catalogue.Storable(r.Path) {
		return nil, &RowError{strings.ToValidUTF8(r.ID, "?"), "id or path is not text that a message can carry"}
	}
	tier, known := leyline.BlueprintTier_value[r.Tier]
	if !known {
		return nil, &RowError{r.ID, fmt.Sprintf("tier %q is no tier name", r.Tier)}
	}
	descriptor, extras, err := metadata.Split(r.Metadata)
	if err != nil {
		return nil, &RowError{r.ID, err.Error()}
	}
	descriptor.BlueprintId = r.ID
	descriptor.Tier = leyline.BlueprintTier(tier)
	if descriptor.Name == "" {
		descriptor.Name = strings.ToValidUTF8(r.Name, "?")
	}
	ref, err := artifact.Absolute(r.Path)
	if err != nil {
		return nil, &RowError{r.ID, fmt.Sprintf("artifact path %q", r.Path)}
	}
	record := newRecord(descriptor, ref, extras)
	record.Approved = r.Approved != "" && r.Approved == record.Checksum
	record.SetAside = r.SetAside != ""
	record.Variant = r.Variant
	return record, nil
}

func newRecord(descriptor *leyline.BlueprintDescriptor, path string, extras map[string]any) *Record {
	return &Record{
		Descriptor:     descriptor,
		ArtifactRef:    path,
		Checksum:       strings.ToLower(strings.TrimSpace(text(extras["checksum"]))),
		GuardDigest:    text(extras["guard_digest"]),
		PrewarmSamples: metadata.Samples(extras["prewarm_samples"]),
		CompileMs:      metadata.Milliseconds(extras["compile_ms"]),
		PrewarmMs:      metadata.Milliseconds(extras["prewarm_ms"]),
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
