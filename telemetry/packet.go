// Package telemetry is how a part tells of itself. A [Packet] builds a Leyline telemetry
// packet, and [EventPriority] is the one rule that gives it its priority on the bus. A
// [Figure] declares a series together with what it comes to now; a [Series] is what is
// declared, for tables and help texts. Every part that measures something calls it, and so
// do those that show the figures of others.
package telemetry

import (
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
)

// Event prepares an event for [Packet.Events] or [Packet.WithEvents]. The pairs are names
// and texts of its attributes.
func Event(description string, level leyline.TelemetryLevel, pairs ...string) *leyline.TelemetryEvent {
	return &leyline.TelemetryEvent{Description: description, Level: level, Attributes: attributes(pairs)}
}

// Packet collects the parts of one telemetry packet. Its methods return the
// packet itself so that calls chain. It belongs to one goroutine.
type Packet struct {
	packet *leyline.TelemetryPacket
}

// New starts a packet from source with the identifier "<idPrefix>-<uuid4>",
// level INFO and health HEALTHY.
func New(source, idPrefix string) *Packet {
	return &Packet{packet: &leyline.TelemetryPacket{
		PacketId:        idPrefix + "-" + uuid.NewString(),
		SourceSubsystem: source,
		Level:           leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO,
		SystemHealth:    &leyline.SystemHealth{Status: leyline.HealthStatus_HEALTH_STATUS_HEALTHY},
	}}
}

// At starts a packet of a given identifier and time, for one that is the same
// whenever it is made again. Level and health are as [New] sets them.
func At(source, id string, at time.Time) *Packet {
	return &Packet{packet: &leyline.TelemetryPacket{
		PacketId:        id,
		SourceSubsystem: source,
		Timestamp:       timestamppb.New(at),
		Level:           leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO,
		SystemHealth:    &leyline.SystemHealth{Status: leyline.HealthStatus_HEALTH_STATUS_HEALTHY},
	}}
}

// WithID replaces the packet's identifier.
func (p *Packet) WithID(id string) *Packet {
	p.packet.PacketId = id
	return p
}

// About replaces the random part of the identifier by one that the parts make, so that
// what several tell of one thing is one packet to whoever counts packets by identifier.
func (p *Packet) About(parts ...string) *Packet {
	prefix := p.packet.GetPacketId()[:len(p.packet.GetPacketId())-len(uuid.Nil.String())]
	p.packet.PacketId = prefix + uuid.NewSHA1(uuid.NameSpaceOID, []byte(strings.Join(parts, "\x00"))).String()
	return p
}

// Level sets the packet's level.
func (p *Packet) Level(level leyline.TelemetryLevel) *Packet {
	p.packet.Level = level
	return p
}

// Metric adds a metric point. An empty unit is left out. The pairs are names
// and texts of its attributes.
func (p *Packet) Metric(name string, value float64, unit string, pairs ...string) *Packet {
	p.packet.Metrics = append(p.packet.Metrics, &leyline.MetricPoint{
		Name: name, Value: value, Unit: unit, Attributes: attributes(pairs),
	})
	return p
}

// Figures adds the points of figures.
func (p *Packet) Figures(figures ...Figure) *Packet { return p.Metrics(MetricPoints(figures)...) }

// Metrics adds prepared metric points.
func (p *Packet) Metrics(points ...*leyline.MetricPoint) *Packet {
	p.packet.Metrics = append(p.packet.Metrics, points...)
	return p
}

// Event adds an event. Events are numbered evt-1, evt-2 and so on. The pairs
// are names and texts of its attributes.
func (p *Packet) Event(description string, level leyline.TelemetryLevel, pairs ...string) *Packet {
	return p.Events(Event(description, level, pairs...))
}

// Events adds prepared events and numbers them.
func (p *Packet) Events(events ...*leyline.TelemetryEvent) *Packet {
	for _, event := range events {
		event.EventId = "evt-" + strconv.Itoa(len(p.packet.Events)+1)
		if event.Level == leyline.TelemetryLevel_TELEMETRY_LEVEL_UNSPECIFIED {
			event.Level = leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO
		}
		p.packet.Events = append(p.packet.Events, event)
	}
	return p
}

// WithEvents adds prepared events, and lets them alone decide the packet's priority.
func (p *Packet) WithEvents(events ...*leyline.TelemetryEvent) *Packet {
	return p.Events(events...).Indicator(PriorityIndicator, EventPriority(events).String())
}

// Health sets the health block's status and summary.
func (p *Packet) Health(status leyline.HealthStatus, summary string) *Packet {
	p.packet.SystemHealth.Status = status
	p.packet.SystemHealth.Summary = summary
	return p
}

// Indicator sets one indicator of the health block.
func (p *Packet) Indicator(name, text string) *Packet {
	if p.packet.SystemHealth.Indicators == nil {
		p.packet.SystemHealth.Indicators = make(map[string]string)
	}
	p.packet.SystemHealth.Indicators[name] = text
	return p
}

// Build stamps a packet of [New] with the current time and returns it. The
// builder must not be used afterwards.
func (p *Packet) Build() *leyline.TelemetryPacket {
	if p.packet.Timestamp == nil {
		p.packet.Timestamp = timestamppb.Now()
	}
	return p.packet
}

func attributes(pairs []string) map[string]string {
	if len(pairs) < 2 {
		return nil
	}
	named := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		named[pairs[i]] = pairs[i+1]
	}
	return named
}
