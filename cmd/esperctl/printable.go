package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"
)

// printJSON prints what --json asks for.
func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
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

// printable escapes what a terminal would not show but obey: text from the bus was
// written by whoever reached it.
func printable(text string) string {
	var shown strings.Builder
	for len(text) > 0 {
		character, size := utf8.DecodeRuneInString(text)
		broken := character == utf8.RuneError && size == 1
		if piece := text[:size]; broken || !unicode.IsPrint(character) {
			quoted := strconv.Quote(piece)
			shown.WriteString(quoted[1 : len(quoted)-1])
		} else {
			shown.WriteString(piece)
		}
		text = text[size:]
	}
	return shown.String()
}

// printableLines keeps the lines of a text apart, in the second column of a table.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n\t")
}
