package top

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

const (
	// gap is what lies between two columns.
	gap = 2
	// whole is how narrow a column may become whose cells mean nothing when they are cut.
	whole = 1 << 10
)

// cell is a text of a table with what it is sorted by: a figure, or the text when that is NaN.
type cell struct {
	text string
	wide int // in columns of the terminal
	by   float64
}

// text is a cell that a terminal cannot be made to obey.
func text(of string) cell { return figure(process.Printable(of), math.NaN()) }

func figure(shown string, by float64) cell {
	shown = terminal.OrDash(shown)
	return cell{shown, lipgloss.Width(shown), by}
}

// column says what is in the cells below it.
type column struct {
	title string
	least int // how narrow it may become
	rank  int // of columns that do not fit the highest goes first; 0 stays
}

func titles(columns []column) (texts []string) {
	for _, c := range columns {
		texts = append(texts, c.title)
	}
	return texts
}

// row is a line of a table, and what it hides.
type row struct {
	id      string
	cells   []cell
	tone    tone
	inspect func() []string
}

// table is what a pane shows.
type table struct {
	columns []column
	rows    []row
}

// matching are the rows in which a text occurs, in whatever case.
func (t *table) matching(filter string) []row {
	filter = strings.ToLower(filter)
	return slices.DeleteFunc(slices.Clone(t.rows), func(r row) bool {
		return !slices.ContainsFunc(r.cells, func(c cell) bool { return strings.Contains(strings.ToLower(c.text), filter) })
	})
}

// order sorts rows by a column, or leaves them as they are told when that is -1.
func order(rows []row, by int, turned bool) {
	if by >= 0 {
		slices.SortStableFunc(rows, func(a, b row) int { return compare(a.cells[by], b.cells[by]) })
	}
	if turned {
		slices.Reverse(rows)
	}
}

// compare puts what is no figure behind those that are.
func compare(a, b cell) int {
	switch none, other := math.IsNaN(a.by), math.IsNaN(b.by); {
	case none && other:
		return cmp.Compare(strings.ToLower(a.text), strings.ToLower(b.text))
	case none:
		return 1
	case other:
		return -1
	default:
		return cmp.Compare(a.by, b.by)
	}
}

// widths are those of the columns at which a line is no longer than most; 0 leaves one out. Long
// columns become shorter first, and then those go that matter least.
func widths(columns []column, rows []row, most int) []int {
	natural := make([]int, len(columns))
	for i, c := range columns {
		natural[i] = lipgloss.Width(c.title)
		for _, r := range rows {
			natural[i] = max(natural[i], r.cells[i].wide)
		}
	}
	for {
		if fitted, fits := squeeze(columns, natural, most); fits {
			return fitted
		}
		last := -1
		for i, c := range columns {
			if natural[i] > 0 && c.rank > 0 && (last < 0 || c.rank > columns[last].rank) {
				last = i
			}
		}
		if last < 0 {
			return natural // Each line is cut.
		}
		natural[last] = 0
	}
}

// squeeze takes what is too much from the widest column that may be narrower.
func squeeze(columns []column, natural []int, most int) (fitted []int, fits bool) {
	fitted = slices.Clone(natural)
	total := -gap
	for _, width := range fitted {
		if width > 0 {
			total += width + gap
		}
	}
	for ; total > most; total-- {
		widest := -1
		for i, width := range fitted {
			if width > columns[i].least && (widest < 0 || width > fitted[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return nil, false
		}
		fitted[widest]--
	}
	return fitted, true
}

// line puts texts into columns. Names are cut in their middle, since they differ at their ends;
// what stands last is prose, and is cut at its end.
func line(texts []string, fitted []int) string {
	var shown strings.Builder
	last := len(texts) - 1
	for last > 0 && fitted[last] == 0 {
		last--
	}
	for i, one := range texts[:last+1] {
		width := fitted[i]
		if width == 0 {
			continue
		}
		switch {
		case lipgloss.Width(one) <= width:
		case i == len(texts)-1:
			one = clip(one, width)
		default:
			one = clip(terminal.Cut(one, width), width)
		}
		shown.WriteString(one)
		if i < last {
			shown.WriteString(strings.Repeat(" ", width-lipgloss.Width(one)+gap))
		}
	}
	return strings.TrimRight(shown.String(), " ")
}

// clip leaves the first columns of a text.
func clip(one string, width int) string {
	if width <= 0 {
		return ""
	}
	if lipgloss.Width(one) <= width {
		return one
	}
	return lipgloss.NewStyle().MaxWidth(width-1).Render(one) + "…"
}
