package weatherlight

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// maxRoutes bounds what is remembered of germinations that were handed on.
const maxRoutes = 1024

// subjectOf is what the order of a message counts for: the seed of a command, the
// run of a state.
func subjectOf(d *oona.Delivery) string {
	switch m := d.Payload.(type) {
	case *leyline.AdaptationCommand:
		return "seed " + strings.TrimSpace(m.GetTargetSeedId())
	case *leyline.SystemStatePacket:
		return "run " + m.GetTrainingRunId()
	default:
		return ""
	}
}

// handleCommand carries a command out where its seed lives: here, or in another
// instance, whose inbox it moves to in the same commit that acknowledges it.
func (s *Service) handleCommand(ctx context.Context, command *leyline.AdaptationCommand) ([]oona.Message, error) {
	to := s.fleet.recipients(command, s.seedIDs(), len(s.meshLayers("")) > 0)
	if slices.Equal(to, []string{s.instance()}) {
		return s.applyCommand(ctx, command)
	}
	messages := make([]oona.Message, len(to))
	for i, instance := range to {
		messages[i] = oona.Message{Stream: inbox(instance), Payload: command}
	}
	return messages, nil
}

// applyCommand applies a command here. A command that is refused will be
// refused again, so it goes to the dead letters instead of being retried.
func (s *Service) applyCommand(ctx context.Context, command *leyline.AdaptationCommand) ([]oona.Message, error) {
	err := s.seeds.HandleCommand(ctx, command)
	if _, rejected := errors.AsType[*kasmina.RejectedError](err); rejected {
		return nil, oona.Permanent(err)
	}
	return nil, err
}

func (s *Service) seedIDs() []string {
	states := s.seeds.SeedStates()
	ids := make([]string, len(states))
	for i, state := range states {
		ids[i] = state.GetSeedId()
	}
	return ids
}

// recipients are the instances that a command is for. One for a seed goes where
// the seed lives, and a germination where the training host is; what no other
// instance can carry out is for us, if only to refuse it. One without a seed
// concerns every instance.
func (f *fleet) recipients(command *leyline.AdaptationCommand, own []string, hosted bool) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	seed := strings.TrimSpace(command.GetTargetSeedId())
	others := slices.DeleteFunc(slices.Clone(f.members), func(m fleetMember) bool { return m.name == f.self })
	switch {
	case len(others) == 0 || slices.Contains(own, seed):
		return []string{f.self}
	case seed == "":
		return append([]string{f.self}, names(others)...)
	}
	home := f.home(seed, others)
	if home == "" && germinates(command) && !hosted {
		home = first(others, func(m fleetMember) bool { return len(m.Layers) > 0 })
		f.remember(seed, home)
	}
	if home == "" {
		home = f.self
	}
	return []string{home}
}

// home is the other instance in which a seed lives, or where it was sent to
// germinate a moment ago.
func (f *fleet) home(seed string, others []fleetMember) string {
	if home := first(others, func(m fleetMember) bool { return slices.Contains(m.Seeds, seed) }); home != "" {
		return home
	}
	return first(others, func(m fleetMember) bool { return m.name == f.routes[seed] })
}

func (f *fleet) remember(seed, home string) {
	if home == "" {
		return
	}
	if len(f.routes) >= maxRoutes {
		clear(f.routes) // By now the instances tell of the seeds themselves.
	}
	f.routes[seed] = home
}

func germinates(command *leyline.AdaptationCommand) bool {
	return command.GetSeedOperation().GetOperation() == leyline.SeedOperation_SEED_OP_GERMINATE
}

// first is the name of the first member of which something holds, or "".
func first(members []fleetMember, holds func(fleetMember) bool) string {
	if i := slices.IndexFunc(members, holds); i >= 0 {
		return members[i].name
	}
	return ""
}

func names(members []fleetMember) []string {
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = m.name
	}
	return list
}

// fleetLayers are the layers that a germination names as its mesh: those of our
// own host, or else of the instance that a germination is sent to.
func (s *Service) fleetLayers(run string) []string {
	if own := s.meshLayers(run); len(own) > 0 {
		return own
	}
	for _, member := range s.fleet.live() {
		if len(member.Layers) > 0 {
			return member.Layers
		}
	}
	return nil
}
