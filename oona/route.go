package oona

import (
	"context"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

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

func (c *Client) publishRouted(ctx context.Context, payload proto.Message) error {
	return c.Publish(ctx, c.Route(payload, leyline.MessagePriority_MESSAGE_PRIORITY_UNSPECIFIED))
}

// PublishFieldReport publishes the outcome of a command.
func (c *Client) PublishFieldReport(ctx context.Context, m *leyline.FieldReport) error {
	return c.publishRouted(ctx, m)
}

// PublishTelemetry publishes telemetry; HIGH and CRITICAL take the emergency
// stream.
func (c *Client) PublishTelemetry(ctx context.Context, m *leyline.TelemetryPacket,
	priority leyline.MessagePriority) error {
	return c.Publish(ctx, c.Route(m, priority))
}

// PublishKernelPrefetchRequest asks the kernel library for a kernel. A request
// without request_id or issued_at is ErrNotPublishable: every consumer would
// drop it, and nobody would answer.
func (c *Client) PublishKernelPrefetchRequest(ctx context.Context, m *leyline.KernelPrefetchRequest) error {
	if m.GetRequestId() == "" || m.GetIssuedAt() == nil {
		return fmt.Errorf("kernel request without request_id or issued_at: %w", ErrNotPublishable)
	}
	return c.publishRouted(ctx, m)
}
