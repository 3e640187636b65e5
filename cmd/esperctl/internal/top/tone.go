package top

import (
	"charm.land/lipgloss/v2"

	"github.com/esper-lite/weatherlight/oona/admin"
)

// tone is how a line is meant.
type tone int

const (
	plain tone = iota
	good
	busy
	faint
	warn
	bad
	head
)

// toneOf is that of a state, a stage, a severity or a kind of event.
func toneOf(word string) tone {
	switch word {
	case "running", "fossilized", "field_report":
		return good
	case "training", "blending", "shadowing", "probationary", "stage":
		return busy
	case "silent", "culled", "embargoed", "resetting", "dormant", "terminated", "info":
		return faint
	case "conservative", "halted", "warning":
		return warn
	case "critical", "emergency", "alarm":
		return bad
	default:
		return plain
	}
}

// groupTone warns of what is read and not finished by somebody who does not ask for more.
func groupTone(g *admin.GroupView) tone {
	quiet, known := g.Silent()
	behind := g.Pending > 0 || g.Behind != nil && *g.Behind > 0
	switch {
	case behind && (!known || quiet > silence):
		return warn
	case !behind:
		return faint
	default:
		return plain
	}
}

// paint shows a line as it is meant, in the colours that a terminal has for that.
func paint(t tone, line string) string {
	style := lipgloss.NewStyle()
	switch t {
	case good:
		style = style.Foreground(lipgloss.Green)
	case busy:
		style = style.Foreground(lipgloss.Cyan)
	case faint:
		style = style.Faint(true)
	case warn:
		style = style.Foreground(lipgloss.Yellow)
	case bad:
		style = style.Foreground(lipgloss.Red).Bold(true)
	case head:
		style = style.Bold(true)
	default:
		return line
	}
	return style.Render(line)
}
