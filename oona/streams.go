package oona

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

// Streams names the Redis stream of each role.
type Streams struct {
	Normal, Emergency, Telemetry, Policy      string
	KernelRequests, KernelReady, KernelErrors string
}

// DefaultStreams returns the names every Esper process uses by default.
func DefaultStreams() Streams {
	return Streams{
		Normal:         "oona.normal",
		Emergency:      "oona.emergency",
		Telemetry:      "oona.telemetry",
		Policy:         "oona.policy",
		KernelRequests: "oona.kernels.requests",
		KernelReady:    "oona.kernels.ready",
		KernelErrors:   "oona.kernels.errors",
	}
}

func (s Streams) withDefaults() Streams {
	d := DefaultStreams()
	s.Normal = cmp.Or(s.Normal, d.Normal)
	s.Emergency = cmp.Or(s.Emergency, d.Emergency)
	s.Telemetry = cmp.Or(s.Telemetry, d.Telemetry)
	s.Policy = cmp.Or(s.Policy, d.Policy)
	s.KernelRequests = cmp.Or(s.KernelRequests, d.KernelRequests)
	s.KernelReady = cmp.Or(s.KernelReady, d.KernelReady)
	s.KernelErrors = cmp.Or(s.KernelErrors, d.KernelErrors)
	return s
}

// Reserved reports a name under which the bus, or a part's records, may keep something else
// than a stream.
func Reserved(name string) bool {
	return strings.HasPrefix(name, "oona:") || strings.HasPrefix(name, "weatherlight:")
}

// Names returns the distinct stream names, in the order of the fields.
func (s Streams) Names() []string {
	var names []string
	for _, name := range []string{s.Normal, s.Emergency, s.Telemetry, s.Policy,
		s.KernelRequests, s.KernelReady, s.KernelErrors} {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// stream returns where messages of type t travel when they are no emergency.
func (s Streams) stream(t leyline.BusMessageType) string {
	switch t {
	case leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY:
		return s.Telemetry
	case leyline.BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE:
		return s.Policy
	case leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST:
		return s.KernelRequests
	case leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY,
		leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_CATALOG_UPDATE:
		return s.KernelReady
	case leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR:
		return s.KernelErrors
	case leyline.BusMessageType_BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL:
		return s.Emergency
	default:
		return s.Normal
	}
}

// validOn returns every type the stream may carry.
func (s Streams) validOn(stream string) map[leyline.BusMessageType]bool {
	valid := make(map[leyline.BusMessageType]bool)
	for number := range leyline.BusMessageType_name {
		if t := leyline.BusMessageType(number); s.carries(stream, t) {
			valid[t] = true
		}
	}
	return valid
}

// carries reports whether type t is valid on the stream. Prototype peers divert
// any type to the emergency stream; a stream outside the table is private to
// its users and carries what they like. Streams configured under one name carry
// the union of their types.
func (s Streams) carries(stream string, t leyline.BusMessageType) bool {
	if leyline.NewMessage(t) == nil {
		return false
	}
	if stream == s.Emergency || !slices.Contains(s.Names(), stream) {
		return true
	}
	return s.stream(t) == stream
}

// Route says where a payload travels: by its type, except that telemetry of
// HIGH or CRITICAL priority goes to the emergency stream. Emergency signals
// carry origin, reason and level as attributes.
func (c *Client) Route(payload proto.Message, priority leyline.MessagePriority) Message {
	t := leyline.TypeOf(payload)
	m := Message{Stream: c.cfg.Streams.stream(t), Payload: payload, Priority: priority}
	if t == leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY && priority >= leyline.MessagePriority_MESSAGE_PRIORITY_HIGH {
		m.Stream = c.cfg.Streams.Emergency
	}
	if signal, ok := payload.(*leyline.EmergencySignal); ok {
		m.Attributes = map[string]string{
			"origin": signal.GetOrigin(),
			"reason": signal.GetReason(),
			"level":  strconv.Itoa(int(signal.GetLevel())),
		}
	}
	return m
}

// addressed fills in where a message travels, unless it says so itself.
func (c *Client) addressed(m Message) Message {
	if m.Stream != "" {
		return m
	}
	routed := c.Route(m.Payload, m.Priority)
	routed.Once = m.Once
	if m.Attributes != nil {
		routed.Attributes = m.Attributes
	}
	return routed
}

// PublishTelemetry publishes telemetry; HIGH and CRITICAL take the emergency
// stream.
func (c *Client) PublishTelemetry(ctx context.Context, m *leyline.TelemetryPacket, priority leyline.MessagePriority) error {
	return c.Publish(ctx, Message{Payload: m, Priority: priority})
}

// PublishKernelPrefetchRequest asks the kernel library for a kernel. A request
// without request_id or issued_at is ErrNotPublishable: every consumer would
// drop it, and nobody would answer.
func (c *Client) PublishKernelPrefetchRequest(ctx context.Context, m *leyline.KernelPrefetchRequest) error {
	if m.GetRequestId() == "" || m.GetIssuedAt() == nil {
		return fmt.Errorf("kernel request without request_id or issued_at: %w", ErrNotPublishable)
	}
	return c.Publish(ctx, Message{Payload: m})
}
