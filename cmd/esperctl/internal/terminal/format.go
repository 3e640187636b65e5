package terminal

import (
	"fmt"
	"io"
	"math"
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
	// leastName is how narrow a column may become, gap what is between two, leastWord what most
	// words have room in, and leastProse how narrow the last one becomes before others do.
	leastName  = 8
	gap        = 2
	leastWord  = 12
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
	f.output = outputs[0]
	Choice(command, &f.output, outputs, "output", "o", "table, wide (cuts nothing) or json")
}

// JSON says whether JSON is wanted.
func (f *Format) JSON() bool { return f.json || f.output == "json" }

// Wide says whether nothing is to be cut.
func (f *Format) Wide() bool { return f.output == "wide" }

// Print prints a value as JSON, or the rows that table writes, with tabs between the cells.
func (f *Format) Print(out io.Writer, value any, table func(io.Writer)) error {
	if f.JSON() {
		return JSON(out, value)
	}
	return Table(out, f.Wide(), table)
}

// Table lines up what rows writes, at its tabs. Unless it is wide it fits the width of the
// terminal, or 80 columns elsewhere: names are cut in their middle, since they differ at their
// ends, and prose in the last column at its end. What is headed ID is there to be copied, and
// is not cut.
func Table(out io.Writer, wide bool, rows func(io.Writer)) error {
	var text strings.Builder
	rows(&text)
	var table [][]string
	label := 0
	for line := range strings.Lines(text.String()) {
		line = strings.TrimSuffix(line, "\n")
		if name, _, is := strings.Cut(line, labelled); is {
			label = max(label, utf8.RuneCountInString(name))
		}
		table = append(table, strings.Split(line, "\t"))
	}
	if len(table) == 1 && len(table[0]) > 1 { // a head with nothing below it
		table = [][]string{{"none"}}
	}
	most := math.MaxInt
	widths := columnWidths(table)
	if !wide {
		most = width(out)
		fit(widths, keys(table, widths), most)
	}
	for _, row := range table {
		var text string
		if len(row) == 1 {
			text = describe(row[0], label, most)
		} else {
			text = shorten(lineUp(row, widths), most)
		}
		if _, err := fmt.Fprintln(out, text); err != nil {
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

// labelled stands between the label of a line and its text: no text has it, once it is printable.
const labelled = "\x1f"

// Line writes a line with a label, as descriptions have them: a text that is too long goes on
// below itself, and so does a word that is too long for a line.
func Line(table io.Writer, label, format string, values ...any) {
	fmt.Fprintln(table, process.Printable(label)+labelled+process.Printable(fmt.Sprintf(format, values...)))
}

// describe is a row of one cell, over as many lines as it takes.
func describe(cell string, labels, most int) string {
	label, text, is := strings.Cut(cell, labelled)
	if !is {
		return strings.Join(wrap(cell, most), "\n")
	}
	indent := labels + gap
	lines := wrap(text, most-indent)
	return strings.TrimRight(fmt.Sprintf("%-*s", indent, label)+strings.Join(lines, "\n"+strings.Repeat(" ", indent)), " ")
}

// wrap breaks a text at its spaces into lines of so many letters. A longer word goes over lines of
// its own.
func wrap(text string, room int) (lines []string) {
	line := ""
	for i, word := range strings.Split(text, " ") {
		switch {
		case i == 0:
			line = word
		case strings.TrimSpace(line) != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > room:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
		for utf8.RuneCountInString(line) > max(room, leastName) {
			head := seam([]rune(line), max(room, leastName))
			lines, line = append(lines, string([]rune(line)[:head])), string([]rune(line)[head:])
		}
	}
	return append(lines, line)
}

// seam is where a word of which so many letters fit is broken: behind the last mark among them, if
// that leaves no line half empty.
func seam(word []rune, room int) int {
	for at := room; at > room/2; at-- {
		if strings.ContainsRune("/-_.,:;=&", word[at-1]) {
			return at
		}
	}
	return room
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

// column is how a column is cut: like any, after those, when nothing else is left to cut, or never.
type column int

const (
	plain column = iota
	name
	word
	id
)

// keys says how each column is cut.
func keys(table [][]string, widths []int) []column {
	at := slices.IndexFunc(table, func(row []string) bool { return len(row) > 1 })
	if at < 0 {
		return nil
	}
	found := make([]column, len(widths))
	for i, head := range table[at] {
		switch {
		case head == "ID":
			found[i] = id
		case head == "SEED" && i < 2: // the table is of seeds
			found[i] = name
		case widths[i] <= leastWord:
			found[i] = word
		}
	}
	return found
}

// fit takes what is too much from one column after the other.
func fit(widths []int, key []column, most int) {
	total := gap * max(len(widths)-1, 0)
	for _, width := range widths {
		total += width
	}
	for ; total > most; total-- {
		next := toCut(widths, key)
		if next < 0 {
			return
		}
		widths[next]--
	}
}

// toCut is the column that is cut next, or -1: the last one, which is prose, until it is short, then
// the widest of the others, names after those and words after names.
func toCut(widths []int, key []column) int {
	last := len(widths) - 1
	if last < 0 || widths[last] > leastProse {
		return last
	}
	if at := widest(widths[:last], key, plain); at >= 0 {
		return at
	}
	if widths[last] > leastWord {
		return last
	}
	if at := widest(widths[:last], key, name); at >= 0 {
		return at
	}
	if at := widest(widths[:last], key, word); at >= 0 {
		return at
	}
	if widths[last] > leastName {
		return last
	}
	return -1
}

// widest is the widest column of a kind that may be cut yet, or -1.
func widest(widths []int, key []column, kind column) int {
	at, most := -1, leastName
	for i, width := range widths {
		if key[i] == kind && width > most {
			at, most = i, width
		}
	}
	return at
}

func lineUp(row []string, widths []int) string {
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
