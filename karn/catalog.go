package karn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sony/gobreaker/v2"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

// ErrUnknownBlueprint says that no descriptor has the id asked for.
var ErrUnknownBlueprint = errors.New("karn: unknown blueprint")

// Config holds what Select needs beside the catalogue itself. The zero value
// is ready to use.
type Config struct {
	// Granted is the standing permission of the deployment; it counts besides
	// the one that a request brings.
	Granted Grant

	// Quarantined lists the ids that are quarantine only in this deployment,
	// besides those that always are.
	Quarantined []string

	// Approvals looks up grants that may change while the catalogue is in use.
	// Nil means that there are none. Its error is a failure of ours: it counts
	// against the circuit, and Select returns it.
	Approvals func(ctx context.Context) (Grant, error)

	// Failures in a row that open the circuit around Approvals. Defaults to 3.
	Failures int

	// OpenFor is how long an open circuit denies before one trial. Defaults to 30 s.
	OpenFor time.Duration

	// MaxEvents bounds the events kept between two drains; the oldest go
	// first. Defaults to 64.
	MaxEvents int
}

func (c Config) withDefaults() Config {
	c.Failures = cmp.Or(c.Failures, 3)
	c.OpenFor = cmp.Or(c.OpenFor, 30*time.Second)
	c.MaxEvents = cmp.Or(c.MaxEvents, 64)
	return c
}

// Catalog is the set of blueprints. It is safe for concurrent use, and every
// descriptor it returns is the caller's own copy.
type Catalog struct {
	config Config
	byID   map[string]*leyline.BlueprintDescriptor
	order  []*leyline.BlueprintDescriptor

	circuit *gobreaker.CircuitBreaker[Grant]
	record  *record
}

// NewCatalog returns the catalogue of the 50 default blueprints, with no
// standing approvals.
func NewCatalog() *Catalog { return NewCatalogWith(Config{}) }

// NewCatalogWith is NewCatalog with the given configuration.
func NewCatalogWith(config Config) *Catalog { return newCatalog(config, descriptors()) }

// newCatalog takes the descriptors over.
func newCatalog(config Config, order []*leyline.BlueprintDescriptor) *Catalog {
	c := &Catalog{config: config.withDefaults(), order: order}
	c.byID = make(map[string]*leyline.BlueprintDescriptor, len(c.order))
	for _, d := range c.order {
		d.QuarantineOnly = d.GetQuarantineOnly() || slices.Contains(c.config.Quarantined, d.GetBlueprintId())
		c.byID[d.GetBlueprintId()] = d
	}
	c.record = &record{limit: c.config.MaxEvents}
	c.circuit = c.newCircuit()
	return c
}

// Get returns the descriptor of a blueprint, or an error that wraps
// ErrUnknownBlueprint.
func (c *Catalog) Get(id string) (*leyline.BlueprintDescriptor, error) {
	d, err := c.find(id)
	if err != nil {
		return nil, err
	}
	return proto.CloneOf(d), nil
}

// List returns all descriptors in registration order, BP001 to BP050.
func (c *Catalog) List() []*leyline.BlueprintDescriptor {
	return c.ListTier(leyline.BlueprintTier_BLUEPRINT_TIER_UNSPECIFIED)
}

// ListTier returns the descriptors of one tier in registration order; the
// unspecified tier means all of them.
func (c *Catalog) ListTier(tier leyline.BlueprintTier) []*leyline.BlueprintDescriptor {
	var list []*leyline.BlueprintDescriptor
	for _, d := range c.order {
		if inTier(d, tier) {
			list = append(list, proto.CloneOf(d))
		}
	}
	return list
}

// find returns the catalogue's own descriptor, which must not leave the package.
func (c *Catalog) find(id string) (*leyline.BlueprintDescriptor, error) {
	d, ok := c.byID[id]
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrUnknownBlueprint, id)
	}
	return d, nil
}

func inTier(d *leyline.BlueprintDescriptor, tier leyline.BlueprintTier) bool {
	return tier == leyline.BlueprintTier_BLUEPRINT_TIER_UNSPECIFIED || d.GetTier() == tier
}
