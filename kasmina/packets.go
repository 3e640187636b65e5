package kasmina

import (
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/kasmina/internal/evidence"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/trainer"
)

const source = "kasmina"

// emit builds a seed's packet with the events that wait for it. Every packet
// tells the stage and the share, by which an observer follows the seed; one about a
// move has besides where the seed came from and why.
func (st *step) emit(s *seed, moved ...string) {
	pairs := append([]string{
		"seed_id", s.ID, "stage", s.Stage.String(), "alpha", strconv.FormatFloat(s.share(), 'f', 4, 64),
	}, moved...)
	events := []*leyline.TelemetryEvent{{Description: "seed_stage", Level: levelInfo, Attributes: pairsToMap(pairs)}}
	if s.Blend.Mode != "" {
		events = append(events, blendEvent(s))
	}
	if list := st.seedEvents[s.ID]; list != nil {
		waiting, dropped := list.take("seed_queue_dropped", "seed_id", s.ID)
		events = append(events, waiting...)
		st.d.Stats.Dropped += dropped
	}
	status, summary := st.seedHealth(s)
	packet := st.packet(st.packetID("seed-"+s.ID), events)
	packet.SystemHealth.Status, packet.SystemHealth.Summary = status, summary
	packet.SystemHealth.Indicators["seed_id"] = s.ID
	if s.Blueprint != "" {
		packet.SystemHealth.Indicators["blueprint_id"] = s.Blueprint
	}
	packet.Metrics = append(packet.Metrics, telemetry.MetricPoints(seedFigures(st.r.Run, s, st.evidenceOf(s)))...)
	st.d.Packets = append(st.d.Packets, packet)
}

// flush builds the packets of all events that wait.
func (st *step) flush() {
	for _, s := range st.r.Seeds {
		if list := st.seedEvents[s.ID]; list != nil && !list.empty() {
			st.emit(s)
		}
	}
	if st.leaks > 0 {
		st.global.add("isolation_violations", levelWarning, "violations", number(st.r.Violations))
	}
	if !st.global.empty() {
		st.d.Packets = append(st.d.Packets, st.globalPacket(st.packetID("global")))
	}
}

func (st *step) globalPacket(id string) *leyline.TelemetryPacket {
	events, dropped := st.global.take("queue_dropped")
	st.d.Stats.Dropped += dropped
	status, summary := leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "nominal"
	for _, s := range st.r.Seeds {
		if worse, why := st.seedHealth(s); worse > status {
			status, summary = worse, why
		}
	}
	packet := st.packet(id, events)
	packet.SystemHealth.Status, packet.SystemHealth.Summary = status, summary
	packet.SystemHealth.Indicators["seeds"] = number(len(st.r.Seeds))
	return packet
}

// packet starts a packet with the run's metrics. Its priority follows from all
// of its events.
func (st *step) packet(id string, events []*leyline.TelemetryEvent) *leyline.TelemetryPacket {
	for i, event := range events {
		event.EventId = "evt-" + strconv.Itoa(i+1)
	}
	indicators := map[string]string{
		telemetry.PriorityIndicator: telemetry.EventPriority(events).String(),
		"step_index":                st.index,
	}
	if st.r.Run != "" {
		indicators["training_run_id"] = st.r.Run
	}
	if st.r.Emergency.Level >= pausingLevel {
		indicators["emergency"], indicators["emergency_reason"] = st.r.Emergency.Level.String(), st.r.Emergency.Reason
	}
	return &leyline.TelemetryPacket{
		PacketId: id, SourceSubsystem: source, Level: levelInfo, Timestamp: timestamppb.New(st.at),
		Events: events, Metrics: telemetry.MetricPoints(runFigures(st.r, st.warmMS, st.backMS)),
		SystemHealth: &leyline.SystemHealth{
			Status: leyline.HealthStatus_HEALTH_STATUS_HEALTHY, Indicators: indicators,
		},
	}
}

func blendEvent(s *seed) *leyline.TelemetryEvent {
	pairs := []string{"seed_id", s.ID, "mode", string(s.Blend.Mode), "source", s.Blend.Source}
	if n := len(s.Blend.Channels); n > 0 {
		pairs = append(pairs, "alpha_vec_len", number(n))
	}
	return &leyline.TelemetryEvent{Description: "blend_config", Level: levelInfo, Attributes: pairsToMap(pairs)}
}

// packetID names the run's next packet. It is unlike those of all other runs: what
// was published under it once is not published again.
func (st *step) packetID(of string) string {
	return fmt.Sprintf("kasmina-%s-%s-%d", of, shortDigest([]byte(st.r.Run)), st.nextNumber())
}

// nextNumber is one that the run has not used before.
func (st *step) nextNumber() int64 {
	st.r.Packets++
	st.changed = true
	return st.r.Packets
}

func (st *step) seedHealth(s *seed) (leyline.HealthStatus, string) {
	switch {
	case s.Isolation.Failures > 0:
		return leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY, "violations"
	case s.Kernel.LatencyMS != nil && *s.Kernel.LatencyMS > milliseconds(kernelBudget):
		return leyline.HealthStatus_HEALTH_STATUS_DEGRADED, "latency_high"
	default:
		return leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "nominal"
	}
}

// evidenceOf is what was measured of a seed last: in the report at hand, when
// its stage has none yet.
func (st *step) evidenceOf(s *seed) *evidence.Figures {
	if e := st.entries[s.ID]; e != nil && s.Progress.Last == nil {
		return e.seen
	}
	return s.Progress.Latest()
}

func flag(set bool) float32 {
	if set {
		return 1
	}
	return 0
}

// emitAll tells of every seed once an interval.
func (st *step) emitAll() {
	interval := st.config.TelemetryInterval
	if interval < 0 || st.now.since(st.r.Told) < interval {
		return
	}
	st.r.Told = st.now
	for _, s := range slices.Clone(st.r.Seeds) {
		st.emit(s)
	}
}

// Kinds of orders that take a seed to a stage.
func kindTo(stage leyline.SeedLifecycleStage) trainer.Kind {
	switch stage {
	case lifecycle.Training:
		return trainer.Attach
	case lifecycle.Blending:
		return trainer.BlendIn
	case lifecycle.Shadowing:
		return trainer.Hold
	case lifecycle.Probationary:
		return trainer.Judge
	case lifecycle.Fossilized:
		return trainer.Keep
	default:
		return ""
	}
}
