// Package selection says which blueprints a seed may be germinated from.
//
// A [Selection] lists the candidates for a slot, from which Tamiyo's controller chooses, with
// the evidence on each, and has the last word on its choice. It puts together what the catalogue permits, the forge can
// make and the library would serve. The control room asks it, through the service.
package selection

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/urza"
)

// Config is what there is to select from.
type Config struct {
	Catalog *karn.Catalog
	// Compiler is the one of the forge, for any slot.
	Compiler *tezzeret.Compiler
	Library  *urza.Library
	// OwnSlot is the shape of the slot that the library's own kernels are made for.
	OwnSlot []int
	// Offer takes a telemetry packet. It must not block.
	Offer func(*leyline.TelemetryPacket)
}

// Selection selects blueprints. Its methods may be called at the same time.
type Selection struct {
	config Config
	lists  *lists
}

// New asks nothing yet. Close ends what it begins.
func New(config Config) *Selection {
	s := &Selection{config: config}
	s.lists = newLists(makers{survey: s.survey, find: s.find})
	return s
}

// Close ends what is being found out, and waits for it.
func (s *Selection) Close() { s.lists.close() }

// Prepare has it found out what fits slots of a run before anybody asks.
func (s *Selection) Prepare(run string, slots [][]int) {
	for _, slot := range slots {
		s.lists.make(run, slot, prepareEvery)
	}
}

// Permit puts the controller's choice through the catalogue, which counts
// it and has the last word, and looks at how it was judged by now: the list that it was chosen from
// may have been made before that. The library has looked at the approval of the very
// artifact before. What is in no catalogue, such as an imported kernel, is not for
// Karn to judge.
func (s *Selection) Permit(ctx context.Context, id string) error {
	known, found, err := s.Blueprint(ctx, id)
	if err != nil {
		return fmt.Errorf("look at how %s was judged: %w", id, err)
	}
	if rule, refused := known.Refused(); found && refused {
		return fmt.Errorf("%s is refused by now: %s", id, rule)
	}
	blueprint, err := s.config.Catalog.Get(id)
	if errors.Is(err, karn.ErrUnknownBlueprint) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up %s: %w", id, err)
	}
	_, err = s.config.Catalog.Select(ctx, karn.Request{
		BlueprintID: id,
		Parameters:  karn.Midpoints(blueprint),
		Grant:       karn.Grant{Approved: []string{id}},
	})
	if selections := s.config.Catalog.Packet(); selections != nil {
		s.config.Offer(selections)
	}
	return err
}

// Candidates are the blueprints that the controller may choose from for a slot of a run:
// those that the forge can make for it and the library would serve, and for the
// library's own slot what was imported besides. The list must not be changed. One that
// was made within the last minute will do when it takes a good part of what is left until the
// deadline to make it anew; while there was none yet, that it is under way is an error.
func (s *Selection) Candidates(ctx context.Context, run string, slot []int) ([]tamiyo.Candidate, error) {
	return s.lists.get(ctx, run, slot)
}

// formOf says false of sizes that are no slot: nothing fits them.
func formOf(slot []int) (tezzeret.Slot, bool) {
	form, err := tezzeret.NewSlot(slot...)
	return form, err == nil
}

// survey asks the compiler what it could make for a slot, which means to compile.
func (s *Selection) survey(ctx context.Context, slot []int) ([]tezzeret.Candidate, error) {
	form, ok := formOf(slot)
	if !ok {
		return nil, nil
	}
	surveyed, err := s.config.Compiler.For(form).Survey(ctx, s.config.Catalog.List())
	if err != nil {
		return nil, fmt.Errorf("look for blueprints that fit a slot of %v: %w", slot, err)
	}
	return surveyed, nil
}

func (s *Selection) find(ctx context.Context, slot []int, surveyed []tezzeret.Candidate) ([]tamiyo.Candidate, error) {
	form, ok := formOf(slot)
	if !ok {
		return nil, nil
	}
	candidates := make([]tamiyo.Candidate, 0, len(surveyed))
	for _, found := range surveyed {
		blueprint, err := s.config.Catalog.Get(found.BlueprintID)
		if err != nil {
			continue
		}
		err = s.config.Library.WithheldVariant(ctx, blueprint)
		if errors.Is(err, urza.ErrUnavailable) { // not that there are none
			return nil, fmt.Errorf("ask the library for %s: %w", found.BlueprintID, err)
		}
		if err != nil {
			continue
		}
		known := candidate(blueprint, found.ParameterCount)
		known.MultiplyAdds, known.Misfit = found.MultiplyAdds, tezzeret.Misfit(blueprint, form)
		candidates = append(candidates, known)
	}
	if slices.Equal(slot, s.config.OwnSlot) {
		imported, err := s.importedCandidates(ctx)
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, imported...)
	}
	for i := range candidates {
		if err := s.prove(ctx, &candidates[i]); err != nil {
			return nil, err
		}
	}
	return candidates, nil
}

// Blueprint is what is known of a blueprint, whatever slot it grows at; one that is in no
// catalogue and has no kernel is not known.
func (s *Selection) Blueprint(ctx context.Context, id string) (tamiyo.Candidate, bool, error) {
	blueprint, err := s.config.Catalog.Get(id)
	if err != nil {
		record, err := s.config.Library.Get(ctx, id)
		if errors.Is(err, urza.ErrNotFound) {
			return tamiyo.Candidate{}, false, nil
		}
		if err != nil {
			return tamiyo.Candidate{}, false, fmt.Errorf("ask the library for %s: %w", id, err)
		}
		blueprint = record.Descriptor
	}
	known := candidate(blueprint, 0)
	return known, true, s.prove(ctx, &known)
}

// prove adds what is known of a blueprint beside its catalogue.
func (s *Selection) prove(ctx context.Context, c *tamiyo.Candidate) error {
	evidence, err := s.config.Library.Evidence().Of(ctx, c.BlueprintID)
	if err != nil {
		return err
	}
	c.BSDS = evidence.BSDS
	o := evidence.Outcomes
	c.Earned = tamiyo.Earned{Tried: o.Tried, Kept: o.Kept, Gain: o.MeanGain()}
	for _, benchmark := range evidence.Benchmarks {
		if p50, measured := latency(benchmark); measured {
			if c.LatencyMS == nil {
				c.LatencyMS = make(map[string]float64)
			}
			c.LatencyMS[strings.ToLower(benchmark.GetDevice())] = p50
		}
	}
	return nil
}

// latency is the mean over the profiles of a benchmark of their medians.
func latency(benchmark *leyline.BlueprintBenchmark) (ms float64, measured bool) {
	sum, count := 0.0, 0
	for _, profile := range benchmark.GetProfiles() {
		if p50 := float64(profile.GetP50LatencyMs()); p50 > 0 && p50 < math.MaxFloat32 {
			sum, count = sum+p50, count+1
		}
	}
	return sum / max(float64(count), 1), count > 0
}

// importedCandidates are the kernels of the library whose blueprints are in no
// catalogue.
func (s *Selection) importedCandidates(ctx context.Context) ([]tamiyo.Candidate, error) {
	records, err := s.config.Library.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list kernels: %w", err)
	}
	var candidates []tamiyo.Candidate
	for _, record := range records {
		if _, err := s.config.Catalog.Get(record.Descriptor.GetBlueprintId()); err != nil && s.config.Library.Withheld(record) == nil {
			imported := candidate(record.Descriptor, parameterCount(record))
			imported.MultiplyAdds = -1
			candidates = append(candidates, imported)
		}
	}
	return candidates, nil
}

func candidate(blueprint *leyline.BlueprintDescriptor, parameters int) tamiyo.Candidate {
	return tamiyo.Candidate{
		BlueprintID:      blueprint.GetBlueprintId(),
		Name:             blueprint.GetName(),
		Tier:             blueprint.GetTier(),
		Risk:             float64(blueprint.GetRisk()),
		Stage:            blueprint.GetStage(),
		ParameterCount:   parameters,
		ApprovalRequired: blueprint.GetApprovalRequired(),
		QuarantineOnly:   blueprint.GetQuarantineOnly(),
	}
}

// parameterCount is how many weights of a kernel can be trained, as its maker
// noted; an imported artifact may not say.
func parameterCount(record *urza.Record) int {
	switch count := record.Extras["parameter_count"].(type) {
	case int:
		return count
	case int64:
		return int(count)
	case float64:
		return int(count)
	default:
		return 0
	}
}
