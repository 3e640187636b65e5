package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// dashboard is one of those that are shipped, as far as it asks for something.
type dashboard struct {
	Title  string
	Panels []struct {
		Title   string
		Targets []struct{ Expr string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func dashboards(t *testing.T) (all []dashboard) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "infra", "observability", "grafana", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil || len(d.Panels) == 0 {
			t.Fatalf("%s: %v, %d panels", file, err, len(d.Panels))
		}
		all = append(all, d)
	}
	return all
}

// labelValues is how a variable asks for the values that a label has.
var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// asked is an expression as Grafana asks it, with every value of every variable.
func (d dashboard) asked(expression string) string {
	for _, variable := range d.Templating.List {
		expression = strings.ReplaceAll(expression, "$"+variable.Name, ".*")
	}
	return strings.ReplaceAll(expression, "$__rate_interval", "20s")
}

// measured says whether an expression has a value now, and one that can be drawn.
func (m monitors) measured(t *testing.T, expression string) bool {
	t.Helper()
	code, body, err := get(m.prometheus, "/api/v1/query?query="+url.QueryEscape(expression))
	if err != nil {
		return false // it is not up yet
	}
	var answer struct {
		Error string
		Data  struct{ Result []struct{ Value [2]any } }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != http.StatusOK {
		t.Fatalf("%s: %d %v %s", expression, code, err, tail(body))
	}
	for _, series := range answer.Data.Result {
		text, _ := series.Value[1].(string)
		if value, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(value) && !math.IsInf(value, 0) {
			return true
		}
	}
	return false
}

// TestDashboardsShowARunThatGrows asks a Prometheus that scrapes as operators have it for all that the shipped
// dashboards show, while a run grows, and something goes wrong.
func TestDashboardsShowARunThatGrows(t *testing.T) {
	begin(t)
	w := newWorld(t)
	addr := w.watched()
	w.bootForged()
	m := w.monitor(addr)
	run := w.trainer("shown-1")
	run.await(growth, fossilized)
	eventually(t, "it is scraped how many dead letters there are", patience, func() bool { return m.measured(t, "oona_dead_letter_total") })
	unsigned := envelope(typeState, stringField(nil, 13, "forged-1"))
	w.bus.do(addCommand(streamNormal, unsigned, sign("another secret of somebody", unsigned))...)

	panels, empty := m.look(t)
	for deadline := time.Now().Add(patience); len(empty) > 0 && time.Now().Before(deadline); panels, empty = m.look(t) {
		<-time.After(500 * time.Millisecond) // they are scraped once a second
	}
	for _, name := range empty {
		t.Errorf("there is nothing to be seen: %s", name)
	}
	fmt.Printf("RESULT dashboards panels=%d empty=%d\n", panels, len(empty))
}

// look counts the panels, and names those of which a query has no value, and variables without one.
func (m monitors) look(t *testing.T) (panels int, empty []string) {
	t.Helper()
	for _, d := range dashboards(t) {
		for _, variable := range d.Templating.List {
			parts := labelValues.FindStringSubmatch(variable.Definition)
			if parts == nil || !m.measured(t, fmt.Sprintf("count by (%s) (%s)", parts[2], parts[1])) {
				empty = append(empty, d.Title+": $"+variable.Name)
			}
		}
		for _, panel := range d.Panels {
			panels++
			for _, target := range panel.Targets {
				if !m.measured(t, d.asked(target.Expr)) {
					empty = append(empty, d.Title+": "+panel.Title+": "+target.Expr)
				}
			}
		}
	}
	return panels, empty
}
