package terminal

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// Help has a command and all below it say how they are called in lines that fit the terminal.
func Help(root *cobra.Command) {
	root.SetHelpFunc(func(command *cobra.Command, _ []string) {
		_, _ = fmt.Fprint(command.OutOrStdout(), help(command, width(command.OutOrStdout()))) // there is nobody to tell
	})
}

func help(command *cobra.Command, most int) string {
	var text strings.Builder
	part := func(head string, lines ...string) {
		fmt.Fprintf(&text, "\n%s:\n%s\n", head, strings.Join(lines, "\n"))
	}
	text.WriteString(prose(cmp.Or(command.Long, command.Short), most) + "\n")
	usage := []string{hanging("  ", command.UseLine(), most)}
	if command.HasAvailableSubCommands() {
		usage = append(usage, "  "+command.CommandPath()+" [command]")
	}
	part("Usage", usage...)
	if command.HasExample() {
		part("Examples", command.Example)
	}
	if command.HasAvailableSubCommands() {
		part("Available Commands", verbs(command, most)...)
	}
	if flags := command.LocalFlags(); flags.HasAvailableFlags() {
		part("Flags", strings.TrimRight(flags.FlagUsagesWrapped(most), "\n "))
	}
	if command.HasAvailableSubCommands() {
		fmt.Fprintf(&text, "\n%s\n", prose(fmt.Sprintf("Use %q for more of a command.", command.CommandPath()+" [command] --help"), most))
	}
	return text.String()
}

// verbs are the commands below one, each beside what it does.
func verbs(command *cobra.Command, most int) (lines []string) {
	widest := 0
	for _, verb := range command.Commands() {
		widest = max(widest, utf8.RuneCountInString(verb.Name()))
	}
	for _, verb := range command.Commands() {
		if verb.IsAvailableCommand() || verb.Name() == "help" {
			lines = append(lines, hanging(fmt.Sprintf("  %-*s  ", widest, verb.Name()), verb.Short, most))
		}
	}
	return lines
}

// prose breaks paragraphs into lines. One that is set in is to be copied, and stays as it is.
func prose(text string, most int) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, paragraph := range paragraphs {
		if inset := strings.TrimLeft(paragraph, " \t\n"); inset != paragraph {
			paragraphs[i] = "  " + inset
			continue
		}
		paragraphs[i] = strings.Join(wrap(strings.Join(strings.Fields(paragraph), " "), most), "\n")
	}
	return strings.Join(paragraphs, "\n\n")
}

// hanging is a text behind its head, below which it goes on.
func hanging(head, text string, most int) string {
	indent := utf8.RuneCountInString(head)
	return head + strings.Join(wrap(text, most-indent), "\n"+strings.Repeat(" ", indent))
}
