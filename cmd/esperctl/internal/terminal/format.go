package terminal

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

const (
	// plainWidth is that of a table which is not shown on a terminal, and leastWidth of any.
	plainWidth = 80
	leastWidth = 40
	// leastName is how narrow a column may become, gap what is between two, and leastProse how
	// narrow the last one becomes before others do.
	leastName  = 8
	gap        = 2
	leastProse = 24
)

// Format is how a command prints what it has read.
type Format struct {
	json   bool
	output string
}

// outputs are the values of --output.
var outputs = []string{"table", "wide", "json"}

// Bind gives a command the flags of a format.
func (f *Format) Bind(command *cobra.Command) {
	command.Flags().BoolVar(&f.json, "json", false, "print JSON instead of a table")
	command.Flags().StringVarP(&f.output, "output", "o", "table", "table, wide (cuts nothing) or json")
	_ = command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp))
}

// JSON says whether JSON is wanted, and whether the format is one that there is.
func (f *Format) JSON() (bool, error) {
	if !slices.Contains(outputs, f.output) {
		return false, process.Misconfigured("--output", fmt.Errorf("%q is none of table, wide and json", f.output))
	}
	return f.json || f.output == "json", nil
}

// Print prints a value as JSON, or the rows that table writes, with tabs between the cells.
func (f *Format) Print(out io.Writer, value any, table func(io.Writer)) error {
	asJSON, err := f.JSON()
	if err != nil {
		return err
	}
	if asJSON {
		return JSON(out, value)
	}
	return Table(out, f.output == "wide", table)
}

// Table lines up what rows writes, at its tabs. Unless it is wide it fits the width of the
// terminal, or 80 columns elsewhere: names are cut in their middle, since they differ at their
// ends, and prose in the last column at its end.
func Table(out io.Writer, wide bool, rows func(io.Writer)) error {
	var text strings.Builder
	rows(&text)
	var table [][]string
	for line := range strings.Lines(text.String()) {
		table = append(table, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	if len(table) == 1 && len(table[0]) > 1 { // a head with nothing below it
		table = [][]string{{"none"}}
	}
	widths := columnWidths(table)
	if !wide {
		fit(widths, width(out))
	}
	for _, row := range table {
		if _, err := fmt.Fprintln(out, lineUp(row, widths)); err != nil {
			return fmt.Errorf("print table: %w", err)
		}
	}
	return nil
}

// Row writes a row of a table. What a terminal would obey in a cell is escaped.
func Row(table io.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = process.Printable(fmt.Sprint(cell))
	}
	fmt.Fprintln(table, strings.Join(texts, "\t"))
}

// columnWidths are those of a table that is not cut. A row of one cell is a line of its own.
func columnWidths(table [][]string) (widths []int) {
	for _, row := range table {
		if len(row) == 1 {
			continue
		}
		for i, cell := range row {
			if i == len(widths) { // the longest row so far
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// fit takes what is too much from the last column, which is prose, until it is short, and then
// from the widest.
func fit(widths []int, most int) {
	total := gap * max(len(widths)-1, 0)
	for _, width := range widths {
		total += width
	}
	last := len(widths) - 1
	for ; total > most; total-- {
		widest := last
		if names := widths[:max(last, 0)]; widths[last] <= leastProse && slices.Max(names) > leastName {
			widest = slices.Index(names, slices.Max(names))
		}
		if widths[widest] <= leastName {
			return
		}
		widths[widest]--
	}
}

func lineUp(row []string, widths []int) string {
	if len(row) == 1 {
		return row[0]
	}
	var line strings.Builder
	for i, cell := range row {
		if i == len(widths)-1 {
			cell = shorten(cell, widths[i])
		} else {
			cell = Cut(cell, widths[i])
		}
		line.WriteString(cell)
		if i < len(row)-1 {
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+gap))
		}
	}
	return strings.TrimRight(line.String(), " ")
}

// Cut leaves so many letters of a text, the first and the last of it.
func Cut(text string, most int) string {
	letters := []rune(text)
	if len(letters) <= most {
		return text
	}
	head := (most - 1) / 2
	return string(letters[:head]) + "…" + string(letters[len(letters)-(most-1-head):])
}

// shorten leaves so many letters of a text, the first of it.
func shorten(text string, most int) string {
	if letters := []rune(text); len(letters) > most {
		return string(letters[:most-1]) + "…"
	}
	return text
}

// width is that of the terminal that out is, or else what COLUMNS says.
func width(out io.Writer) int {
	if file, is := out.(*os.File); is {
		if columns := terminalWidth(file); columns > 0 {
			return max(columns, leastWidth)
		}
	}
	for _, pair := range os.Environ() {
		if value, set := strings.CutPrefix(pair, "COLUMNS="); set {
			if columns, err := strconv.Atoi(value); err == nil && columns > 0 {
				return max(columns, leastWidth)
			}
		}
	}
	return plainWidth
}
