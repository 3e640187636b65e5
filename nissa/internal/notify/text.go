package notify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/grouping"
)

// title is a notification in one line.
func title(n grouping.Notification) string {
	meaning := meaningOf(n)
	switch firing, resolved := len(n.Firing), len(n.Resolved); {
	case firing == 0:
		return fmt.Sprintf("[RESOLVED] %s: %s", n.Rule, meaning.Summary)
	case n.Again:
		return fmt.Sprintf("[STILL FIRING %s] %s: %s", meaning.Severity, n.Rule, meaning.Summary)
	case resolved == 0:
		return fmt.Sprintf("[FIRING %s] %s: %s", meaning.Severity, n.Rule, meaning.Summary)
	default:
		return fmt.Sprintf("[FIRING %s, RESOLVED %d] %s: %s", meaning.Severity, resolved, n.Rule, meaning.Summary)
	}
}

func meaningOf(n grouping.Notification) alert.Meaning {
	for _, a := range slices.Concat(n.Firing, n.Resolved) {
		return a.Meaning
	}
	return alert.Meaning{}
}

// text is a notification as people read it, a line for each alert.
func text(n grouping.Notification) string {
	n = n.Named()
	lines := []string{title(n)}
	for _, a := range n.Firing {
		lines = append(lines, fmt.Sprintf("firing: %s, %s, since %s", place(a), a.Detail, clock(a.Since)))
	}
	for _, a := range n.Resolved {
		lasted := model.Duration(a.Ended.Sub(a.Since).Round(time.Second))
		lines = append(lines, fmt.Sprintf("resolved: %s, %s, after %s", place(a), a.Reason, lasted))
	}
	if n.Unnamed > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", n.Unnamed))
	}
	if runbook := meaningOf(n).Runbook; runbook != "" {
		lines = append(lines, "see "+runbook)
	}
	return harmless(strings.Join(lines, "\n"))
}

// place is where something is wrong.
func place(a alert.Alert) string {
	said := []string{a.Source}
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		said = append(said, name+"="+a.Labels[name])
	}
	return strings.Join(said, " ")
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// harmless keeps what senders on the bus say from being read as mark-up: nobody is mentioned, and
// nothing becomes a link.
func harmless(text string) string {
	return strings.NewReplacer("<", "‹", ">", "›", "@", "@\u200b", "](", "]\u200b(", "`", "'").Replace(text)
}
