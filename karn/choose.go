package karn

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
)

// conservativePool is how many of the safe blueprints, by id, a conservative
// choice considers.
const conservativePool = 10

// ErrNoCandidate says that the query leaves nothing to choose from.
var ErrNoCandidate = errors.New("karn: no blueprint matches the query")

// Query narrows a choice.
type Query struct {
	// Tier keeps one tier; unspecified keeps all.
	Tier leyline.BlueprintTier

	// Context spreads choices over the candidates: equal texts choose equal
	// blueprints. Empty chooses the first candidate.
	Context string

	// AllowAdversarial keeps the high-risk tier, which is dropped otherwise.
	AllowAdversarial bool

	// Conservative keeps the first ten safe blueprints by id, and nothing of
	// another tier: such a query has no candidate.
	Conservative bool
}

// choose returns the catalogue's own descriptor of the one that the query's context
// selects. What is permitted does not change which one that is.
func (c *Catalog) choose(q Query) (*leyline.BlueprintDescriptor, error) {
	pool := c.candidates(q)
	if len(pool) == 0 {
		return nil, fmt.Errorf("%w: tier %s, conservative %t, adversarial %t",
			ErrNoCandidate, q.Tier, q.Conservative, q.AllowAdversarial)
	}
	return pool[contextIndex(q.Context, len(pool))], nil
}

// candidates returns the descriptors that q leaves, sorted by id. Sorting
// comes before the cut, so that registration order cannot change a choice.
func (c *Catalog) candidates(q Query) []*leyline.BlueprintDescriptor {
	var pool []*leyline.BlueprintDescriptor
	for _, d := range c.order {
		if q.admits(d) {
			pool = append(pool, d)
		}
	}
	slices.SortFunc(pool, func(a, b *leyline.BlueprintDescriptor) int {
		return strings.Compare(a.GetBlueprintId(), b.GetBlueprintId())
	})
	if q.Conservative && len(pool) > conservativePool {
		pool = pool[:conservativePool]
	}
	return pool
}

func (q Query) admits(d *leyline.BlueprintDescriptor) bool {
	if !inTier(d, q.Tier) {
		return false
	}
	if q.Conservative {
		return d.GetTier() == leyline.BlueprintTier_BLUEPRINT_TIER_SAFE
	}
	return q.AllowAdversarial || d.GetTier() != leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK
}

// contextIndex maps a context onto [0, n): the big-endian first four bytes of
// its SHA-256, modulo n.
func contextIndex(context string, n int) int {
	if context == "" {
		return 0
	}
	digest := sha256.Sum256([]byte(context))
	return int(uint64(binary.BigEndian.Uint32(digest[:4])) % uint64(n))
}
