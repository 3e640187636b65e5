package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// printJSON prints what --json asks for, with the escapes of JSON for what a terminal obeys.
func printJSON(out io.Writer, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err == nil {
		_, err = fmt.Fprintln(out, escapeJSON(string(text)))
	}
	if err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

func escapeJSON(text string) string {
	var escaped strings.Builder
	for _, letter := range text {
		if letter == '\n' || unicode.IsPrint(letter) {
			escaped.WriteRune(letter)
			continue
		}
		for _, unit := range utf16.Encode([]rune{letter}) {
			fmt.Fprintf(&escaped, `\u%04x`, unit)
		}
	}
	return escaped.String()
}

// printTable lines up what rows writes, at its tabs.
func printTable(out io.Writer, rows func(table io.Writer)) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	rows(table)
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	return nil
}

// printLine prints a line of a format, or a row of a table. The texts among its values come
// from outside: what a terminal would obey in them is escaped.
func printLine(out io.Writer, format string, values ...any) {
	for i, value := range values {
		switch value.(type) {
		case string, []string, error, fmt.Stringer:
			values[i] = process.Printable(fmt.Sprint(value))
		}
	}
	fmt.Fprintf(out, format+"\n", values...)
}

// printableLines keeps the lines of a text apart, in the second column of a table.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = process.Printable(line)
	}
	return strings.Join(lines, "\n\t")
}
