package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// TestHelpOfEveryCommandFitsItsTerminal: nouns, verbs and what cobra adds.
func TestHelpOfEveryCommandFitsItsTerminal(t *testing.T) {
	root := newRoot()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var every func(*cobra.Command)
	every = func(command *cobra.Command) {
		for _, verb := range command.Commands() {
			every(verb)
		}
		words := strings.Fields(command.CommandPath())[1:]
		for said, columns := range map[string]int{"": 80, "80": 80, "60": 60} {
			t.Setenv("COLUMNS", said)
			for _, line := range [][]string{append(slices.Clone(words), "--help"), append([]string{"help"}, words...)} {
				printed := mustRun(t, line...)
				if !strings.Contains(printed, command.UseLine()) || !strings.Contains(printed, "--help") {
					t.Errorf("%v does not say how it is called:\n%s", line, printed)
				}
				for line := range strings.Lines(printed) {
					line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", "        ")
					if width := utf8.RuneCountInString(line); width > columns && !strings.HasPrefix(line, "  esperctl completion") {
						t.Errorf("%v: %d columns of %d: %s", words, width, columns, line)
					}
				}
			}
		}
	}
	every(root)
}

// What a command is about is whole in its help, and its verbs and flags are each beside what they do.
func TestHelpSaysAllThatItSaid(t *testing.T) {
	t.Setenv("COLUMNS", "60")
	printed := strings.Join(strings.Fields(mustRun(t, "alarms", "ack", "--help")), " ")
	command, _, err := newRoot().Find([]string{"alarms", "ack"})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{strings.Join(strings.Fields(command.Long), " "), "--reason string what is done about it"} {
		if !strings.Contains(printed, text) {
			t.Errorf("no %q in %s", text, printed)
		}
	}
	if printed := mustRun(t, "alarms", "--help"); !strings.Contains(printed, "\n  ack   Say") || !strings.Contains(printed, "\n        is not told") {
		t.Errorf("verbs do not go on below what they do:\n%s", printed)
	}
}
