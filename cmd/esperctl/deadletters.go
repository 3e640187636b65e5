package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
)

func newDeadLetters() *cobra.Command {
	letters := &cobra.Command{Use: "deadletters", Short: "Look into what the bus refused or gave up, and act on it"}
	letters.AddCommand(newDeadLettersList(), newDeadLettersShow(), newDeadLettersReplay(), newDeadLettersPurge())
	return letters
}

// letterFilter says which dead letters are of interest.
type letterFilter struct {
	stream, group, reason string
	after                 string
	limit                 int
}

func (f letterFilter) wants(letter deadletter.Letter) bool {
	matches := func(wanted, got string) bool { return wanted == "" || wanted == got }
	return matches(f.stream, letter.Stream) && matches(f.group, letter.Group) && matches(f.reason, letter.Reason)
}

func newDeadLettersList() *cobra.Command {
	var format terminal.Format
	var filter letterFilter
	list := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, oldest first",
		Long: `Lists dead letters, oldest first. When there are more than --limit, the next page
follows the last id of this one: --after ID.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return listDeadLetters(command.Context(), filter, &format, command.OutOrStdout())
		},
	}
	format.Bind(list)
	list.Flags().StringVar(&filter.stream, "stream", "", "only those that came from this stream")
	list.Flags().StringVar(&filter.group, "group", "", "only those that this group gave up")
	list.Flags().StringVar(&filter.reason, "reason", "", "only those given up for this reason")
	list.Flags().StringVar(&filter.after, "after", "", "only those that follow this id")
	terminal.Limit(list, &filter.limit)
	offerTo(list, "stream", ofLetters(func(letter deadletter.Letter) string { return letter.Stream }))
	offerTo(list, "group", ofLetters(func(letter deadletter.Letter) string { return letter.Group }))
	offerTo(list, "reason", ofLetters(func(letter deadletter.Letter) string { return letter.Reason }))
	offerTo(list, "after", letterIDs)
	return list
}

// letterEntry is one dead letter as --json prints it.
type letterEntry struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Stream   string    `json:"stream"`
	EntryID  string    `json:"entry_id"`
	Group    string    `json:"group"`
	Type     string    `json:"type"`
	Reason   string    `json:"reason"`
	Error    string    `json:"error"`
	Attempts int       `json:"attempts"`
	Bytes    int       `json:"bytes"`
	Replayed string    `json:"replayed,omitempty"`
}

func newLetterEntry(letter deadletter.Letter) letterEntry {
	kind := "unreadable"
	if found, err := letter.Type(); err == nil {
		kind = found.String()
	}
	return letterEntry{
		ID: letter.ID, Time: letter.Time, Stream: letter.Stream, EntryID: letter.EntryID, Group: letter.Group, Type: kind,
		Reason: letter.Reason, Error: letter.Error, Attempts: letter.Attempts, Bytes: len(letter.Payload), Replayed: letter.Replayed,
	}
}

func listDeadLetters(ctx context.Context, filter letterFilter, format *terminal.Format, out io.Writer) error {
	entries := []letterEntry{}
	err := lookAtBus(ctx, func(bus *oona.Client) error {
		return eachDeadLetter(ctx, bus, filter, func(letter deadletter.Letter) {
			entries = append(entries, newLetterEntry(letter))
		})
	})
	if errors.Is(err, deadletter.ErrNotFound) {
		return process.Misconfigured("--after", err)
	}
	if err != nil {
		return fmt.Errorf("list dead letters: %w", err)
	}
	return format.Print(out, entries, func(table io.Writer) { letterTable(table, entries, format.Wide()) })
}

// eachDeadLetter calls f with the dead letters that a filter wants.
func eachDeadLetter(ctx context.Context, bus *oona.Client, filter letterFilter, f func(deadletter.Letter)) error {
	const page = 100
	for after, found := filter.after, 0; ; {
		letters, err := bus.DeadLetters().List(ctx, after, page)
		if err != nil {
			return err
		}
		for _, letter := range letters {
			if found == filter.limit {
				return nil
			}
			if filter.wants(letter) {
				f(letter)
				found++
			}
		}
		if len(letters) < page {
			return nil
		}
		after = letters[len(letters)-1].ID
	}
}

// letterTable leaves out, unless it is wide, how often it was tried and when it was given up:
// its id begins with that time.
func letterTable(table io.Writer, entries []letterEntry, wide bool) {
	if !wide {
		terminal.Row(table, "ID", "STREAM", "GROUP", "REASON", "STATE", "ERROR")
		for _, e := range entries {
			terminal.Row(table, e.ID, e.Stream, e.Group, e.Reason, e.state(), firstLine(e.Error))
		}
		return
	}
	terminal.Row(table, "ID", "TIME", "STREAM", "GROUP", "REASON", "ATTEMPTS", "STATE", "ERROR")
	for _, e := range entries {
		terminal.Row(table, e.ID, e.Time.UTC().Format(time.RFC3339), e.Stream, e.Group, e.Reason, e.Attempts, e.state(), e.Error)
	}
}

// state is whether the letter was replayed.
func (e letterEntry) state() string {
	if e.Replayed == "" {
		return "-"
	}
	return "replayed"
}
