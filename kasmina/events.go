package kasmina

import (
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/gate"
	"github.com/esper-lite/weatherlight/leyline"
)

// Telemetry levels by short names.
const (
	levelInfo     = leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO
	levelWarning  = leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING
	levelError    = leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR
	levelCritical = leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL
)

// maxPendingEvents bounds the events of one packet.
const maxPendingEvents = 64

// eventList holds events until their packet is built. Past its bound it drops
// the oldest and counts them.
type eventList struct {
	events  []*leyline.TelemetryEvent
	dropped int
}

func (l *eventList) add(description string, level leyline.TelemetryLevel, pairs ...string) {
	if len(l.events) >= maxPendingEvents {
		l.events = l.events[1:]
		l.dropped++
	}
	l.events = append(l.events, &leyline.TelemetryEvent{
		Description: description, Level: level, Attributes: pairsToMap(pairs),
	})
}

// take empties the list. When events were lost a marker with their number comes
// first.
func (l *eventList) take(marker string, pairs ...string) (events []*leyline.TelemetryEvent, dropped int) {
	events, dropped = l.events, l.dropped
	*l = eventList{}
	if dropped > 0 {
		pairs = append(pairs, "dropped", strconv.Itoa(dropped))
		lost := &leyline.TelemetryEvent{Description: marker, Level: levelWarning, Attributes: pairsToMap(pairs)}
		events = append([]*leyline.TelemetryEvent{lost}, events...)
	}
	return events, dropped
}

func (l *eventList) empty() bool { return len(l.events) == 0 }

// pairsToMap leaves out attributes without a text.
func pairsToMap(pairs []string) map[string]string {
	attributes := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			attributes[pairs[i]] = pairs[i+1]
		}
	}
	return attributes
}

// seedEvent keeps an event for a seed's next packet.
func (st *step) seedEvent(s *seed, description string, level leyline.TelemetryLevel, pairs ...string) {
	if st.seedEvents == nil {
		st.seedEvents = make(map[string]*eventList)
	}
	list := st.seedEvents[s.ID]
	if list == nil {
		list = new(eventList)
		st.seedEvents[s.ID] = list
	}
	list.add(description, level, append([]string{"seed_id", s.ID}, pairs...)...)
	st.changed = true
}

// event keeps an event for the packet of what belongs to no seed.
func (st *step) event(description string, level leyline.TelemetryLevel, pairs ...string) {
	st.global.add(description, level, pairs...)
	st.changed = true
}

// noteGate keeps a gate's result for a seed's next packet.
func (st *step) noteGate(s *seed, result gate.Result) {
	level, pairs := gateEvent(result)
	st.seedEvent(s, "gate_event", level, pairs...)
	s.Gate = lastGate{Gate: result.Gate, Reason: result.Reason}
	st.d.Stats.Gates = append(st.d.Stats.Gates, result)
}

func gateEvent(result gate.Result) (leyline.TelemetryLevel, []string) {
	level, outcome := levelWarning, "false"
	if result.Passed {
		level, outcome = levelInfo, "true"
	}
	pairs := []string{"gate", result.Gate.String(), "passed", outcome, "reason", result.Reason}
	return level, append(pairs, result.Attributes...)
}

func hundredths(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }

func number(n int) string { return strconv.Itoa(n) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
