package kasmina

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// guardBatch is the batch that a kernel is compiled for.
const guardBatch = 8

// guardDigest is the digest of a kernel's inputs for one slot: the SHA-256 of
// the list of its input tensors in the JSON that Python writes.
func guardDigest(slotShape []int) string {
	shape := append([]int{guardBatch}, slotShape...)
	strides := make([]int, len(shape))
	for i, stride := len(shape)-1, 1; i >= 0; i-- {
		strides[i] = stride
		stride *= shape[i]
	}
	text := `[{"dtype": "float32", "index": 0, "requires_grad": false, "shape": ` + spaced(shape) +
		`, "stride": ` + spaced(strides) + `}]`
	return digestOf(text)
}

func spaced(numbers []int) string { return strings.ReplaceAll(fmt.Sprint(numbers), " ", ", ") }

// highestTier is the largest number of a BlueprintTier.
const highestTier = 3

// isFallbackGuard says whether a digest is the one that a library gives which
// does not know a kernel's inputs: of the blueprint's id and tier.
func isFallbackGuard(digest, blueprintID string) bool {
	for tier := range highestTier + 1 {
		if strings.EqualFold(digest, digestOf(fmt.Sprintf("%s:%d", blueprintID, tier))) {
			return true
		}
	}
	return false
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
