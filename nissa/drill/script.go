package drill

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/evaluate"
	"github.com/esper-lite/weatherlight/nissa/internal/objectives"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
	"github.com/esper-lite/weatherlight/telemetry"
)

// script is what is put on the bus to raise a rule, and to clear it. One packet raises it: what is
// in one is looked at in order, and packets that Nissa takes up together are not.
type script struct {
	name      string
	mark      string // the instance that its packets come from, so that their alerts can be told apart
	receivers []string
	raise     *leyline.TelemetryPacket
	clear     func(now time.Time) []*leyline.TelemetryPacket
	outage    bool   // it is raised by a bus that is gone
	refusal   bool   // it is raised by a receiver that refuses
	fault     string // why it cannot be raised
}

// past is how long ago the packets were made that raise a rule, so that those that clear it come
// after every window.
const past = 7 * time.Hour

// play is what a rule is raised with.
type play struct {
	rule  *rules.Rule
	mark  string
	level leyline.TelemetryLevel
	lasts float64 // the last values that the condition asks for
}

func (p play) packet(id int, at time.Time) *telemetry.Packet {
	source := "drill"
	if len(p.rule.Sources) > 0 {
		source = p.rule.Sources[0]
	}
	return telemetry.At(source, fmt.Sprintf("%s-%d-%d", p.mark, id, at.UnixNano()), at).Indicator("instance", p.mark)
}

func (p play) pairs() (pairs []string) {
	for name, texts := range p.rule.Match {
		pairs = append(pairs, name, texts[0])
	}
	for _, name := range p.rule.By {
		if len(p.rule.Match[name]) == 0 {
			pairs = append(pairs, name, p.mark) // what clears one rule is to clear no other
		}
	}
	return pairs
}

// points is a packet with values of the rule's metric.
func (p play) points(id int, at time.Time, values ...float64) *leyline.TelemetryPacket {
	name := p.rule.Metric
	if prefix, is := p.rule.Family(); is {
		name = prefix + "drill"
	}
	packet := p.packet(id, at)
	for _, value := range values {
		packet.Metric(name, value, "", p.pairs()...)
	}
	if p.rule.When != nil {
		for _, other := range p.rule.When.Metrics() {
			packet.Metric(other, p.lasts, "", p.pairs()...)
		}
	}
	return packet.Build()
}

// events is a packet with an event so many times, of the kind that raises the rule or of one that
// clears it.
func (p play) events(id int, at time.Time, name string, times int) *leyline.TelemetryPacket {
	packet := p.packet(id, at)
	for range times {
		packet.Event(name, p.level, p.pairs()...)
	}
	return packet.Build()
}

// scriptOf finds packets that raise a rule: its conditions are asked until some hold.
func scriptOf(rule *rules.Rule, now time.Time) script {
	s := script{name: rule.Name, mark: "drill-" + rule.Name, receivers: rule.Receivers}
	p := play{rule: rule, mark: s.mark}
	switch {
	case rule.Metric == "nissa.bus.up":
		s.mark, s.outage = "", true
	case rule.Metric == "nissa.notifications.failed_in_a_row":
		s.mark, s.refusal = "", true
	case rule.Event != "":
		s.fault = p.solveEvent(&s, now)
	case rule.Absent > 0:
		s.raise = p.points(0, now, 1)
		s.clear = func(now time.Time) []*leyline.TelemetryPacket { return []*leyline.TelemetryPacket{p.points(1, now, 1)} }
	default:
		s.fault = p.solveMetric(&s, now)
	}
	return s
}

var levels = []leyline.TelemetryLevel{
	leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING, leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL,
	leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR, leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO,
}

func (p play) solveEvent(s *script, now time.Time) (fault string) {
	for _, p.level = range levels {
		s.raise = p.events(0, now, p.rule.Event, p.rule.Count)
		if !p.holds(now, s.raise) {
			continue
		}
		if len(p.rule.Clear) > 0 {
			s.clear = func(now time.Time) []*leyline.TelemetryPacket {
				return []*leyline.TelemetryPacket{p.events(1, now, p.rule.Clear[0], 1)}
			}
		}
		return ""
	}
	return "no event was found for which its condition holds"
}

// holds says that the rule holds as often in a row as it must by the end of some packets.
func (p play) holds(now time.Time, packets ...*leyline.TelemetryPacket) bool {
	engine := evaluate.New(&rules.File{Rules: []rules.Rule{*p.rule}})
	streak := 0
	for _, packet := range packets {
		for _, found := range engine.Observe(packet, now) {
			if streak++; !found.Observation.Holds {
				streak = 0
			}
		}
	}
	return streak >= p.rule.Count
}

// attempts are series of values that conditions may hold for: a level, a counter that rises, and
// a value that leaves its usual range.
func attempts(count int) (series [][]float64) {
	levels := []float64{1, 0, -1, 1e9, -1e9, 0.5, 2, 5, 10, 50, 100, 1000}
	for _, level := range levels {
		series = append(series, slices.Repeat([]float64{level}, count))
	}
	rising := []float64{0}
	for i := range count {
		rising = append(rising, float64(i+1)*1e9)
	}
	for _, usual := range []float64{20, 1, 0} {
		leaves := append(slices.Repeat([]float64{usual}, 30), slices.Repeat([]float64{1e9}, count)...)
		falls := append(slices.Repeat([]float64{usual}, 30), slices.Repeat([]float64{-1e9}, count)...)
		series = append(series, leaves, falls)
	}
	return append(series, rising)
}

func (p play) solveMetric(s *script, now time.Time) (fault string) {
	for _, p.lasts = range []float64{0, 1e9, -1e9, 1} {
		for _, values := range attempts(p.rule.Count) {
			s.raise = p.points(0, now.Add(-past), values...)
			if !p.holds(now, s.raise) {
				continue
			}
			if s.clear = p.clearing(s.raise, values[len(values)-1], now); s.clear != nil {
				return ""
			}
		}
	}
	return "no values were found that raise and clear it"
}

// clearing finds a value that ends what a packet raises.
func (p play) clearing(raise *leyline.TelemetryPacket, last float64, now time.Time) func(time.Time) []*leyline.TelemetryPacket {
	for _, value := range []float64{last, 0, 1, -1e9, 1e9, 20, 5, 0.5, 100} {
		one := play{rule: &rules.Rule{}, mark: p.mark, lasts: p.lasts}
		*one.rule = *p.rule
		one.rule.Count = 1 // does the last observation hold?
		if !one.holds(now, raise, p.points(1, now, value)) {
			return func(now time.Time) []*leyline.TelemetryPacket {
				return []*leyline.TelemetryPacket{p.points(1, now, value)}
			}
		}
	}
	return nil
}

// enough is how many good ones follow the bad ones, so that a budget burns no more.
const enough = 1e9

// ofObjective burns a budget, and lets it burn no more.
func ofObjective(o *rules.Objective, now time.Time) script {
	s := script{name: o.Name, receivers: o.Receivers}
	p := play{rule: &rules.Rule{Metric: o.Metric, Sources: o.Sources}, mark: "drill-" + o.Name}
	if o.Metric == "" {
		s.raise = p.counts(0, now, o, objectives.Count{}, objectives.Count{Total: 100, Bad: 100})
		s.clear = func(now time.Time) []*leyline.TelemetryPacket {
			return []*leyline.TelemetryPacket{p.counts(1, now, o, objectives.Count{Total: enough, Bad: 100})}
		}
		return s
	}
	good, bad, found := judged(o)
	if !found {
		s.fault = "no values were found that are good and bad"
		return s
	}
	const few, most = 5, 1000 // bad ones, and points of a packet
	s.raise = p.points(0, now, slices.Repeat([]float64{bad}, few)...)
	s.clear = func(now time.Time) (packets []*leyline.TelemetryPacket) {
		for left := int(2*few/(1-o.Target)) + 1; left > 0; left -= most {
			packets = append(packets, p.points(len(packets)+1, now, slices.Repeat([]float64{good}, min(left, most))...))
		}
		return packets
	}
	return s
}

// counts is a packet with counters, one count after the other.
func (p play) counts(id int, at time.Time, o *rules.Objective, counts ...objectives.Count) *leyline.TelemetryPacket {
	packet := p.packet(id, at)
	for _, c := range counts {
		for _, name := range o.Total {
			if !slices.Contains(o.Bad, name) {
				packet.Metric(name, c.Total, "")
			}
		}
		for _, name := range o.Bad {
			packet.Metric(name, c.Bad, "")
		}
	}
	return packet.Build()
}

// judged finds a value that an objective takes for good, and one that it takes for bad.
func judged(o *rules.Objective) (good, bad float64, found bool) {
	good, bad = math.NaN(), math.NaN()
	none := func(string) float64 { return 0 }
	for _, value := range []float64{0, 1, -1, 0.5, 10, 100, 1000, 1e9, -1e9} {
		holds, err := o.Good.Holds(rules.Env{
			Name: o.Metric, Value: value, Labels: map[string]string{}, Last: none, Count: none, Increase: none,
			Average: none, Highest: none, Lowest: none,
		})
		switch {
		case err != nil:
		case holds:
			good = value
		default:
			bad = value
		}
	}
	return good, bad, !math.IsNaN(good) && !math.IsNaN(bad)
}
