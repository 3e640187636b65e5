package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
)

func newDeadLettersReplay() *cobra.Command {
	return &cobra.Command{
		Use:   "replay ID...",
		Short: "Publish dead letters again, newly signed, for the group that gave them up",
		Long: `Publishes dead letters again on their streams, newly signed, for the group that gave
them up: the other groups do not see them. Each is replayed once at most, and one
whose own signature is wrong never. The exit code is 1 when any was not replayed.`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: offer(most, letterIDs),
		RunE: func(command *cobra.Command, ids []string) error {
			return replayDeadLetters(command.Context(), ids, command.OutOrStdout())
		},
	}
}

func replayDeadLetters(ctx context.Context, ids []string, out io.Writer) error {
	refused := 0
	err := withBus(ctx, func(bus *oona.Client) error {
		for _, id := range ids {
			entry, err := bus.DeadLetters().Replay(ctx, id)
			if errors.Is(err, oona.ErrUnavailable) || ctx.Err() != nil {
				return err
			}
			if err != nil {
				refused++
			}
			printLine(out, "%s  %s", id, replayText(entry, err))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("replay dead letters: %w", err)
	}
	if refused > 0 {
		return fmt.Errorf("%d of %d dead letters were not replayed: esperctl deadletters list shows what there is", refused, len(ids))
	}
	return nil
}

func replayText(entry string, err error) string {
	switch {
	case err == nil:
		return "replayed as " + entry
	case errors.Is(err, deadletter.ErrReplayed):
		return "was replayed before, as " + entry
	case errors.Is(err, deadletter.ErrNotFound):
		return "no such dead letter"
	case errors.Is(err, deadletter.ErrNotReplayable):
		return errors.Unwrap(err).Error() // without the id, which is there already
	default:
		return err.Error()
	}
}

var errPurgeWhat = errors.New("name dead letters, or say --older-than: nothing is purged by accident")

func newDeadLettersPurge() *cobra.Command {
	var olderThan time.Duration
	purge := &cobra.Command{
		Use:   "purge [ID...]",
		Short: "Remove dead letters for good, by id or by age",
		Example: `  esperctl deadletters purge 1700000000000-0
  esperctl deadletters purge --older-than 48h`,
		ValidArgsFunction: offer(most, letterIDs),
		RunE: func(command *cobra.Command, ids []string) error {
			byAge := command.Flags().Changed("older-than")
			if byAge == (len(ids) > 0) {
				return terminal.Misused(command, errPurgeWhat)
			}
			return purgeDeadLetters(command.Context(), ids, olderThan, command.OutOrStdout())
		},
	}
	purge.Flags().DurationVar(&olderThan, "older-than", 0, "remove all that were given up longer ago; 0s is all")
	return purge
}

func purgeDeadLetters(ctx context.Context, ids []string, olderThan time.Duration, out io.Writer) error {
	var purged int64
	err := withBus(ctx, func(bus *oona.Client) (err error) {
		if len(ids) > 0 {
			purged, err = bus.DeadLetters().Purge(ctx, ids...)
			return err
		}
		purged, err = bus.DeadLetters().PurgeBefore(ctx, time.Now().Add(-olderThan))
		return err
	})
	if err != nil {
		return fmt.Errorf("purge dead letters: %w", err)
	}
	printLine(out, "%d purged", purged)
	if len(ids) > 0 && purged < int64(len(ids)) {
		return fmt.Errorf("%d of %d dead letters were not there: esperctl deadletters list shows those that are",
			int64(len(ids))-purged, len(ids))
	}
	return nil
}
