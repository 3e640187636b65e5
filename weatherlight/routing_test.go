package weatherlight

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/emergency"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
	"github.com/esper-lite/weatherlight/weatherlight/internal/telemetryqueue"
)

const (
	onTelemetry = "oona.telemetry"
	onEmergency = "oona.emergency"

	info     = leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO
	warning  = leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING
	severe   = leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR
	critical = leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL
)

// route is one row of the priority table: what a part sends, and where it must
// be read.
type route struct {
	name   string
	packet *leyline.TelemetryPacket
	stream string
}

func sent(level leyline.TelemetryLevel, indicator string) *leyline.TelemetryPacket {
	packet := telemetry.New("part", "part").Level(level)
	if indicator != "" {
		packet.Indicator(telemetry.PriorityIndicator, indicator)
	}
	return packet.Build()
}

// ensured sends as Kasmina and Tamiyo do: the events give the indicator.
func ensured(event leyline.TelemetryLevel) *leyline.TelemetryPacket {
	priority := telemetry.EventPriority([]*leyline.TelemetryEvent{{Level: info}, {Level: event}})
	return sent(info, priority.String())
}

func routes() []route {
	return []route{
		{"summary", sent(info, ""), onTelemetry},
		{"no level", sent(leyline.TelemetryLevel_TELEMETRY_LEVEL_UNSPECIFIED, ""), onTelemetry},
		{"warning level", sent(warning, ""), onEmergency},
		{"error level", sent(severe, ""), onEmergency},
		{"critical level", sent(critical, ""), onEmergency},
		{"indicator critical", sent(info, "MESSAGE_PRIORITY_CRITICAL"), onEmergency},
		{"indicator high", sent(info, "MESSAGE_PRIORITY_HIGH"), onEmergency},
		{"indicator normal over a warning", sent(warning, "MESSAGE_PRIORITY_NORMAL"), onTelemetry},
		{"indicator low over a critical level", sent(critical, "MESSAGE_PRIORITY_LOW"), onTelemetry},
		{"unspecified indicator", sent(warning, "MESSAGE_PRIORITY_UNSPECIFIED"), onEmergency},
		{"unknown indicator, info", sent(info, "URGENT"), onTelemetry},
		{"unknown indicator, warning", sent(warning, "URGENT"), onEmergency},
		{"critical event", ensured(critical), onEmergency},
		{"warning event", ensured(warning), onEmergency},
		{"error event", ensured(severe), onEmergency},
		{"info event", ensured(info), onTelemetry},
		{"rollback", emergency.RollbackPacket(shmsignal.Trigger{Count: 1}), onEmergency},
	}
}

func TestEachPriorityReachesItsStream(t *testing.T) {
	redis := redistest.Start(t)
	embedded, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(embedded.Close)
	for name, url := range map[string]string{"redis": redis.URL, "embedded": embedded.URL()} {
		t.Run(name, func(t *testing.T) {
			bus := connect(t, url, "peer")
			queue := telemetryqueue.New(telemetryqueue.Config{Publish: bus.Publish})
			rows, want := routes(), map[string]string{}
			for _, row := range rows {
				queue.Offer(row.packet)
				want[row.name] = row.stream
			}
			if err := queue.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, whereRead(t, url, rows)); diff != "" {
				t.Error("streams (-want +got):", diff)
			}
		})
	}
}

// whereRead is the stream, or the streams, on which each row's packet was read.
func whereRead(t *testing.T, url string, rows []route) map[string]string {
	t.Helper()
	names := map[string]string{}
	for _, row := range rows {
		names[row.packet.GetPacketId()] = row.name
	}
	bus := connect(t, url, "nissa")
	heard := map[string]*listener{}
	for _, stream := range []string{onTelemetry, onEmergency} {
		heard[stream] = listen(t, bus, stream, "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	}
	eventually(t, "all packets are read", func() bool {
		return len(heard[onTelemetry].packets())+len(heard[onEmergency].packets()) >= len(rows)
	})
	got := map[string]string{}
	for _, stream := range []string{onTelemetry, onEmergency} {
		for _, packet := range heard[stream].packets() {
			got[names[packet.GetPacketId()]] += stream
		}
	}
	return got
}

// The whole way: a trainer's shared memory, its signal on the bus and a seed's
// packets, each read once by an observer.
func TestObserverReadsEveryPacketOnce(t *testing.T) {
	g := newGarden(t, "BP002")
	observer := connect(t, g.BusURL(), "nissa")
	types := []leyline.BusMessageType{leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY}
	urgent := listen(t, observer, onEmergency, "nissa", types...)
	ordinary := listen(t, observer, onTelemetry, "nissa", types...)
	g.blend("seed-1")
	signal := &leyline.EmergencySignal{
		Level: halt, Reason: "oom", Origin: "tolaria", RunId: "run-1", MonotonicTimeMs: 1000, TriggeredAt: timestamppb.Now(),
	}
	for range 2 {
		if err := observer.Publish(t.Context(), oona.Message{Payload: signal}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the emergency is reported", func() bool { return len(urgent.packets()) > 0 })
	eventually(t, "the seed is told of", func() bool {
		return strings.Contains(textOf(ordinary)+textOf(urgent), "SEED_STAGE_BLENDING")
	})
	seen := map[string]int{}
	for _, packet := range append(urgent.packets(), ordinary.packets()...) {
		if seen[packet.GetPacketId()]++; seen[packet.GetPacketId()] > 1 {
			t.Errorf("%s of %s was read twice", packet.GetPacketId(), packet.GetSourceSubsystem())
		}
	}
	if got := metricsOf(g.summaryPacket(t.Context()))["weatherlight.emergency.detections_total"]; got != 1 {
		t.Errorf("%v detections of one emergency that was sent twice and reported once", got)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

func textOf(l *listener) string {
	var text strings.Builder
	for _, packet := range l.packets() {
		text.WriteString(packet.String())
	}
	return text.String()
}
