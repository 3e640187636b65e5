package evaluate_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/evaluate"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
	"github.com/esper-lite/weatherlight/telemetry"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

const warning = leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING

func engine(t *testing.T, rule string) *evaluate.Engine {
	t.Helper()
	file, err := rules.Parse([]byte("rules:\n- {name: r, summary: s, severity: info, "+rule+"}"), "")
	if err != nil {
		t.Fatal(err)
	}
	return evaluate.New(file)
}

// after is a packet of some seconds after noon.
func after(seconds int, source string) *telemetry.Packet {
	return telemetry.At(source, "id", noon.Add(time.Duration(seconds)*time.Second))
}

// say is what was found: + holds and - does not, of which subject.
func say(found []evaluate.Finding) string {
	var said []string
	for _, f := range found {
		mark := "-"
		if f.Observation.Holds {
			mark = "+"
		}
		said = append(said, strings.TrimSuffix(fmt.Sprintf("%s%s %v", mark, f.Subject.Source, f.Subject.Labels), " map[]"))
	}
	return strings.Join(said, "; ")
}

func TestWhatRulesLookAt(t *testing.T) {
	tests := map[string]struct {
		rule   string
		packet *telemetry.Packet
		want   string
	}{
		"metric":            {`metric: m, when: value > 1`, after(0, "a").Metric("m", 2, ""), "+a"},
		"metric, not":       {`metric: m, when: value > 1`, after(0, "a").Metric("m", 1, ""), "-a"},
		"another metric":    {`metric: m, when: value > 1`, after(0, "a").Metric("m2", 2, ""), ""},
		"not a number":      {`metric: m, when: value > 1`, after(0, "a").Metric("m", math.NaN(), ""), "-a"},
		"source":            {`metric: m, when: value > 1, sources: [b]`, after(0, "a").Metric("m", 2, ""), ""},
		"label":             {`metric: m, when: value > 1, match: {x: [y, z]}`, after(0, "a").Metric("m", 2, "", "x", "z"), "+a"},
		"another label":     {`metric: m, when: value > 1, match: {x: y}`, after(0, "a").Metric("m", 2, "", "x", "w"), ""},
		"by":                {`metric: m, when: value > 1, by: [run]`, after(0, "a").Metric("m", 2, "", "run", "r", "seed", "s"), "+a map[run:r]"},
		"each point":        {`metric: m, when: value > 1, by: run`, after(0, "a").Metric("m", 2, "", "run", "r").Metric("m", 0, "", "run", "q"), "+a map[run:r]; -a map[run:q]"},
		"instance":          {`metric: m, when: value > 1`, after(0, "a").Metric("m", 2, "").Indicator("instance", "one"), "+a map[instance:one]"},
		"family":            {`metric: m.*, when: value > 1`, after(0, "a").Metric("m.x", 2, "").Metric("m.y", 0, ""), "+a map[metric:x]; -a map[metric:y]"},
		"last of another":   {`metric: m, when: value > last("limit")`, after(0, "a").Metric("m", 2, "").Metric("limit", 1, ""), "+a"},
		"last, of a family": {`metric: m_*, by: [x], when: value > last("limit")`, after(0, "a").Metric("m_b", 2, "", "x", "y").Metric("limit", 1, "", "x", "y"), "+a map[metric:b x:y]"},
		"no last":           {`metric: m, when: value > last("limit")`, after(0, "a").Metric("m", 2, ""), "-a"},
		"absent":            {`metric: m, absent: 1m`, after(0, "a").Metric("m", 2, ""), "-a"},
		"event":             {`event: e, quiet: 1m`, after(0, "a").Event("e", warning), "+a"},
		"event by":          {`event: e, quiet: 1m, by: run`, after(0, "a").Event("e", warning, "run", "r"), "+a map[run:r]"},
		"event of a run":    {`event: e, quiet: 1m, by: training_run_id`, after(0, "a").Event("e", warning).Indicator("training_run_id", "r"), "+a map[training_run_id:r]"},
		"event when":        {`event: e, quiet: 1m, when: level == "warning" && labels.x == "y"`, after(0, "a").Event("e", warning, "x", "y"), "+a"},
		"event, when not":   {`event: e, quiet: 1m, when: level == "info"`, after(0, "a").Event("e", warning), ""},
		"cleared":           {`event: e, clear: f, by: run`, after(0, "a").Event("f", warning, "run", "r"), "-a map[run:r]"},
		"cleared and back":  {`event: e, clear: f`, after(0, "a").Event("f", warning).Event("e", warning), "-a; +a"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := say(engine(t, test.rule).Observe(test.packet.Build(), noon)); got != test.want {
				t.Errorf("%q, wanted %q", got, test.want)
			}
		})
	}
}

func TestConditionsLookBack(t *testing.T) {
	tests := map[string]struct {
		when   string
		values []float64 // one each ten seconds
		want   string
	}{
		"increase":             {`increase("30s") >= 3`, []float64{7, 8, 9, 10, 10, 10, 10}, "---+---"},
		"increase over a zero": {`increase("1m") >= 3`, []float64{7, 8, 0, 2}, "---+"},
		"average":              {`value > 2 * average("1h")`, []float64{1, 1, 1, 9}, "---+"},
		"highest":              {`value < highest("20s")`, []float64{3, 2, 2, 2}, "-+--"},
		"lowest":               {`value > lowest("1m") + 1`, []float64{3, 1, 3}, "--+"},
		"count":                {`count("20s") >= 2`, []float64{1, 1, 1}, "-++"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e, got := engine(t, fmt.Sprintf("metric: m, when: '%s'", test.when)), ""
			for i, value := range test.values {
				packet := after(10*i, "a").Metric("m", value, "").Build()
				got += say(e.Observe(packet, noon.Add(time.Hour)))[:1]
			}
			if got != test.want {
				t.Errorf("%s, wanted %s", got, test.want)
			}
		})
	}
}

// What senders say cannot make the engine remember more than its bounds, nor break a line.
func TestHostilePackets(t *testing.T) {
	e := engine(t, `metric: m, when: increase("1h") > 0, by: [run]`)
	long := strings.Repeat("é", 1<<19)
	packet := after(0, "bad\n\xff"+long).Metric("m", 1, "", "run", "\x00\n"+long).Event(long, warning).Build()
	found := e.Observe(packet, noon)
	if len(found) != 1 {
		t.Fatalf("found %d", len(found))
	}
	for _, text := range []string{found[0].Subject.Source, found[0].Subject.Labels["run"], found[0].Observation.Detail} {
		if len(text) > 512 || !utf8.ValidString(text) || strings.ContainsAny(text, "\n\x00") {
			t.Errorf("%d bytes: %.80q", len(text), text)
		}
	}
	for i := range 100_000 {
		e.Observe(after(i, fmt.Sprint("source ", i)).Metric("m", 1, "").Build(), noon.Add(time.Duration(i)*time.Millisecond))
	}
	if e.Faults() != 0 {
		t.Errorf("%d faults", e.Faults())
	}
}

func BenchmarkObserve(b *testing.B) {
	file, err := rules.Parse(rules.Default(rules.Thresholds{}), "")
	if err != nil {
		b.Fatal(err)
	}
	e := evaluate.New(file)
	packet := after(0, "weatherlight").Metric("oona.dead_letter_total", 1, "").Metric("weatherlight.restarts_total", 1, "")
	for i := range 8 {
		packet.Metric(fmt.Sprint("metric.", i), 1, "")
	}
	built := packet.Build()
	for b.Loop() {
		e.Observe(built, noon)
	}
}
