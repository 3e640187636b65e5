// Package capability writes into the kernel library which seeds may set the parameters of
// each blueprint: those that blend it.
//
// A [FanOut] goes by the records of all runs, and remembers what it granted until it has taken
// that back. A maintenance job of the service runs it.
package capability

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/urza"
)

// Library is where capabilities are written down; *urza.Library is one.
type Library interface {
	List(ctx context.Context) ([]*urza.Record, error)
	Get(ctx context.Context, blueprintID string) (*urza.Record, error)
	MergeCapabilities(ctx context.Context, blueprintID string, allowed map[string][]string) (changed bool, err error)
}

// Config is what a FanOut goes by.
type Config struct {
	Library Library
	Catalog *karn.Catalog
	// Each visits the records of all runs.
	Each func(ctx context.Context, visit func(run string, record *kasmina.Record)) error
	// Confirm fails when this instance must not write any more.
	Confirm func(context.Context) error
}

// FanOut writes capabilities. One goroutine uses it.
type FanOut struct {
	config Config
	// granted are the blueprints whose capabilities were written and not yet
	// taken back, nil until the library was asked.
	granted map[string]bool
}

// New has granted nothing that it knows of.
func New(config Config) *FanOut { return &FanOut{config: config} }

// Run writes what has changed. A blueprint that no seed blends any
// more gets empty lists, so capabilities are taken back as well as given. It returns how many
// blueprints are blending, and how many rows changed.
func (f *FanOut) Run(ctx context.Context) (map[string]float64, error) {
	if err := f.recallGranted(ctx); err != nil {
		return nil, err
	}
	if err := f.config.Confirm(ctx); err != nil {
		return nil, fmt.Errorf("fan out capabilities: %w", err)
	}
	known, blending, err := f.knownSeeds(ctx)
	if err != nil {
		return nil, fmt.Errorf("fan out capabilities: %w", err)
	}
	for blueprint := range blending {
		f.granted[blueprint] = true
	}
	var failures []error
	changes := 0
	for _, blueprint := range slices.Sorted(maps.Keys(f.granted)) {
		allowed := make(map[string][]string, len(known))
		for _, seed := range known {
			allowed[seed] = []string{}
		}
		for _, seed := range blending[blueprint] {
			allowed[seed] = f.parameterNames(ctx, blueprint)
		}
		changed, err := f.config.Library.MergeCapabilities(ctx, blueprint, allowed)
		if err != nil && !errors.Is(err, urza.ErrNotFound) {
			failures = append(failures, fmt.Errorf("capabilities of %s: %w", blueprint, err))
			continue
		}
		if changed {
			changes++
		}
		if len(blending[blueprint]) == 0 {
			delete(f.granted, blueprint)
		}
	}
	return map[string]float64{"blending": float64(len(blending)), "changed": float64(changes)}, errors.Join(failures...)
}

// knownSeeds are the seeds of all runs, and those of them that blend, by blueprint.
func (f *FanOut) knownSeeds(ctx context.Context) (known []string, blending map[string][]string, err error) {
	blending = make(map[string][]string)
	err = f.config.Each(ctx, func(_ string, record *kasmina.Record) {
		for _, seed := range kasmina.States(record) {
			known = append(known, seed.GetSeedId())
		}
		for blueprint, seeds := range kasmina.BlendingSeeds(record) {
			blending[blueprint] = append(blending[blueprint], seeds...)
		}
	})
	return known, blending, err
}

// recallGranted finds, once, what an earlier run granted: its seeds are gone, so
// nobody else would take it back.
func (f *FanOut) recallGranted(ctx context.Context) error {
	if f.granted != nil {
		return nil
	}
	records, err := f.config.Library.List(ctx)
	if err != nil {
		return fmt.Errorf("recall capabilities: %w", err)
	}
	f.granted = make(map[string]bool)
	for _, record := range records {
		if grants(record.Extras["graph_metadata"]) {
			f.granted[record.Descriptor.GetBlueprintId()] = true
		}
	}
	return nil
}

// grants reports whether graph metadata allows any seed any parameter. Some
// writers keep it as JSON text: that is not looked into, only at.
func grants(graph any) bool {
	const key = "allowed_parameters_by_seed_id"
	if text, ok := graph.(string); ok {
		return strings.Contains(text, key)
	}
	fields, _ := graph.(map[string]any)
	capabilities, _ := fields["capabilities"].(map[string]any)
	bySeed, _ := capabilities[key].(map[string]any)
	for _, names := range bySeed {
		if list, _ := names.([]any); len(list) > 0 {
			return true
		}
	}
	return false
}

// parameterNames are the parameters that a blueprint declares, in order: in our
// catalogue, or else in the graph metadata that it was imported with.
func (f *FanOut) parameterNames(ctx context.Context, blueprintID string) []string {
	if blueprint, err := f.config.Catalog.Get(blueprintID); err == nil {
		return slices.Sorted(maps.Keys(blueprint.GetAllowedParameters()))
	}
	record, err := f.config.Library.Get(ctx, blueprintID)
	if err != nil {
		return []string{} // Whoever writes them down meets the same error.
	}
	return declaredNames(record.Extras["graph_metadata"])
}

// declaredNames reads graph metadata, or the JSON text of it.
func declaredNames(graph any) []string {
	fields, _ := graph.(map[string]any)
	if text, ok := graph.(string); ok && json.Unmarshal([]byte(text), &fields) != nil {
		return []string{}
	}
	names := []string{}
	list, _ := fields["parameters"].([]any)
	for _, declared := range list {
		parameter, _ := declared.(map[string]any)
		if name, _ := parameter["name"].(string); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
