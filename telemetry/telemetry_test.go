package telemetry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

const (
	info     = leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO
	warning  = leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING
	failed   = leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR
	critical = leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL
)

func TestPacketHasThePrototypesForm(t *testing.T) {
	t.Parallel()
	packet := telemetry.New("urza", "urza").
		WithID("packet-1").
		Level(warning).
		Metric("urza.prefetch.hits", 3, "count").
		Metric("kasmina.seed.alpha", 0.5, "", "seed_id", "seed-1").
		Event("seed_stage", info, "stage", "SEED_STAGE_TRAINING").
		Event("no_level", leyline.TelemetryLevel_TELEMETRY_LEVEL_UNSPECIFIED).
		Health(leyline.HealthStatus_HEALTH_STATUS_DEGRADED, "backoff").
		Indicator("priority", "MESSAGE_PRIORITY_HIGH").
		Build()
	want := &leyline.TelemetryPacket{
		PacketId: "packet-1", SourceSubsystem: "urza", Level: warning,
		Metrics: []*leyline.MetricPoint{
			{Name: "urza.prefetch.hits", Value: 3, Unit: "count"},
			{Name: "kasmina.seed.alpha", Value: 0.5, Attributes: map[string]string{"seed_id": "seed-1"}},
		},
		Events: []*leyline.TelemetryEvent{
			{EventId: "evt-1", Description: "seed_stage", Level: info, Attributes: map[string]string{"stage": "SEED_STAGE_TRAINING"}},
			{EventId: "evt-2", Description: "no_level", Level: info},
		},
		SystemHealth: &leyline.SystemHealth{
			Status: leyline.HealthStatus_HEALTH_STATUS_DEGRADED, Summary: "backoff",
			Indicators: map[string]string{"priority": "MESSAGE_PRIORITY_HIGH"},
		},
	}
	if age := time.Since(packet.GetTimestamp().AsTime()); age < 0 || age > time.Minute {
		t.Errorf("timestamp is %v old", age)
	}
	packet.Timestamp = nil
	if diff := cmp.Diff(want, packet, protocmp.Transform()); diff != "" {
		t.Errorf("packet (-want +got):\n%s", diff)
	}
}

func TestPacketIdentifiersAreUnique(t *testing.T) {
	t.Parallel()
	first, second := telemetry.New("s", "weatherlight").Build(), telemetry.New("s", "weatherlight").Build()
	if first.GetPacketId() == second.GetPacketId() {
		t.Errorf("both packets are %s", first.GetPacketId())
	}
	if !strings.HasPrefix(first.GetPacketId(), "weatherlight-") || len(first.GetPacketId()) != len("weatherlight-")+36 {
		t.Errorf("packet id %q is not weatherlight-<uuid4>", first.GetPacketId())
	}
	if first.GetSystemHealth().GetStatus() != leyline.HealthStatus_HEALTH_STATUS_HEALTHY {
		t.Errorf("a packet is healthy unless said otherwise, got %v", first.GetSystemHealth().GetStatus())
	}
}

func TestOnePriorityRule(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		indicator string
		level     leyline.TelemetryLevel
		want      leyline.MessagePriority
	}{
		"indicator low wins over level":       {"MESSAGE_PRIORITY_LOW", critical, leyline.MessagePriority_MESSAGE_PRIORITY_LOW},
		"indicator normal wins over level":    {"MESSAGE_PRIORITY_NORMAL", warning, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL},
		"indicator high":                      {"MESSAGE_PRIORITY_HIGH", info, leyline.MessagePriority_MESSAGE_PRIORITY_HIGH},
		"indicator critical":                  {"MESSAGE_PRIORITY_CRITICAL", info, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL},
		"unspecified indicator is no opinion": {"MESSAGE_PRIORITY_UNSPECIFIED", failed, leyline.MessagePriority_MESSAGE_PRIORITY_HIGH},
		"unknown indicator is no opinion":     {"urgent!", warning, leyline.MessagePriority_MESSAGE_PRIORITY_HIGH},
		"critical level":                      {"", critical, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL},
		"error level":                         {"", failed, leyline.MessagePriority_MESSAGE_PRIORITY_HIGH},
		"warning level":                       {"", warning, leyline.MessagePriority_MESSAGE_PRIORITY_HIGH},
		"info level":                          {"", info, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL},
		"no level":                            {"", leyline.TelemetryLevel_TELEMETRY_LEVEL_UNSPECIFIED, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			packet := telemetry.New("s", "s").Level(test.level)
			if test.indicator != "" {
				packet.Indicator(telemetry.PriorityIndicator, test.indicator)
			}
			if got := telemetry.Priority(packet.Build()); got != test.want {
				t.Errorf("Priority = %v, want %v", got, test.want)
			}
		})
	}
}

func TestEventPriorityIsTheHighest(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		levels []leyline.TelemetryLevel
		want   leyline.MessagePriority
	}{
		"no events":             {nil, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL},
		"info":                  {[]leyline.TelemetryLevel{info, info}, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL},
		"warning":               {[]leyline.TelemetryLevel{info, warning}, leyline.MessagePriority_MESSAGE_PRIORITY_HIGH},
		"critical before error": {[]leyline.TelemetryLevel{critical, failed}, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			packet := telemetry.New("s", "s")
			for _, level := range test.levels {
				packet.Event("event", level)
			}
			if got := telemetry.EventPriority(packet.Build().GetEvents()); got != test.want {
				t.Errorf("EventPriority = %v, want %v", got, test.want)
			}
		})
	}
}

func TestPacketOfAGivenTimeIsTheSameWheneverItIsMade(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 5)
	packet := telemetry.At("tamiyo", "packet-1", at).Build()
	if packet.GetPacketId() != "packet-1" || packet.GetSourceSubsystem() != "tamiyo" ||
		packet.GetLevel() != info || !packet.GetTimestamp().AsTime().Equal(at) {
		t.Errorf("packet %v", packet)
	}
}

func TestPacketWithEventsIsAsUrgentAsTheyAre(t *testing.T) {
	warning := telemetry.Event("spike", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING, "run", "r1")
	packet := telemetry.New("tamiyo", "p").Level(leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL).WithEvents(warning).Build()
	if got := telemetry.Priority(packet); got != leyline.MessagePriority_MESSAGE_PRIORITY_HIGH {
		t.Errorf("priority %v, want that of its event", got)
	}
	if event := packet.GetEvents()[0]; event.GetEventId() != "evt-1" || event.GetAttributes()["run"] != "r1" {
		t.Errorf("event %v", event)
	}
}
