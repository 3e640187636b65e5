package runs

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestAlarmIsRaisedOnceForAsLongAsItIsToldOf(t *testing.T) {
	summary := func(seconds int) Message {
		return message(seconds, &leyline.TelemetryPacket{SourceSubsystem: "weatherlight", PacketId: fmt.Sprint(seconds),
			SystemHealth: &leyline.SystemHealth{Status: leyline.HealthStatus_HEALTH_STATUS_DEGRADED, Summary: "lag"},
			Metrics:      []*leyline.MetricPoint{{Name: "weatherlight.tasks.running", Value: float64(seconds)}},
			Events:       []*leyline.TelemetryEvent{event("alarm", "alarm", "lag", "subject", "oona.normal", "severity", "warning", "since", "1.5")}})
	}
	b := tell(summary(0), summary(10), summary(20), summary(200))
	a := b.Alarms[AlarmKey{"lag", "oona.normal"}]
	if a == nil || a.Severity != "warning" || !a.Raised(at(210)) || a.Raised(at(400)) || !a.Since.Equal(time.UnixMilli(1500)) {
		t.Errorf("%+v", a)
	}
	if len(b.Events) != 2 || b.Events[1].Kind != KindAlarm || !b.Events[1].At.Equal(at(200)) {
		t.Errorf("%+v", b.Events)
	}
	s := b.Sources["weatherlight"]
	if s.Packets != 4 || s.Health != "degraded" || s.Figures[0].Value != 200 {
		t.Errorf("%+v", s)
	}
}

// Two services of one bus are two sources, each with its own figures.
func TestEachInstanceIsASourceOfItsOwn(t *testing.T) {
	var told []Message
	for second, instance := range []string{"first", "second", "first"} {
		told = append(told, message(second, &leyline.TelemetryPacket{SourceSubsystem: "weatherlight", PacketId: fmt.Sprint(second),
			SystemHealth: &leyline.SystemHealth{Indicators: map[string]string{"instance": instance}},
			Metrics:      []*leyline.MetricPoint{{Name: "weatherlight.tasks.running", Value: float64(second)}}}))
	}
	b := tell(told...)
	first, second := b.Sources["weatherlight/first"], b.Sources["weatherlight/second"]
	if len(b.Sources) != 2 || first.Packets != 2 || first.Figures[0].Value != 2 || second.Packets != 1 || second.Figures[0].Value != 1 {
		t.Errorf("%+v, %+v of %d", first, second, len(b.Sources))
	}
}

// What an alarm says of its beginning is believed where that can be.
func TestAlarmBeganWhenThatCanBe(t *testing.T) {
	for since, want := range map[string]time.Time{
		"1.5": time.UnixMilli(1500), fmt.Sprint(at(30).Unix()): at(30), "": {}, "soon": {}, "1e300": {}, "-1e300": {}, "NaN": {}, "Inf": {}, "0": {},
		"-1": {}, fmt.Sprint(at(3600).Unix()): {},
	} {
		b := tell(message(0, &leyline.TelemetryPacket{SourceSubsystem: "weatherlight",
			Events: []*leyline.TelemetryEvent{event("alarm", "alarm", "lag", "since", since)}}))
		a := b.Alarms[AlarmKey{Name: "lag"}]
		if _, err := json.Marshal(a); err != nil || !a.Since.Equal(want) {
			t.Errorf("since %q: %s, %v", since, a.Since, err)
		}
	}
}

// Figures are those of the newest packet about no run, whatever else the source tells of.
func TestFiguresAreOfTheNewestPacketAboutNoRun(t *testing.T) {
	told := func(seconds int) Message {
		return message(seconds, &leyline.TelemetryPacket{SourceSubsystem: "kasmina", PacketId: fmt.Sprint(seconds),
			Metrics: []*leyline.MetricPoint{{Name: "m", Value: float64(seconds)}}, Timestamp: timestamppb.New(at(seconds))})
	}
	late := told(5)
	late.At = at(20)
	b := tell(told(1), packetOf("r", "", 10), late)
	if s := b.Sources["kasmina"]; s.Figures[0].Value != 5 || !s.FiguresAt.Equal(at(5)) || !s.LastAt.Equal(at(10)) || s.Packets != 3 {
		t.Errorf("%+v", s)
	}
}
