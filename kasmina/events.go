package kasmina

import (
	"maps"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// Telemetry levels by short names.
const (
	levelInfo     = leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO
	levelWarning  = leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING
	levelError    = leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR
	levelCritical = leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL
)

// maxPendingEvents bounds what waits for the next packet.
const maxPendingEvents = 64

// eventQueue holds events until their packet is built. Past its bound it drops
// the oldest and counts them for good.
type eventQueue struct {
	events  []*leyline.TelemetryEvent
	keyed   map[string]*leyline.TelemetryEvent
	dropped int64
	told    int64 // drops that a packet has told of
}

func (q *eventQueue) add(description string, level leyline.TelemetryLevel, pairs ...string) *leyline.TelemetryEvent {
	if len(q.events) >= maxPendingEvents {
		q.dropOldest()
	}
	event := &leyline.TelemetryEvent{Description: description, Level: level, Attributes: pairsToMap(pairs)}
	q.events = append(q.events, event)
	return event
}

func (q *eventQueue) dropOldest() {
	oldest := q.events[0]
	maps.DeleteFunc(q.keyed, func(_ string, event *leyline.TelemetryEvent) bool { return event == oldest })
	q.events = q.events[1:]
	q.dropped++
}

// addCounted adds one event for a key and counts repetitions in it, so that a
// flood of the same refusal fills one slot.
func (q *eventQueue) addCounted(
	key, description string, level leyline.TelemetryLevel, pairs ...string,
) {
	if event, ok := q.keyed[key]; ok {
		count, _ := strconv.Atoi(event.Attributes["count"])
		event.Attributes["count"] = strconv.Itoa(max(count, 1) + 1)
		return
	}
	if q.keyed == nil {
		q.keyed = make(map[string]*leyline.TelemetryEvent)
	}
	q.keyed[key] = q.add(description, level, pairs...)
}

// take empties the queue. When events were lost since the last time, a marker
// with the total comes first.
func (q *eventQueue) take(marker string, pairs ...string) []*leyline.TelemetryEvent {
	events := q.events
	q.events, q.keyed = nil, nil
	if q.dropped > q.told {
		q.told = q.dropped
		pairs = append(pairs, "dropped", strconv.FormatInt(q.dropped, 10))
		lost := &leyline.TelemetryEvent{Description: marker, Level: levelWarning, Attributes: pairsToMap(pairs)}
		events = append([]*leyline.TelemetryEvent{lost}, events...)
	}
	return events
}

func (q *eventQueue) empty() bool { return len(q.events) == 0 && q.dropped == q.told }

// urgent reports that a CRITICAL event waits.
func (q *eventQueue) urgent() bool {
	for _, event := range q.events {
		if event.Level == levelCritical {
			return true
		}
	}
	return false
}

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

func number(n int) string { return strconv.Itoa(n) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func decimalMS(d time.Duration) string { return strconv.FormatFloat(milliseconds(d), 'f', 2, 64) }
