package top

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/look"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/oona/admin"
)

const (
	// silence is how long a group may be quiet that has something to read.
	silence = time.Minute
	// around are the lines that are no pane: three above, one below.
	around = 4
	// leastRows is what a pane has at least when all are shown: its head and a row.
	leastRows = 2
)

// names are those of the panes, with what is said when there is nothing in one.
var names = [panes]struct{ name, none string }{
	{"runs", "no runs"}, {"seeds", "no seeds in runs that train"}, {"streams", "no streams"}, {"alarms", "nothing is raised"},
	{"feed", "nothing has happened"},
}

// View draws the screen.
func (m model) View() tea.View {
	view := tea.NewView(m.draw())
	view.AltScreen, view.WindowTitle = true, "esperctl top"
	return view
}

// draw makes as many lines as the terminal has, none longer than it is wide.
func (m *model) draw() string {
	lines := m.above()
	room := max(m.height-around, 1)
	if m.open {
		lines = append(lines, m.inside(room)...)
	} else {
		for i, height := range m.heights(room) {
			if height > 0 {
				lines = append(lines, m.pane(i, height)...)
			}
		}
	}
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:max(m.height-1, 0)], m.below())
	for i := range lines {
		lines[i] = lipgloss.NewStyle().MaxWidth(m.width).Render(lines[i])
	}
	return strings.Join(lines, "\n")
}

func (m *model) paint(t tone, line string) string {
	if !m.colours {
		return line
	}
	return paint(t, line)
}

// above says how those are that are asked.
func (m *model) above() []string {
	return []string{
		state(m, "weatherlight", &m.service, saidOfService), state(m, "nissa", &m.nissa, saidOfNissa),
		state(m, "bus", &m.bus, saidOfBus),
	}
}

// state is one line about one of those that are asked.
func state[T any](m *model, name string, a *answer[T], say func(T) string) string {
	says, t := "is asked", faint
	switch {
	case a.err != nil:
		says, t = process.OneLine(a.err.Error()), bad
		if a.heard {
			says = fmt.Sprintf("away for %s: %s", terminal.Span(m.now.Sub(a.at)), says)
		}
	case a.heard:
		says, t = say(a.said), plain
	}
	return m.paint(t, clip(fmt.Sprintf("%-12s  %s", name, process.Printable(says)), m.width))
}

func saidOfService(s *look.Service) string {
	says := fmt.Sprintf("%s, up %s, %s", s.State, terminal.Span(time.Duration(s.Uptime*float64(time.Second))), s.SystemMode)
	if s.Reason != "" {
		says += ": " + s.Reason
	}
	if i := s.Instances; i != nil && len(i.Live) > 1 {
		says += fmt.Sprintf(", %d instances, %s leads", len(i.Live), terminal.OrDash(i.Leader))
	}
	return says
}

func saidOfNissa(k *look.Known) string {
	counts := map[string]int{}
	for i := range k.Runs {
		counts[k.Runs[i].State]++
	}
	says := fmt.Sprintf("ready, %d runs: %d running, %d silent, %d halted",
		len(k.Runs), counts["running"], counts["silent"], counts["halted"])
	if n := counts["conservative"]; n > 0 {
		says += fmt.Sprintf(", %d conservative", n)
	}
	return says
}

func saidOfBus(streams []admin.StreamView) string {
	var entries, pending int64
	groups := 0
	for i := range streams {
		entries += streams[i].Entries
		groups += len(streams[i].Groups)
		for _, g := range streams[i].Groups {
			pending += g.Pending
		}
	}
	return fmt.Sprintf("%d streams, %d entries, %d groups, %d pending", len(streams), entries, groups, pending)
}

// heights shares the lines out. Each pane has its head and a row; what is left goes to the one
// that is looked at, and then to each in turn that has more to show. Where there is no room for
// all, the one that is looked at has all of it.
func (m *model) heights(room int) (lines [panes]int) {
	if room < panes*leastRows {
		lines[m.focus] = room
		return lines
	}
	left := room
	for i := range lines {
		lines[i] = leastRows
		left -= leastRows
	}
	var wants [panes]int
	for i := range wants {
		rows, _ := m.panes[i].shown()
		wants[i] = len(rows) + 1
	}
	// The one that is looked at leaves the others a half.
	most := min(max(wants[m.focus]-lines[m.focus], 0), (left+1)/2)
	lines[m.focus] += most
	left -= most
	for gave := true; left > 0 && gave; {
		gave = false
		for i := range lines {
			if left > 0 && lines[i] < wants[i] {
				lines[i]++
				left--
				gave = true
			}
		}
	}
	return lines
}

// pane draws one, with its head.
func (m *model) pane(which, height int) []string {
	p := &m.panes[which]
	rows, at := p.shown()
	columns := p.headed(len(rows))
	fitted := widths(columns, rows, m.width-gap)
	focused := which == m.focus
	lines := []string{m.paint(head, mark(focused)+line(titles(columns), fitted))}
	if len(rows) == 0 {
		return append(lines, m.paint(faint, "  "+m.nothing(which)))
	}
	first := min(max(at-(height-2), 0), max(len(rows)-(height-1), 0))
	for i := first; i < min(first+height-1, len(rows)); i++ {
		shown := mark(focused && i == at) + line(rows[i].texts(), fitted)
		lines = append(lines, m.paint(rows[i].tone, shown))
	}
	return lines
}

func mark(here bool) string {
	if here {
		return "> "
	}
	return "  "
}

// nothing says why a pane has no rows.
func (m *model) nothing(which int) string {
	switch p := &m.panes[which]; {
	case p.filter != "" && len(p.rows) > 0:
		return fmt.Sprintf("none of %d has %q", len(p.rows), p.filter)
	case which == streamPane && !m.bus.heard, which == alarmPane && (!m.service.heard || !m.nissa.heard),
		(which == runPane || which == seedPane || which == feedPane) && !m.nissa.heard:
		return "not known"
	default:
		return names[which].none
	}
}

// headed are the columns with what their heads say beside their names: the first how many rows
// there are, and of how many; the one that is sorted by, which way.
func (p *pane) headed(count int) []column {
	columns := slices.Clone(p.columns)
	if p.filter != "" {
		columns[0].title += fmt.Sprintf(" %d/%d", count, len(p.rows))
	} else {
		columns[0].title += fmt.Sprintf(" %d", count)
	}
	if p.by >= 0 {
		columns[p.by].title += map[bool]string{false: " ↓", true: " ↑"}[p.turned]
	}
	return columns
}

func (r *row) texts() []string {
	texts := make([]string, len(r.cells))
	for i, c := range r.cells {
		texts[i] = c.text
	}
	return texts
}

// inside shows the row that is chosen, uncut: what is too long goes on below.
func (m *model) inside(room int) []string {
	rows, at := m.panes[m.focus].shown()
	if len(rows) == 0 {
		return []string{m.paint(faint, "it is gone")}
	}
	var lines []string
	for _, fact := range rows[at].inspect() {
		lines = append(lines, strings.Split(lipgloss.Wrap(fact, max(m.width, 1), ""), "\n")...)
	}
	first := min(m.top, max(len(lines)-room, 0))
	return slices.Clone(lines[first:min(first+room, len(lines))])
}

// below says which keys there are, as many as fit.
func (m *model) below() string {
	p := &m.panes[m.focus]
	if m.typing {
		return clip("filter "+names[m.focus].name+": "+p.filter+"_", m.width)
	}
	hints := []string{"q quit", "tab pane", "/ filter", "s S sort", "enter inspect", "j k move"}
	if m.open {
		hints = []string{"q quit", "esc back", "j k scroll"}
	}
	if p.filter != "" {
		hints = slices.Insert(hints, 0, "has "+fmt.Sprintf("%q", p.filter)+" (esc)")
	}
	keys := hints[0]
	for _, hint := range hints[1:] {
		if lipgloss.Width(keys+"  "+hint) <= m.width {
			keys += "  " + hint
		}
	}
	return m.paint(faint, clip(keys, m.width))
}
