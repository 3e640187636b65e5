package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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

func letterIDs(ctx context.Context) []string {
	return ofLetters(func(letter deadletter.Letter) string { return letter.ID })(ctx)
}

// ofLetters is what there is of each dead letter, each once.
func ofLetters(part func(deadletter.Letter) string) func(context.Context) []string {
	return func(ctx context.Context) (parts []string) {
		_ = lookAtBus(ctx, func(bus *oona.Client) error {
			return eachDeadLetter(ctx, bus, letterFilter{limit: most}, func(letter deadletter.Letter) {
				if text := part(letter); text != "" && !slices.Contains(parts, text) {
					parts = append(parts, text)
				}
			})
		})
		return parts
	}
}

// tags are those of the kernels in the library.
func tags(ctx context.Context) (found []string) {
	_ = inLibrary(ctx, func(opened opened) error {
		return opened.ask(ctx, func(ctx context.Context) error {
			records, err := opened.library.List(ctx)
			for _, record := range records {
				found = append(found, record.Tags()...)
			}
			return err
		})
	})
	slices.Sort(found)
	return slices.Compact(found)
}

// anyBlueprint is one of the catalogue, or of the library.
func anyBlueprint(ctx context.Context) []string {
	all := append(blueprintIDs(ctx), kernelIDs(ctx)...)
	slices.Sort(all)
	return slices.Compact(all)
}

// offerTo completes a flag with what ids finds.
func offerTo(command *cobra.Command, flag string, ids func(context.Context) []string) {
	_ = command.RegisterFlagCompletionFunc(flag, func(command *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return ids(command.Context()), cobra.ShellCompDirectiveNoFileComp
	}) // it is there
}

// offerRuns completes a flag with the runs that Nissa knows.
func offerRuns(command *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	return look.CompleteSeeds(command, nil, begun)
}

// offerFile completes the first argument with files.
func offerFile(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

// offerNoFiles keeps a shell from offering files for what says nothing of what it takes, in a command and all its verbs.
func offerNoFiles(command *cobra.Command) {
	for _, verb := range command.Commands() {
		offerNoFiles(verb)
	}
	if command.ValidArgsFunction == nil {
		command.ValidArgsFunction = cobra.NoFileCompletions
	}
	command.Flags().VisitAll(func(f *pflag.Flag) {
		_, file := f.Annotations[cobra.BashCompFilenameExt]
		_, folder := f.Annotations[cobra.BashCompSubdirsInDir]
		if _, has := command.GetFlagCompletionFunc(f.Name); !has && !file && !folder {
			_ = command.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions) // it is there
		}
	})
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
