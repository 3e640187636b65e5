package nissa

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/setback"
)

// Reasons why a metric point is not shown.
const (
	dropLimit    = "series_limit"
	dropSource   = "source_limit"
	dropShare    = "displaced"
	dropReserved = "reserved_name"
	dropInvalid  = "invalid_name"
)

const (
	// sweepPause is the pause between two searches for series that make room.
	sweepPause = time.Second
	// shares is how many sources can be sure of as large a part of the series each, and
	// displacedPart the part of all that makes room at once.
	shares        = 16
	displacedPart = 32
)

// pointHelp is the HELP of series that come from metric points of which nobody said what they
// mean: those of one name must not differ in it.
const pointHelp = "Last value of the Esper telemetry metric."

// lastValue is what was said last.
type lastValue struct {
	value   float64
	said    time.Time // by the sender's clock
	heard   time.Time // by ours
	changed bool      // since others were told of it
}

// set takes what is said, unless it is late. It says whether it did.
func (v *lastValue) set(value float64, said, heard time.Time) bool {
	if setback.Late(said, heard, v.said, v.heard) {
		return false
	}
	*v = lastValue{value, said, heard, true}
	return true
}

// series is the last value of a metric under one set of labels.
type series struct {
	lastValue

	source string
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	labels []*dto.LabelPair // in the order of their names
}

// shownFlag is a gauge without labels of what was said last.
type shownFlag struct {
	lastValue

	gauge *prometheus.GaugeVec
}

func (f *shownFlag) set(value float64, said, heard time.Time) {
	if f.lastValue.set(value, said, heard) {
		f.gauge.WithLabelValues().Set(value)
	}
}

// seriesTable holds the series that come from metric points. It is a Prometheus
// collector of series that are not known in advance.
type seriesTable struct {
	limits   Limits
	features []string            // that are shown; empty: all
	own      map[string]struct{} // names it must not take
	drops    *prometheus.CounterVec
	flags    map[string]*shownFlag // by the name of the series
	help     map[string]string     // likewise, of those that are known

	mu        sync.Mutex
	table     map[string]*series
	swept     time.Time // when stale series were last looked for
	displaced time.Time // when others last made room
	bySource  map[string]*sourceSeries
	heard     int   // sources, of all times
	round     int64 // up to which what others told of series is here; 0: they are told everything
}

// sourceSeries is how many series a source has, and which it is in the order in which they were
// heard of.
type sourceSeries struct{ number, series int }

func newSeriesTable(c Config, drops *prometheus.CounterVec, flags map[string]*shownFlag) *seriesTable {
	help := map[string]string{}
	for _, row := range c.Points {
		help[row.Name] = row.Help()
	}
	return &seriesTable{
		limits: c.Limits.withDefaults(), features: c.Features, own: map[string]struct{}{}, drops: drops, flags: flags, help: help,
		table: map[string]*series{}, bySource: map[string]*sourceSeries{},
	}
}

// record takes a packet's metric points. A point that was said before the one
// shown does not replace it: packets may overtake each other.
func (t *seriesTable) record(packet *leyline.TelemetryPacket, now time.Time) {
	indicators := packet.GetSystemHealth().GetIndicators()
	if indicators[metricsIndicator] == exposed {
		return
	}
	said := saidAt(packet, now)
	t.mu.Lock()
	defer t.mu.Unlock()
	sender := indicators[senderIndicator]
	for _, point := range packet.GetMetrics() {
		if feature, is := featureOf(point.GetName()); is && len(t.features) > 0 && !slices.Contains(t.features, feature) {
			continue
		}
		name, labels := seriesOf(packet.GetSourceSubsystem(), sender, point.GetName(), point.GetAttributes())
		name, value := inBase(name, point.GetUnit(), point.GetValue())
		if reason := t.set(name, labels, value, said, now); reason != "" {
			t.drops.WithLabelValues(reason).Inc()
		}
	}
}

// flag takes what a packet says of one.
func (t *seriesTable) flag(name string, value float64, said, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flags[name].set(value, said, now)
}

// saidAt is when a packet was made, as exact as the others are told.
func saidAt(packet *leyline.TelemetryPacket, now time.Time) time.Time {
	if stamp := packet.GetTimestamp(); stamp.IsValid() && stamp.AsTime().Before(now) {
		return stamp.AsTime().Truncate(time.Microsecond)
	}
	return now.Round(0).Truncate(time.Microsecond)
}

// set returns why the value is not shown, or empty.
func (t *seriesTable) set(name string, labels []label, value float64, said, now time.Time) string {
	if name == "" {
		return dropInvalid
	}
	if reserved(name, t.own) {
		return dropReserved
	}
	key := seriesKey(name, labels)
	s, known := t.table[key]
	if !known {
		source := labels[0].value
		if reason := t.room(source, now); reason != "" {
			return reason
		}
		if s = newSeries(name, cmp.Or(t.help[name], pointHelp), labels); s == nil {
			return dropInvalid
		}
		t.add(key, s)
	}
	s.set(value, said, now)
	return ""
}

func (t *seriesTable) add(key string, s *series) {
	t.table[key] = s
	of := t.bySource[s.source]
	if of == nil {
		of = &sourceSeries{number: t.heard}
		t.bySource[s.source] = of
		t.heard++
	}
	of.series++
}

func (t *seriesTable) remove(key string) {
	source := t.table[key].source
	delete(t.table, key)
	if of := t.bySource[source]; of.series > 1 {
		of.series--
	} else {
		delete(t.bySource, source)
	}
}

// of is what a source has; one that is not known comes last.
func (t *seriesTable) of(source string) sourceSeries {
	if of := t.bySource[source]; of != nil {
		return *of
	}
	return sourceSeries{number: t.heard}
}

// room returns why there is none for one more series of a source, or empty. A flood of names must
// not look at every series for each.
func (t *seriesTable) room(source string, now time.Time) string {
	if reason := t.full(source); reason == "" {
		return ""
	}
	if now.Sub(t.swept) >= sweepPause {
		t.expire(now)
	}
	if t.full(source) == dropLimit && now.Sub(t.displaced) >= sweepPause {
		t.displaced = now
		t.displace(t.quotas(t.of(source)))
	}
	return t.full(source)
}

func (t *seriesTable) full(source string) string {
	switch {
	case t.of(source).series >= t.limits.SeriesOfSource:
		return dropSource
	case len(t.table) >= t.limits.Series:
		return dropLimit
	default:
		return ""
	}
}

// quotas are how many series others give up for a source that has less than its share: what is more
// than theirs, the largest first, and then sources that were heard of later all that they have, the
// latest first. So a flood of sources takes nothing from who was there before it.
func (t *seriesTable) quotas(asks sourceSeries) map[string]int {
	share, wanted := max(t.limits.Series/shares, 1), max(t.limits.Series/displacedPart, 1)
	if asks.series >= share {
		return nil
	}
	excess := func(name string) int { return max(t.bySource[name].series-share, 0) }
	others := slices.SortedFunc(maps.Keys(t.bySource), func(a, b string) int {
		return cmp.Or(excess(b)-excess(a), t.bySource[b].number-t.bySource[a].number)
	})
	quotas := map[string]int{}
	for _, name := range others {
		spare := excess(name)
		if of := t.bySource[name]; spare == 0 && of.number > asks.number {
			spare = of.series
		}
		if spare = min(spare, wanted); spare > 0 {
			quotas[name] = spare
			wanted -= spare
		}
	}
	return quotas
}

// displace gives up series, of each source those that were not heard of for the longest.
func (t *seriesTable) displace(quotas map[string]int) {
	if len(quotas) == 0 {
		return
	}
	keys := map[string][]string{}
	for key, s := range t.table {
		if quotas[s.source] > 0 {
			keys[s.source] = append(keys[s.source], key)
		}
	}
	for source, of := range keys {
		slices.SortFunc(of, func(a, b string) int { return t.table[a].heard.Compare(t.table[b].heard) })
		for _, key := range of[:min(quotas[source], len(of))] {
			t.remove(key)
			t.drops.WithLabelValues(dropShare).Inc()
		}
	}
}

func (t *seriesTable) expire(now time.Time) {
	t.swept = now
	for key, s := range t.table {
		if now.Sub(s.heard) > t.limits.SeriesTTL {
			t.remove(key)
		}
	}
}

// newSeries copies the texts: each may be the beginning of a longer one, which would be
// kept with it. The first label is the source. It is nil when it cannot be shown.
func newSeries(name, help string, labels []label) *series {
	names, values := make([]string, len(labels)), make([]string, len(labels))
	for i, l := range labels {
		names[i], values[i] = strings.Clone(l.name), strings.Clone(l.value)
	}
	desc := prometheus.NewDesc(strings.Clone(name), help, names, nil)
	metric, err := prometheus.NewConstMetric(desc, kindOf(name), 0, values...)
	if err != nil {
		return nil
	}
	var written dto.Metric
	if err := metric.Write(&written); err != nil {
		return nil
	}
	return &series{source: values[0], desc: desc, kind: kindOf(name), labels: written.GetLabel()}
}

func seriesKey(name string, labels []label) string {
	var key strings.Builder
	key.WriteString(name)
	for _, l := range labels {
		key.WriteString("\x00" + l.name + "\x00" + l.value)
	}
	return key.String()
}

// Describe sends nothing: which series there are depends on who speaks.
func (t *seriesTable) Describe(chan<- *prometheus.Desc) {}

// Collect sends the series that are not stale.
func (t *seriesTable) Collect(metrics chan<- prometheus.Metric) {
	for _, metric := range t.current(time.Now()) {
		metrics <- metric
	}
}

// current does not hold the lock while a slow scrape reads.
func (t *seriesTable) current(now time.Time) []prometheus.Metric {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	metrics := make([]prometheus.Metric, 0, len(t.table))
	for _, s := range t.table {
		metrics = append(metrics, &shown{s.desc, s.kind, s.value, s.labels})
	}
	return metrics
}

// shown is a series at the moment of a scrape. Its labels were made once: they are most of the work.
type shown struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	value  float64
	labels []*dto.LabelPair
}

func (s *shown) Desc() *prometheus.Desc { return s.desc }

func (s *shown) Write(out *dto.Metric) error {
	out.Label = s.labels
	if s.kind == prometheus.CounterValue {
		out.Counter = &dto.Counter{Value: &s.value}
	} else {
		out.Gauge = &dto.Gauge{Value: &s.value}
	}
	return nil
}

func (t *seriesTable) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.table)
}
