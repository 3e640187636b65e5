package terminal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Choice gives a command a flag that takes one of some words, and completes them.
func Choice(command *cobra.Command, to *string, words []string, name, shorthand, usage string) {
	command.Flags().VarP(choice{to, words}, name, shorthand, usage)
	_ = command.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // it is there
}

type choice struct {
	to    *string
	words []string
}

func (c choice) String() string { return *c.to }

func (choice) Type() string { return "string" }

func (c choice) Set(word string) error {
	if !slices.Contains(c.words, word) {
		return fmt.Errorf("it is none of %s", strings.Join(c.words, ", "))
	}
	*c.to = word
	return nil
}
