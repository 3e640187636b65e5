package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
)

func newDeadLettersShow() *cobra.Command {
	var format terminal.Format
	show := &cobra.Command{
		Use:   "show ID",
		Short: "Show one dead letter with the message it holds",
		Args:  cobra.ExactArgs(1),

		ValidArgsFunction: offer(1, letterIDs),
		RunE: func(command *cobra.Command, ids []string) error {
			return showDeadLetter(command.Context(), ids[0], &format, command.OutOrStdout())
		},
	}
	format.Bind(show)
	return show
}

// letterDetails is one dead letter with what it holds. The message is what the
// bytes say: whether they can be trusted is another question.
type letterDetails struct {
	letterEntry
	Message    json.RawMessage   `json:"message,omitempty"`
	Unreadable string            `json:"unreadable,omitempty"` // why there is no message
	Attributes map[string]string `json:"attributes,omitempty"`
	Payload    []byte            `json:"payload"`
	Signature  string            `json:"signature"`
}

func newLetterDetails(letter deadletter.Letter) letterDetails {
	details := letterDetails{letterEntry: newLetterEntry(letter), Payload: letter.Payload, Signature: letter.Signature}
	message, attributes, err := letter.Message()
	details.Attributes = attributes
	if err == nil {
		details.Message, err = protojson.Marshal(message)
	}
	if err != nil {
		details.Unreadable = err.Error()
	}
	return details
}

func showDeadLetter(ctx context.Context, id string, format *terminal.Format, out io.Writer) error {
	var letter deadletter.Letter
	err := lookAtBus(ctx, func(bus *oona.Client) (err error) {
		letter, err = bus.DeadLetters().Get(ctx, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("show dead letter: %w", err)
	}
	details := newLetterDetails(letter)
	return format.Print(out, details, func(table io.Writer) { describeLetter(table, details) })
}

func describeLetter(table io.Writer, details letterDetails) {
	lines := []struct{ label, value string }{
		{"id", details.ID}, {"time", details.Time.UTC().Format(time.RFC3339Nano)}, {"stream", details.Stream},
		{"entry", details.EntryID}, {"group", details.Group}, {"reason", details.Reason},
		{"attempts", fmt.Sprint(details.Attempts)}, {"type", details.Type}, {"bytes", fmt.Sprint(details.Bytes)},
		{"replayed as", details.Replayed}, {"attributes", attributeText(details.Attributes)},
		{"message", indented(details.Message)}, {"unreadable", details.Unreadable}, {"error", details.Error},
	}
	for _, line := range lines {
		if line.value == "" {
			continue
		}
		for text := range strings.SplitSeq(line.value, "\n") {
			terminal.Line(table, line.label, "%s", text)
			line.label = ""
		}
	}
}

func attributeText(attributes map[string]string) string {
	pairs := make([]string, 0, len(attributes))
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", key, attributes[key]))
	}
	return strings.Join(pairs, " ")
}

// indented is a message over several lines, as far as it is one.
func indented(message json.RawMessage) string {
	var text bytes.Buffer
	if err := json.Indent(&text, message, "", "  "); err != nil {
		return ""
	}
	return text.String()
}

// firstLine shortens an error for a table.
func firstLine(text string) string {
	line, _, more := strings.Cut(text, "\n")
	if more {
		line += "…"
	}
	return line
}
