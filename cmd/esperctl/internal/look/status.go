package look

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/settings"
)

// UnwellError says that the service answered, and is not well.
type UnwellError struct{ Reasons []string }

func (e *UnwellError) Error() string { return "not well: " + strings.Join(e.Reasons, "; ") }

// Exit is the code of an answer that is no.
func (*UnwellError) Exit() int { return process.ExitFailed }

// overview is what one screen shows.
type overview struct {
	Weatherlight json.RawMessage `json:"weatherlight"`
	Nissa        string          `json:"nissa"` // ready, or why not
	Runs         map[string]int  `json:"runs,omitempty"`
	Seeds        map[string]int  `json:"seeds,omitempty"` // by stage, of the runs that train
	Alerts       []Raised        `json:"alerts"`          // those of Nissa's that fire
	Unwell       []string        `json:"unwell"`          // why the exit code is not 0

	served Service
	asked  string // where the service was asked
	held   []Run  // in an emergency
	missed bool   // NISSA_URL names a Nissa, and it is not ready
}

// Status shows all on one screen.
func Status() *cobra.Command {
	command := question{
		use: "status", short: "Show on one screen how the foundation is; exit 0 when it is well",
		long: "Shows on one screen how the foundation is: the service, its alarms and Nissa's alerts, runs, streams and workers.\n" +
			"For monitors: exit 0 when it is ready and nothing is raised but for information, or taken up, or silenced;\n" +
			"1 when not, 3 when it does not answer. A Nissa that does not answer is told of, and\n" +
			"changes the exit code when NISSA_URL names one, here or to the service.",
		answer: func(ctx context.Context, _ []string, to *answer) error {
			o, err := look(ctx)
			if err != nil {
				return err
			}
			if err := to.Print(to.out, o, func(table io.Writer) { o.show(table, to) }); err != nil {
				return err
			}
			if len(o.Unwell) > 0 {
				return &UnwellError{o.Unwell}
			}
			return nil
		},
	}.command()
	return command
}

// look asks both services at a time.
func look(ctx context.Context) (*overview, error) {
	resolved, err := loaded()
	if err != nil {
		return nil, err
	}
	service, err := ask.Weatherlight(resolved)
	if err != nil {
		return nil, err
	}
	o := &overview{asked: service.Base(), Alerts: []Raised{}, Unwell: []string{}}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		o.askNissa(ctx, resolved)
	}()
	err = service.Get(ctx, "/status", nil, &o.Weatherlight)
	<-asked
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(o.Weatherlight, &o.served); err != nil {
		return nil, notUnderstood(err)
	}
	o.judge()
	return o, nil
}

func (o *overview) askNissa(ctx context.Context, resolved *settings.Settings) {
	service, err := ask.Nissa(resolved)
	if err != nil {
		o.Nissa = err.Error()
		return
	}
	o.missed = resolved.Weatherlight.NissaURL.Reveal() != ""
	var page struct{ Runs []Run }
	var alerts []Raised
	err = service.Get(ctx, "/api/runs", url.Values{"limit": {strconv.Itoa(mostRuns)}}, &page)
	if err == nil {
		alerts, err = Alerts(ctx, service)
	}
	if refused := (*ask.RefusedError)(nil); errors.As(err, &refused) {
		o.Nissa = err.Error()
		return
	}
	if err != nil {
		o.Nissa = "not at " + service.Base()
		return
	}
	o.missed = false
	o.Nissa, o.Runs, o.Seeds = "ready", map[string]int{}, map[string]int{}
	for _, a := range alerts {
		if a.State == "firing" {
			o.Alerts = append(o.Alerts, a)
		}
	}
	for _, r := range page.Runs {
		o.Runs[r.State]++
		if r.Level != "" {
			o.held = append(o.held, r)
		}
		if r.Trains() {
			for name, count := range r.Seeds {
				o.Seeds[StageName(name)] += count
			}
		}
	}
}

// nissaUnreachable is the alarm of a service whose NISSA_URL names a Nissa that is away.
const nissaUnreachable = "nissa_unreachable"

// raised are alarms of the service, and alerts of Nissa's.
func (o *overview) raised() []Raised { return slices.Concat(o.served.Raised(), o.Alerts) }

// judge says why a monitor should call somebody.
func (o *overview) judge() {
	if o.served.State != "ready" {
		reason := strings.TrimPrefix(o.served.Reason, o.served.State+": ")
		o.unwell(strings.TrimSuffix(o.served.State+": "+reason, ": "))
	}
	for _, r := range o.raised() {
		o.missed = o.missed || r.Name == nissaUnreachable && r.State == "raised"
		if r.Severity != "info" && (r.State == "raised" || r.Standing() == "firing") {
			o.unwell(strings.TrimSuffix(r.Name+" "+r.Subject, " "))
		}
	}
	if o.missed {
		o.unwell(nissaUnreachable)
	}
}

// unwell notes a reason once: an objective has an alert for each of its windows.
func (o *overview) unwell(reason string) {
	if !slices.Contains(o.Unwell, reason) {
		o.Unwell = append(o.Unwell, reason)
	}
}

func (o *overview) show(table io.Writer, to *answer) {
	s := &o.served
	line := func(label, format string, values ...any) { terminal.Line(table, label, format, values...) }
	line("weatherlight", "%s, up %s, %s, at %s", s.State, terminal.Span(seconds(s.Uptime)), s.SystemMode, o.asked)
	line("version", "%s", s.Version)
	if s.Reason != "" {
		line("reason", "%s", s.Reason)
	}
	line("bus", "%s", terminal.OrDash(s.Bus))
	if i := s.Instances; i != nil {
		line("instances", "%d, %s leads", len(i.Live), terminal.OrDash(i.Leader))
	}
	line("nissa", "%s", o.Nissa)
	if o.Runs != nil {
		line("runs", "%s", counts(o.Runs, "none"))
		for i := range o.held {
			line(labelOnce("emergency", i), "%s", to.rest(o.held[i].ID+" is "+o.held[i].Held()))
		}
		line("seeds", "%s", counts(o.Seeds, "none in runs that train"))
	}
	if c := s.Catalogue; c != nil {
		line("kernels", "%d of %d blueprints", c.Kernels, c.Blueprints)
	}
	unwell := s.unwell()
	line("workers", "%d, %d not well", len(s.Workers), len(unwell))
	for _, w := range unwell {
		line("", "%s", to.rest(w.Name+" is "+w.State+": "+terminal.OrDash(w.LastError)))
	}
	o.showAlarms(line, to)
	if len(s.Streams) == 0 {
		return
	}
	terminal.Row(table, "")
	terminal.Row(table, "STREAM", "ENTRIES", "BEHIND", "SLOWEST GROUP", "LOST UNREAD")
	for _, stream := range s.Streams {
		terminal.Row(table, stream.Role, stream.Depth, stream.Lag, terminal.OrDash(stream.Slowest), stream.TrimmedUnread)
	}
}

// lineRest is what is left of a line behind its label.
const lineRest = 66

// rest is a text that takes no more than that.
func (a *answer) rest(text string) string {
	if a.Wide() {
		return text
	}
	return terminal.Cut(text, lineRest)
}

func (o *overview) showAlarms(line func(label, format string, values ...any), to *answer) {
	raised := o.raised()
	if len(raised) == 0 {
		line("alarms", "none")
		return
	}
	for i, alike := range alikes(raised) {
		r := &alike[0]
		name := strings.TrimSpace(r.Name + " " + r.Subject)
		said := strings.TrimSuffix(": "+r.Detail, ": ")
		if len(alike) > 1 {
			name, said = fmt.Sprintf("%s, %d of them,", r.Name, len(alike)), ""
		}
		if r.AckedBy != "" || r.Silenced {
			said = ", " + r.Standing() + said
		}
		line(labelOnce("alarms", i), "%s", to.rest(r.Severity+" "+name+" for "+to.age(r.Since)+said))
	}
}

// alikes are those together that one line tells of, each with the one first that lasts the longest.
func alikes(raised []Raised) (groups [][]Raised) {
	for _, r := range raised {
		at := slices.IndexFunc(groups, func(g []Raised) bool {
			return g[0].Name == r.Name && g[0].Severity == r.Severity && g[0].Standing() == r.Standing()
		})
		if at < 0 {
			groups = append(groups, []Raised{r})
			continue
		}
		groups[at] = append(groups[at], r)
		if last := len(groups[at]) - 1; r.Since.Before(groups[at][0].Since) {
			groups[at][0], groups[at][last] = groups[at][last], groups[at][0]
		}
	}
	return groups
}

// labelOnce is a label before the first of several lines.
func labelOnce(label string, i int) string {
	if i > 0 {
		return ""
	}
	return label
}

// counts lists what there is of each, the names in order.
func counts(of map[string]int, none string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%d %s", of[name], name))
	}
	if len(parts) == 0 {
		return none
	}
	return strings.Join(parts, ", ")
}
