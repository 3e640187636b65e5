package runsimtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/trainer"
)

// library answers requests for kernels, well or badly.
type library struct {
	town      *town
	artifacts map[string]*artifact // by where they lie
	answered  map[string]bool      // by request
	announced map[announcement]bool
}

// artifact is one kernel. A trainer that reads it hashes its bytes.
type artifact struct {
	blueprint, ref, content, checksum, guard string
	flaw                                     trainer.AttachFailure // what its strict loader finds
}

// announcement is what was told of a kernel to one run.
type announcement struct{ run, blueprint, checksum, guard string }

const blueprints = 6

func blueprintName(n int) string { return fmt.Sprintf("BP%03d", n+1) }

func newLibrary(t *town) *library {
	return &library{
		town: t, artifacts: make(map[string]*artifact), answered: make(map[string]bool),
		announced: make(map[announcement]bool),
	}
}

func (l *library) candidates([]int) []tamiyo.Candidate {
	list := make([]tamiyo.Candidate, blueprints)
	for n := range list {
		list[n] = tamiyo.Candidate{
			BlueprintID: blueprintName(n), Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE,
			Risk: 0.1, ParameterCount: 100 * (n + 1),
		}
	}
	return list
}

// artifact is the kernel of a variant, made when it is asked for first.
func (l *library) artifact(blueprint string, of trainer.Variant) *artifact {
	variant := of.Key()
	ref := fmt.Sprintf("/kernels/%s %s.onnx", blueprint, variant)
	if known, ok := l.artifacts[ref]; ok {
		return known
	}
	content := fmt.Sprintf("kernel of %s for %s, %d", blueprint, variant, l.town.rand.Uint64())
	a := &artifact{blueprint: blueprint, ref: ref, content: content, checksum: digest(content), guard: guardOf(of.Slot)}
	if l.town.folder != "" {
		if l.town.chance(l.town.flaws) {
			a.flaw = pick(l.town.world, trainer.AttachInvalid, trainer.AttachMisfit, trainer.AttachMismatch, trainer.AttachUnreachable)
		}
		a.ref, a.checksum = l.forge(blueprint+" "+variant, of.Slot, a.flaw)
	} else if l.town.chance(l.town.flaws) {
		a.flaw = pick(l.town.world, trainer.AttachInvalid, trainer.AttachMisfit, trainer.AttachFaulty, trainer.AttachUnsigned)
	}
	l.artifacts[ref] = a
	return a
}

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// take takes a request off the bus.
func (l *library) take(request *leyline.KernelPrefetchRequest, attributes map[string]string) {
	t := l.town
	id := request.GetRequestId()
	if l.answered[id] && !(!t.calm && t.chance(0.2)) {
		return // a replay
	}
	l.answered[id] = true
	run, _ := kasmina.RunOfRequest(id)
	wait := t.between(10*time.Millisecond, 400*time.Millisecond)
	if t.calm || t.chance(0.7) {
		t.after(wait, func() { l.announce(run, request, attributes) })
		return
	}
	switch t.rand.IntN(5) {
	case 0: // never
	case 1:
		t.after(wait, func() { l.refuse(request) })
	case 2: // too late, perhaps
		t.after(t.between(time.Second, 30*time.Second), func() { l.announce(run, request, attributes) })
	case 3:
		t.after(wait, func() { l.mislead(run, request) })
	default: // both: a retry after an answer that was lost
		t.after(wait, func() { l.refuse(request) })
		t.after(2*wait, func() { l.announce(run, request, attributes) })
	}
}

func (l *library) announce(run string, request *leyline.KernelPrefetchRequest, attributes map[string]string) {
	variant, err := trainer.ReadVariant(attributes)
	if err != nil {
		l.town.audit.violate("a kernel request of run %q cannot be read: %v", run, err)
		return
	}
	a := l.artifact(request.GetBlueprintId(), variant)
	l.tell(run, &leyline.KernelArtifactReady{
		RequestId: request.GetRequestId(), BlueprintId: a.blueprint, ArtifactRef: a.ref,
		Checksum: a.checksum, GuardDigest: a.guard, PrewarmP50Ms: 1, PrewarmP95Ms: 2,
	}, trainer.FormatONNX)
}

// mislead answers with something that must not be attached, or not as it is.
func (l *library) mislead(run string, request *leyline.KernelPrefetchRequest) {
	ready := &leyline.KernelArtifactReady{
		RequestId: request.GetRequestId(), BlueprintId: request.GetBlueprintId(),
		ArtifactRef: "/kernels/strange.onnx", Checksum: digest("strange"), GuardDigest: digest("guard"),
	}
	format := trainer.FormatONNX
	switch l.town.rand.IntN(4) {
	case 0:
		ready.BlueprintId = "BP999"
	case 1:
		ready.Checksum = "no checksum"
	case 2:
		format = "pt"
	default:
		ready.ArtifactRef = ""
	}
	l.tell(run, ready, format)
}

func (l *library) tell(run string, ready *leyline.KernelArtifactReady, format string) {
	l.announced[announcement{run, ready.GetBlueprintId(), ready.GetChecksum(), ready.GetGuardDigest()}] = true
	attributes := map[string]string{trainer.AttributeFormat: format}
	if !l.town.calm && l.town.chance(0.03) {
		attributes = nil // one of the prototype's libraries
	}
	l.town.send(ready, attributes, l.town.now, "library")
}

func (l *library) refuse(request *leyline.KernelPrefetchRequest) {
	l.town.send(&leyline.KernelArtifactError{
		RequestId: request.GetRequestId(), BlueprintId: request.GetBlueprintId(),
		Reason: pick(l.town.world, "missing_artifact", "artifact_not_found", "checksum_mismatch"),
	}, nil, l.town.now, "library")
}

// serves says whether there is a file with a checksum.
func (l *library) serves(checksum string) bool {
	for _, a := range l.artifacts {
		if a.checksum == checksum && isWhat(a.ref, checksum) {
			return true
		}
	}
	return false
}

// read gives a trainer the bytes of a kernel, if it can be reached.
func (l *library) read(ref string) (content string, flaw, failure trainer.AttachFailure) {
	t := l.town
	a, ok := l.artifacts[ref]
	switch {
	case !ok, !t.calm && t.chance(0.05):
		return "", 0, trainer.AttachUnreachable
	case !t.calm && t.chance(0.03):
		return a.content + " and a flipped bit", a.flaw, 0
	default:
		return a.content, a.flaw, 0
	}
}
