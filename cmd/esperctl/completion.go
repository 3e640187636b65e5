package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/look"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/tamiyo/policy/inspect"
)

// most is how many arguments a command takes that have no bound.
const most = 1000

// offer completes up to so many arguments with what ids finds; nothing is offered when what is
// asked does not answer.
func offer(arguments int, ids func(context.Context) []string) cobra.CompletionFunc {
	return func(command *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= arguments {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		left := slices.DeleteFunc(ids(command.Context()), func(id string) bool { return slices.Contains(args, id) })
		return left, cobra.ShellCompDirectiveNoFileComp
	}
}

func kernelIDs(ctx context.Context) (ids []string) {
	_ = inLibrary(ctx, func(opened opened) error {
		return opened.ask(ctx, func(ctx context.Context) (err error) {
			ids, err = allKernels(ctx, opened.library)
			return err
		})
	})
	return ids
}

func blueprintIDs(context.Context) (ids []string) {
	_ = withBlueprints(func(s slotted) error {
		for _, d := range s.catalog.List() {
			ids = append(ids, d.GetBlueprintId())
		}
		return nil
	})
	return ids
}

func letterIDs(ctx context.Context) (ids []string) {
	_ = lookAtBus(ctx, func(bus *oona.Client) error {
		return eachDeadLetter(ctx, bus, letterFilter{limit: most}, func(letter deadletter.Letter) { ids = append(ids, letter.ID) })
	})
	return ids
}

func policyIDs(context.Context) (ids []string) {
	_ = withPolicies(func(_ string, kept []inspect.Kept) error {
		for _, k := range kept {
			if k.Digest != "" {
				ids = append(ids, k.Digest)
			}
		}
		return nil
	})
	return ids
}

// completeReplay offers runs, and files.
func completeReplay(command *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	runs, _ := look.CompleteSeeds(command, nil, begun)
	return runs, cobra.ShellCompDirectiveDefault
}
