package elastic

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

func TestDocumentsHaveTheirIndexAndForm(t *testing.T) {
	at := timestamppb.New(time.Date(2025, 9, 1, 12, 0, 0, 5e8, time.UTC))
	for name, c := range map[string]struct {
		payload     proto.Message
		index, want string
	}{
		"telemetry": {&leyline.TelemetryPacket{
			PacketId: "p", Timestamp: at, SourceSubsystem: "tamiyo", Level: leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING,
			Metrics: []*leyline.MetricPoint{
				{Name: "a.b", Value: 1.5, Unit: "ms", Attributes: map[string]string{"k": "v"}}, {Name: "none", Value: 0},
			},
			Events: []*leyline.TelemetryEvent{{EventId: "e", Description: "bsds_hazard_high", Attributes: map[string]string{"provenance": "KARN"}}},
			SystemHealth: &leyline.SystemHealth{
				Status: leyline.HealthStatus_HEALTH_STATUS_HEALTHY, Summary: "steady", Indicators: map[string]string{"instance": "a"},
			},
		}, "telemetry", `{"packet_id":"p","timestamp":"2025-09-01T12:00:00.500Z","source_subsystem":"tamiyo","level":"TELEMETRY_LEVEL_WARNING",
			"metrics":[{"name":"a.b","value":1.5,"unit":"ms","attributes":{"k":"v"}},{"name":"none","value":0}],
			"events":[{"event_id":"e","description":"bsds_hazard_high","attributes":{"provenance":"KARN"}}],
			"system_health":{"status":"HEALTH_STATUS_HEALTHY","summary":"steady","indicators":{"instance":"a"}}}`},
		"simic": {&leyline.TelemetryPacket{SourceSubsystem: "simic", Metrics: []*leyline.MetricPoint{{Name: "loss", Value: math.NaN()}}},
			"simic_metrics", `{"source_subsystem":"simic","metrics":[{"name":"loss","value":"NaN"}]}`},
		"system_state": {&leyline.SystemStatePacket{
			PacketId: "s", TrainingRunId: "r", CurrentEpoch: 3, TimestampNs: 1700000000123456789, GlobalStep: math.MaxUint64, ValidationLoss: 0.5,
			TrainingMetrics: map[string]float32{"": 1},
		}, "system_state", `{"packet_id":"s","training_run_id":"r","current_epoch":3,"timestamp_ns":"1700000000123456789",
			"global_step":"18446744073709551615","validation_loss":0.5,"training_metrics":{"":1}}`},
		"field_report": {&leyline.FieldReport{ReportId: "f", Outcome: leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS, IssuedAt: at},
			"field_report", `{"report_id":"f","outcome":"FIELD_REPORT_OUTCOME_SUCCESS","issued_at":"2025-09-01T12:00:00.500Z"}`},
		"field_report without outcome": {&leyline.FieldReport{ReportId: "f"}, "field_report", `{"report_id":"f"}`},
		"a command":                    {&leyline.AdaptationCommand{CommandId: "c"}, "", ""},
		"an emergency":                 {&leyline.EmergencySignal{}, "", ""},
	} {
		if index := indexOf(c.payload); index != c.index {
			t.Errorf("%s goes to %q, want %q", name, index, c.index)
		}
		if c.index == "" {
			continue
		}
		items := read(t, c.index, &runs.Message{Payload: c.payload})
		var got, want any
		if err := json.Unmarshal([]byte(items[0].source), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		if items[0].index() != c.index || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s %s\nwant %s", name, items[0].action, items[0].source, c.want)
		}
	}
}

// What is written by hand is what the contract's own JSON is, and a value of 0 beside.
func TestMetricsAreWrittenAsTheContractDoes(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "a.b", `"\\`, "\n\x00\x7f", "\u2028<&>", "\ufffd", "é"}))
	rapid.Check(t, func(rt *rapid.T) {
		packet := &leyline.TelemetryPacket{PacketId: text.Draw(rt, "id"), Level: leyline.TelemetryLevel(rapid.IntRange(0, 9).Draw(rt, "level"))}
		if rapid.Bool().Draw(rt, "more") {
			packet.Spans = []*leyline.TraceSpan{{Name: text.Draw(rt, "span")}}
			packet.Events = []*leyline.TelemetryEvent{{Description: text.Draw(rt, "event")}}
			packet.SystemHealth = &leyline.SystemHealth{Summary: text.Draw(rt, "summary")}
			packet.SourceSubsystem, packet.Timestamp = text.Draw(rt, "source"), timestamppb.New(time.Unix(rapid.Int64Range(0, 1e10).Draw(rt, "at"), 1))
		}
		for range rapid.IntRange(0, 3).Draw(rt, "metrics") {
			packet.Metrics = append(packet.Metrics, &leyline.MetricPoint{
				Name: text.Draw(rt, "name"), Unit: text.Draw(rt, "unit"), Attributes: rapid.MapOf(text, text).Draw(rt, "attributes"),
				Value: rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, math.NaN(), math.Inf(1), math.Inf(-1)})).Draw(rt, "value"),
			})
		}
		source, err := sourceOf(packet)
		if err != nil {
			rt.Fatal(err)
		}
		theirs, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(packet)
		if err != nil {
			rt.Fatal(err)
		}
		var got, want map[string]any
		if err := errors.Join(json.Unmarshal(source, &got), json.Unmarshal(theirs, &want)); err != nil {
			rt.Fatalf("%v: %s", err, source)
		}
		metrics, _ := want["metrics"].([]any)
		for _, metric := range metrics {
			if values := metric.(map[string]any); values["value"] == nil {
				values["value"] = 0.0
			}
		}
		if !reflect.DeepEqual(got, want) || strings.Contains(string(source), "\n") {
			rt.Fatalf("%s\nwant %s", source, theirs)
		}
	})
}

// read makes a document and reads it back as the spool does.
func read(t *testing.T, index string, m *runs.Message) []item {
	t.Helper()
	lines, err := linesOf(index, m)
	if err != nil {
		t.Fatal(err)
	}
	items, damaged := itemsOf(lines)
	if len(items) != 1 || damaged != 0 || bodyOf(items) != string(lines) {
		t.Fatalf("%d documents and %d damaged of %q", len(items), damaged, lines)
	}
	return items
}

func TestN11AnIdIsThatOfTheMessage(t *testing.T) {
	packet := func(source, id string) *leyline.TelemetryPacket {
		return &leyline.TelemetryPacket{SourceSubsystem: source, PacketId: id}
	}
	action := func(m runs.Message) string { return read(t, indexOf(m.Payload), &m)[0].action }
	first := action(runs.Message{Stream: "oona.telemetry", Entry: "1-1", Payload: packet("tamiyo", "p")})
	for name, c := range map[string]struct {
		message runs.Message
		same    bool
	}{
		"the same packet on another stream": {runs.Message{Stream: "oona.emergency", Entry: "2-1", Payload: packet("tamiyo", "p")}, true},
		"another packet":                    {runs.Message{Stream: "oona.telemetry", Entry: "1-1", Payload: packet("tamiyo", "q")}, false},
		"one of another source":             {runs.Message{Stream: "oona.telemetry", Entry: "1-1", Payload: packet("kasmina", "p")}, false},
		"one without a name":                {runs.Message{Stream: "oona.telemetry", Entry: "1-1", Payload: packet("tamiyo", "")}, false},
	} {
		if got := action(c.message); (got == first) != c.same {
			t.Errorf("%s: %s, and the first is %s", name, got, first)
		}
	}
	unnamed := runs.Message{Stream: "oona.telemetry", Entry: "1-1", Payload: packet("tamiyo", "")}
	other := unnamed
	other.Entry = "1-2"
	again := unnamed
	if action(unnamed) != action(again) || action(unnamed) == action(other) {
		t.Error("a message without a name is not its entry")
	}
}

func TestHostileMessagesAreOneDocumentEach(t *testing.T) {
	long := strings.Repeat("x\n\"", 1<<20/3)
	for name, payload := range map[string]proto.Message{
		"1 MB": &leyline.TelemetryPacket{PacketId: long, SourceSubsystem: long, Metrics: []*leyline.MetricPoint{{Name: long, Attributes: map[string]string{long: long}}}},
		"action": &leyline.TelemetryPacket{PacketId: "\n" + actionBegin + `x"}}` + "\n",
			Events: []*leyline.TelemetryEvent{{Description: "\r\n\u2028\x00" + actionBegin}}},
		"many": &leyline.TelemetryPacket{Metrics: make100k()},
	} {
		items := read(t, telemetryIndex, &runs.Message{Payload: payload})
		if len(items[0].action) > 200 {
			t.Errorf("%s: the line of the action has %d bytes", name, len(items[0].action))
		}
	}
	if _, err := linesOf(telemetryIndex, &runs.Message{Payload: &leyline.TelemetryPacket{Timestamp: &timestamppb.Timestamp{Seconds: math.MaxInt64}}}); err == nil {
		t.Error("a time that no calendar has became a document")
	}
}

func make100k() (points []*leyline.MetricPoint) {
	for range 100_000 {
		points = append(points, &leyline.MetricPoint{})
	}
	return points
}

const (
	lineA = actionBegin + `telemetry","_id":"a"}}` + "\n" + `{"a":1}` + "\n"
	lineB = actionBegin + `telemetry","_id":"b"}}` + "\n" + `{"b":1}` + "\n"
)

func TestWhatIsDamagedInASpoolIsLeftOut(t *testing.T) {
	for name, c := range map[string]struct {
		text           string
		whole, damaged int
	}{
		"nothing":            {"", 0, 0},
		"two":                {lineA + lineB, 2, 0},
		"torn action":        {lineA + lineB[:10], 1, 1},
		"torn after action":  {lineA + strings.SplitAfter(lineB, "\n")[0], 1, 1},
		"torn source":        {lineA + lineB[:len(lineB)-3], 1, 1},
		"without its end":    {lineA + lineB[:len(lineB)-1], 1, 1},
		"no bytes":           {lineA + strings.Repeat("\x00", 100), 1, 1},
		"no bytes before":    {strings.Repeat("\x00", 100) + "\n" + lineB, 1, 1},
		"action, no source":  {strings.SplitAfter(lineA, "\n")[0] + lineB, 1, 1},
		"source, no action":  {`{"a":1}` + "\n" + `{"a":1}` + "\n" + lineB, 1, 1},
		"source is no JSON":  {strings.SplitAfter(lineA, "\n")[0] + "{\n" + lineB, 1, 1},
		"nothing but a line": {"\n", 0, 1},
	} {
		if items, damaged := itemsOf([]byte(c.text)); len(items) != c.whole || damaged != c.damaged {
			t.Errorf("%s: %d whole, %d damaged", name, len(items), damaged)
		}
	}
}

func FuzzSpoolFile(f *testing.F) {
	f.Add([]byte(lineA + lineB))
	f.Add([]byte(lineA + "\x00\n" + lineB[:12]))
	f.Fuzz(func(t *testing.T, text []byte) {
		items, damaged := itemsOf(text)
		again, none := itemsOf([]byte(bodyOf(items)))
		if len(again) != len(items) || none != 0 || len(items)+damaged > 1+strings.Count(string(text), "\n") {
			t.Errorf("%d items, %d damaged; read again %d and %d", len(items), damaged, len(again), none)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"items":[{"create":{"status":201}},{"create":{"status":429,"error":{"type":"x"}}}]}`))
	f.Add(400, []byte(`{"error":{"type":"illegal_argument_exception"}}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		items, _ := itemsOf([]byte(lineA + lineB))
		v, err := judge(items, status, body)
		if err == nil && v.taken+len(v.refused)+len(v.again) != len(items) {
			t.Errorf("%d documents have %+v", len(items), v)
		}
	})
}
