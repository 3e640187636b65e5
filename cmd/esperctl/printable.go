package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// printJSON prints what --json asks for.
func printJSON(out io.Writer, value any) error { return terminal.JSON(out, value) }

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
