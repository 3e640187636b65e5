package control

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

const (
	// eventOperation tells that a command for a seed was taken: a germination, a cull, a promotion.
	eventOperation = "seed_operation"
	// eventAdopted tells that a seed was found in its trainer's model, in which stage.
	eventAdopted = "seed_adopted"
	// eventStage tells which stage a seed is in and, when it moved there, where from and why.
	eventStage = "seed_stage"
)

// logEvents repeats what a decision on a run tells at WARNING or above, what becomes of a seed by
// command, and each move of a seed: telemetry is for whoever collects it, the log for everybody.
func (r *Room) logEvents(ctx context.Context, run string, packets []*leyline.TelemetryPacket) {
	for _, packet := range packets {
		for _, event := range packet.GetEvents() {
			level := logLevel(event.GetLevel())
			switch told := event.GetDescription(); {
			case told == eventStage:
				if event.GetAttributes()["from"] != "" {
					r.config.Logger.LogAttrs(ctx, slog.LevelInfo, "seed moved", attributesOfMove(run, event.GetAttributes())...)
				}
				continue
			case level < slog.LevelWarn && told != eventOperation && told != eventAdopted:
				continue
			}
			if level >= slog.LevelWarn && !r.said.first(run, event, time.Now()) {
				continue
			}
			r.config.Logger.LogAttrs(ctx, level, event.GetDescription(), slog.String("run", run), attributesOf(event))
		}
	}
}

// attributesOfMove are those of the line that tells of a move.
func attributesOfMove(run string, told map[string]string) []slog.Attr {
	stage := func(name string) string { return strings.TrimPrefix(told[name], "SEED_STAGE_") }
	attributes := []slog.Attr{slog.String("run", run), slog.String("seed", told["seed_id"]), slog.String("slot", told["slot"]),
		slog.String("from", stage("from")), slog.String("to", stage("stage"))}
	for _, name := range []string{"gate", "reason"} {
		if told[name] != "" {
			attributes = append(attributes, slog.String(name, strings.TrimPrefix(told[name], "SEED_GATE_")))
		}
	}
	return attributes
}

func logLevel(level leyline.TelemetryLevel) slog.Level {
	switch level {
	case leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING:
		return slog.LevelWarn
	case leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR, leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// attributesOf is a group: an event has a level of its own.
func attributesOf(event *leyline.TelemetryEvent) slog.Attr {
	var attributes []slog.Attr
	for _, name := range slices.Sorted(maps.Keys(event.GetAttributes())) {
		if name != "training_run_id" {
			attributes = append(attributes, slog.String(name, event.GetAttributes()[name]))
		}
	}
	return slog.GroupAttrs("event", attributes...)
}

const (
	// sayAgain is how long an event of a run is not logged again that comes with every
	// report.
	sayAgain = time.Minute
	// maxSaid bounds the events that are remembered for that.
	maxSaid = 4096
)

// said remembers what was logged of late.
type said struct {
	mu sync.Mutex
	at map[saying]time.Time
}

type saying struct{ run, event, seed, reason string }

// first says that an event was not logged within the time.
func (s *said) first(run string, event *leyline.TelemetryEvent, now time.Time) bool {
	attributes := event.GetAttributes()
	key := saying{run, event.GetDescription(), attributes["seed_id"], attributes["reason"]}
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, known := s.at[key]; known && now.Sub(at) < sayAgain {
		return false
	}
	if s.at == nil || len(s.at) >= maxSaid {
		s.at = make(map[saying]time.Time)
	}
	s.at[key] = now
	return true
}
