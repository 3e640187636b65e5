package bounds_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/internal/bounds"
)

func points(n int) []*leyline.MetricPoint {
	points := make([]*leyline.MetricPoint, n)
	for i := range points {
		points[i] = &leyline.MetricPoint{}
	}
	return points
}

// packet is the state of a run with seeds, of so many figures each.
func packet(seeds, figures int) *leyline.SystemStatePacket {
	packet := &leyline.SystemStatePacket{TrainingRunId: "run"}
	for range seeds {
		seed := &leyline.SeedState{Metrics: make(map[string]float32, figures)}
		for i := range figures {
			seed.Metrics[fmt.Sprint("figure_", i)] = float32(i)
		}
		packet.SeedStates = append(packet.SeedStates, seed)
	}
	return packet
}

func attributes(n int) map[string]string {
	attributes := make(map[string]string, n)
	for i := range n {
		attributes[fmt.Sprint(i)] = ""
	}
	return attributes
}

func nested(depth int) *structpb.Struct {
	value := structpb.NewStringValue("")
	for range depth {
		value = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{value}})
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{"": value, "pad": structpb.NewStringValue(strings.Repeat("x", 600))}}
}

// An id that is taken is remembered, be it of 200 kB.
func TestR37PayloadsHaveBounds(t *testing.T) {
	t.Parallel()
	text := func(n int) string { return strings.Repeat("x", n) }
	for name, c := range map[string]struct {
		message proto.Message
		within  bool
	}{
		"empty":                          {&leyline.KernelPrefetchRequest{}, true},
		"id at the bound":                {&leyline.KernelPrefetchRequest{RequestId: text(512), BlueprintId: text(512)}, true},
		"id beyond it":                   {&leyline.KernelPrefetchRequest{RequestId: text(513)}, false},
		"id of the prototype's attack":   {&leyline.KernelPrefetchRequest{RequestId: text(200_000)}, false},
		"prose":                          {&leyline.FieldReport{ReportId: "r", Notes: text(8 << 10)}, true},
		"prose beyond its bound":         {&leyline.FieldReport{ReportId: "r", Notes: text(8<<10 + 1)}, false},
		"value of an attribute":          {&leyline.AdaptationCommand{Annotations: map[string]string{"mesh": text(64 << 10)}}, true},
		"value beyond its bound":         {&leyline.AdaptationCommand{Annotations: map[string]string{"mesh": text(64<<10 + 1)}}, false},
		"key of a map":                   {&leyline.SystemStatePacket{TrainingMetrics: map[string]float32{text(513): 1}}, false},
		"key of a map in a list":         {&leyline.SystemStatePacket{SeedStates: []*leyline.SeedState{{Metrics: map[string]float32{text(513): 1}}}}, false},
		"elements":                       {&leyline.TelemetryPacket{Metrics: points(8192)}, true},
		"elements beyond their bound":    {&leyline.TelemetryPacket{Metrics: points(8193)}, false},
		"elements of many lists":         {&leyline.TelemetryPacket{Metrics: points(4096), SystemHealth: &leyline.SystemHealth{Indicators: attributes(4097)}}, false},
		"elements of small messages":     {packet(630, 12), true},
		"too many of small messages":     {packet(640, 12), false},
		"bytes are no text":              {&leyline.PolicyUpdate{Payload: make([]byte, 200_000)}, true},
		"messages in each other":         {&leyline.AdaptationCommand{Payload: &leyline.AdaptationCommand_RollbackPayload{RollbackPayload: nested(10)}}, true},
		"too many of them in each other": {&leyline.AdaptationCommand{Payload: &leyline.AdaptationCommand_RollbackPayload{RollbackPayload: nested(40)}}, false},
	} {
		raw, err := proto.Marshal(c.message)
		if err != nil {
			t.Fatal(err)
		}
		err = bounds.Payload(leyline.TypeOf(c.message), raw)
		if (err == nil) != c.within || err != nil && !errors.Is(err, bounds.ErrExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), text(100)) {
			t.Errorf("%s: the error repeats the text", name)
		}
	}
}

// What no reader decodes is not looked at: a later release may know its kind.
func TestR37UnknownKindsPass(t *testing.T) {
	t.Parallel()
	raw, err := proto.Marshal(&leyline.BusEnvelope{Attributes: map[string]string{strings.Repeat("x", 513): ""}})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []leyline.BusMessageType{-1, 0, 99} {
		if err := bounds.Payload(kind, raw); err != nil {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
}

func TestR37EnvelopesHaveBounds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		envelope *leyline.BusEnvelope
		within   bool
	}{
		"payload is not looked at": {&leyline.BusEnvelope{MessageType: 1, Payload: make([]byte, 200_000)}, true},
		"attribute":                {&leyline.BusEnvelope{Attributes: map[string]string{"grafts": strings.Repeat("x", 60_000)}}, true},
		"attribute beyond":         {&leyline.BusEnvelope{Attributes: map[string]string{"grafts": strings.Repeat("x", 70_000)}}, false},
		"name beyond":              {&leyline.BusEnvelope{Attributes: map[string]string{strings.Repeat("x", 513): ""}}, false},
		"attributes beyond":        {&leyline.BusEnvelope{Attributes: attributes(9000)}, false},
	} {
		raw, err := proto.Marshal(c.envelope)
		if err != nil {
			t.Fatal(err)
		}
		if err := bounds.Envelope(raw); (err == nil) != c.within {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is malformed is the decoder's to refuse.
func FuzzBounds(f *testing.F) {
	f.Add(int32(1), []byte("\x0a\xff"))
	f.Add(int32(2), append([]byte("\x6a\xff\x7f"), make([]byte, 600)...))
	f.Fuzz(func(_ *testing.T, kind int32, raw []byte) {
		_ = bounds.Payload(leyline.BusMessageType(kind), raw)
		_ = bounds.Envelope(raw)
	})
}

func BenchmarkPayload(b *testing.B) {
	raw, err := proto.Marshal(packet(4, 15))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := bounds.Payload(leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE, raw); err != nil {
			b.Fatal(err)
		}
	}
}
