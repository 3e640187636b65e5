package rules

import (
	"fmt"
	"strconv"
	"strings"
)

// Markdown is the table as docs/controller.md has it.
func Markdown() string {
	var page strings.Builder
	page.WriteString("| evaluator | when | event | level | what follows |\n| --- | --- | --- | --- | --- |\n")
	for i := range table {
		rule := &table[i]
		fmt.Fprintf(&page, "| %s | %s | `%s` | %s | %s |\n", rule.evaluator, rule.condition(), rule.event,
			strings.TrimPrefix(rule.level.String(), "TELEMETRY_LEVEL_"), rule.consequence())
	}
	return page.String()
}

func (r *rule) condition() string {
	var parts []string
	for _, c := range r.when {
		text := c.text
		if text == "" {
			text = "`" + c.figure + "` " + c.is.String() + " " + strconv.FormatFloat(c.bound, 'g', -1, 64)
		}
		parts = append(parts, text)
	}
	if r.begins {
		parts = append(parts, "a seed would be begun")
	}
	if r.unless != "" {
		parts = append(parts, "not `"+r.unless+"`")
	}
	return strings.Join(parts, "; ")
}

func (r *rule) consequence() string {
	if r.recovers {
		return "the mode ends"
	}
	text := map[Effect]string{
		Tell: "told", Hold: "no seed is begun", Freeze: "no seed is begun, comes back or is kept", Pause: "seeds are paused, none is begun",
		Stop: "seeds are paused, none is begun, the run is conservative",
	}[r.effect]
	if r.actsOnBegin {
		text = "where a seed would be begun: " + text + "; else told"
	}
	if r.effect > Tell {
		text += "; reason `" + r.reasonOrEvent() + "`"
	}
	if r.over {
		text += ", over an earlier one"
	}
	return text
}
