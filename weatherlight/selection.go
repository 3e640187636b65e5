package weatherlight

import (
	"context"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
)

// selectBlueprints puts the controller's choices through the catalogue, which
// counts them and has the last word: a germination that it does not permit is left
// out. The library has looked at the approval of the very artifact before. What is
// in no catalogue, such as an imported kernel, is not for Karn to judge.
func (s *Service) selectBlueprints(
	ctx context.Context, commands []*leyline.AdaptationCommand,
) []*leyline.AdaptationCommand {
	permitted := make([]*leyline.AdaptationCommand, 0, len(commands))
	for _, command := range commands {
		if err := s.selectBlueprint(ctx, command.GetSeedOperation()); err != nil {
			s.logger.Warn("germination left out", "part", "karn", "command", command.GetCommandId(), "error", err)
			continue
		}
		permitted = append(permitted, command)
	}
	return permitted
}

func (s *Service) selectBlueprint(ctx context.Context, operation *leyline.CommandSeedOperation) error {
	if operation.GetOperation() != leyline.SeedOperation_SEED_OP_GERMINATE {
		return nil
	}
	id := operation.GetBlueprintId()
	blueprint, err := s.catalog.Get(id)
	if err != nil {
		return nil //nolint:nilerr // in no catalogue
	}
	_, err = s.catalog.Select(ctx, karn.Request{
		BlueprintID: id,
		Parameters:  karn.Midpoints(blueprint),
		Grant:       karn.Grant{Approved: []string{id}},
	})
	return err
}

func (s *Service) catalogPoints() []point { return prefixed("", s.catalog.Metrics(), noUnit) }
