package top

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/look"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/oona/admin"
)

// stages are those of a seed that does well, in their order.
var stages = []string{"dormant", "germinated", "training", "blending", "shadowing", "probationary", "fossilized"}

// track shows how far a seed has come on its seven stages, and how it ended: one that was taken
// out goes through stages of its own, and back to the first.
func track(s *look.Seed) (shown string, reached int) {
	is := slices.Index(stages, look.StageName(s.Stage))
	reached = max(is, 0)
	for _, was := range s.Stages {
		reached = max(reached, slices.Index(stages, look.StageName(was.Stage)))
	}
	mark := "●"
	switch {
	case is == len(stages)-1:
		mark = "✓"
	case is < 0, is == 0 && reached > 0:
		mark = "✕"
	default:
		reached = is
	}
	return strings.Repeat("━", reached) + mark + strings.Repeat("·", len(stages)-1-reached), reached
}

func since(now, at time.Time) cell {
	if at.IsZero() {
		return figure("-", math.NaN())
	}
	return figure(terminal.Span(now.Sub(at)), now.Sub(at).Seconds())
}

func fact(label, format string, values ...any) string {
	return process.Printable(fmt.Sprintf("%-10s ", label) + fmt.Sprintf(format, values...))
}

func runTable(now time.Time, runs []look.Run, seeds []look.Seed) table {
	t := table{columns: []column{
		{"RUN", 12, 0}, {"STATE", whole, 0}, {"EPOCH", whole, 1}, {"LOSS", whole, 2}, {"ACC", whole, 3}, {"GROWING", whole, 4},
		{"KEPT", whole, 5}, {"TRAINER", 8, 7}, {"HEARD", whole, 6},
	}}
	for i := range runs {
		r := &runs[i]
		t.rows = append(t.rows, row{
			id: r.ID, tone: toneOf(r.State), inspect: func() []string { return runDetails(now, r, seeds) },
			cells: []cell{
				text(r.ID), text(r.State), figure(fmt.Sprint(r.Epoch), float64(r.Epoch)), figure(r.Loss.String(), r.Loss.Value()),
				figure(r.Accuracy.Percent(), r.Accuracy.Value()), figure(fmt.Sprint(r.Growing()), float64(r.Growing())),
				figure(fmt.Sprint(r.Kept()), float64(r.Kept())), text(r.Trainer), since(now, r.Heard()),
			},
		})
	}
	return t
}

func runDetails(now time.Time, r *look.Run, seeds []look.Seed) []string {
	lines := []string{
		fact("run", "%s", r.ID),
		fact("state", "%s, heard of %s ago", r.State, since(now, r.Heard()).text),
		fact("trainer", "%s, leads for %s, %d reports", terminal.OrDash(r.Trainer), since(now, r.LedSince).text, r.Reports),
		fact("epoch", "%d, loss %s (best %s), accuracy %s", r.Epoch, r.Loss, r.Best, r.Accuracy.Percent()),
	}
	if r.Level != "" {
		lines = append(lines, fact("emergency", "%s", r.Held()))
	}
	if r.Refused > 0 {
		lines = append(lines, fact("refused", "%d reports of processes that do not lead it", r.Refused))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Seeds)) {
		lines = append(lines, fact("seeds", "%d %s", r.Seeds[name], look.StageName(name)))
	}
	for i := range seeds {
		if s := &seeds[i]; s.Run == r.ID {
			shown, _ := track(s)
			lines = append(lines, fact(shown, "%s %s %s", look.StageName(s.Stage), s.Blueprint, s.ID))
		}
	}
	return lines
}

func seedTable(now time.Time, seeds []look.Seed, events []look.Event) table {
	t := table{columns: []column{
		{"SEED", 12, 0}, {"TRACK", whole, 0}, {"STAGE", whole, 1}, {"FOR", whole, 3}, {"SHARE", whole, 2}, {"BLUEPRINT", whole, 6},
		{"SLOT", 6, 7}, {"RUN", 8, 5}, {"WHY", 12, 4},
	}}
	for i := range seeds {
		s := &seeds[i]
		shown, reached := track(s)
		t.rows = append(t.rows, row{
			id: s.Run + " " + s.ID, tone: toneOf(look.StageName(s.Stage)), inspect: func() []string { return seedDetails(now, s, events) },
			cells: []cell{
				text(s.ID), figure(shown, float64(reached)), text(look.StageName(s.Stage)), since(now, s.StageAt),
				figure(s.Share(), s.Alpha.Value()), text(s.Blueprint), text(s.Slot), text(s.Run), text(s.Reason),
			},
		})
	}
	return t
}

func seedDetails(now time.Time, s *look.Seed, events []look.Event) []string {
	shown, _ := track(s)
	lines := []string{
		fact("seed", "%s", s.ID), fact("run", "%s", s.Run), fact("blueprint", "%s at %s", s.Blueprint, terminal.OrDash(s.Slot)),
		fact("kernel", "%s", terminal.OrDash(s.Kernel)),
		fact("stage", "%s  %s for %s, share %s", shown, look.StageName(s.Stage), since(now, s.StageAt).text, s.Share()),
	}
	for _, was := range s.Stages {
		if was.To != nil {
			lines = append(lines, fact("", "%s for %s", look.StageName(was.Stage), terminal.Span(was.To.Sub(was.From))))
		}
	}
	if s.Reason != "" {
		lines = append(lines, fact("why", "%s", s.Reason))
	}
	for i := range events {
		if e := &events[i]; e.Run == s.Run && e.Seed == s.ID {
			lines = append(lines, fact(e.At.Local().Format(look.Clock), "%s %s: %s", e.Kind, e.Verb(), e.What()))
		}
	}
	return lines
}

func streamTable(streams []admin.StreamView) table {
	t := table{columns: []column{
		{"STREAM", 8, 0}, {"GROUP", 8, 0}, {"LAG", whole, 1}, {"PENDING", whole, 2}, {"IDLE", whole, 3}, {"ENTRIES", whole, 4},
		{"CONSUMERS", whole, 5},
	}}
	for i := range streams {
		s := &streams[i]
		entries := figure(fmt.Sprint(s.Entries), float64(s.Entries))
		for j := range s.Groups {
			g := &s.Groups[j]
			t.rows = append(t.rows, row{
				id: s.Name + " " + g.Name, tone: groupTone(g), inspect: func() []string { return groupDetails(s, g) },
				cells: []cell{
					text(s.Name), text(g.Name), lag(g), figure(fmt.Sprint(g.Pending), float64(g.Pending)), idle(g), entries,
					figure(fmt.Sprint(len(g.Consumers)), float64(len(g.Consumers))),
				},
			})
		}
		if len(s.Groups) == 0 {
			none := figure("-", math.NaN())
			t.rows = append(t.rows, row{
				id: s.Name, cells: []cell{text(s.Name), none, none, none, none, entries, none},
				inspect: func() []string {
					return []string{fact("stream", "%s, %d entries, no group reads it", s.Name, s.Entries)}
				},
			})
		}
	}
	return t
}

func lag(g *admin.GroupView) cell {
	if g.Behind == nil {
		return figure("-", math.NaN())
	}
	return figure(fmt.Sprint(*g.Behind), float64(*g.Behind))
}

func idle(g *admin.GroupView) cell {
	quiet, known := g.Silent()
	if !known {
		return figure("never read", math.Inf(1))
	}
	return figure(terminal.Span(quiet), quiet.Seconds())
}

func groupDetails(s *admin.StreamView, g *admin.GroupView) []string {
	lines := []string{
		fact("stream", "%s, %d entries, last id %s", s.Name, s.Entries, terminal.OrDash(s.LastID)), fact("group", "%s", g.Name),
		fact("lag", "%s", lag(g).text), fact("pending", "%d", g.Pending), fact("idle", "%s", idle(g).text),
		fact("read to", "%s", g.Delivered),
	}
	for _, c := range g.Consumers {
		lines = append(lines, fact("consumer", "%s, %d pending, idle for %s", c.Name, c.Pending, terminal.Span(c.Idle)))
	}
	return lines
}

func alarmTable(now time.Time, raised []look.Raised) table {
	t := table{columns: []column{
		{"ALARM", 12, 0}, {"SEVERITY", whole, 0}, {"STATE", whole, 3}, {"FOR", whole, 2}, {"FROM", whole, 4}, {"WHAT", 12, 1},
	}}
	for i := range raised {
		r := &raised[i]
		t.rows = append(t.rows, row{
			id: r.From + " " + r.Name + " " + r.Subject + " " + r.ID, tone: toneOf(r.Severity),
			cells: []cell{text(r.Name), text(r.Severity), text(r.Standing()), since(now, r.Since), text(r.From), text(r.What())},
			inspect: func() []string {
				return []string{
					fact("alarm", "%s of %s", r.Name, r.From), fact("id", "%s", terminal.OrDash(r.ID)),
					fact("severity", "%s, %s for %s", r.Severity, r.Standing(), since(now, r.Since).text),
					fact("subject", "%s", terminal.OrDash(r.Subject)), fact("what", "%s", terminal.OrDash(r.Detail)),
				}
			},
		})
	}
	return t
}

func feedTable(events []look.Event) table {
	t := table{columns: []column{
		{"TIME", whole, 0}, {"KIND", whole, 2}, {"NAME", 12, 0}, {"RUN", 6, 3}, {"SEED", 8, 4}, {"WHAT", 12, 1},
	}}
	for i := range events {
		e := &events[i]
		t.rows = append(t.rows, row{
			id: fmt.Sprint(e.Seq), tone: toneOf(e.Kind),
			cells: []cell{
				figure(e.At.Local().Format(look.Clock), float64(e.At.UnixNano())), text(e.Kind), text(e.Verb()), text(e.Run),
				text(e.Seed), text(e.What()),
			},
			inspect: func() []string {
				lines := []string{
					fact("at", "%s", e.At.Local().Format(time.RFC3339)), fact(e.Kind, "%s", e.Name),
					fact("run", "%s", terminal.OrDash(e.Run)), fact("seed", "%s", terminal.OrDash(e.Seed)),
					fact("from", "%s", terminal.OrDash(e.Source)),
				}
				for _, name := range slices.Sorted(maps.Keys(e.Details)) {
					lines = append(lines, fact(name, "%s", e.Details[name]))
				}
				return lines
			},
		})
	}
	return t
}
