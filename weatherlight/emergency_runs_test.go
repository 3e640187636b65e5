package weatherlight

import (
	"maps"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/trainer"
)

// An origin that dates nothing raises an emergency, it is lifted, and raised again: the
// second is another one. The bus may bring either twice.
func TestEmergenciesWithoutATimeActOnceEach(t *testing.T) {
	g, _ := hosted(t)
	peer := connect(t, g.BusURL(), "peer")
	raised := listen(t, peer, onEmergency, "peer", leyline.BusMessageType_BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL)
	isHalted := func() bool { return g.view().Kasmina.Emergency == halt.String() }
	lift := func(id string) {
		g.order(id, "", leyline.CommandType_COMMAND_EMERGENCY, func(c *leyline.AdaptationCommand) { c.Annotations["level"] = "0" })
		eventually(t, "the emergency is lifted", func() bool { return !isHalted() })
	}
	for number, id := range []string{"lift-1", "lift-2"} {
		signal := &leyline.EmergencySignal{Version: 1, Level: halt, Reason: "smoke", Origin: "operator", RunId: gardenRun}
		if err := peer.Publish(t.Context(), oona.Message{Payload: signal}); err != nil {
			t.Fatal(err)
		}
		eventually(t, id+": the run is halted", isHalted)
		lift(id)
		eventually(t, id+": the signal is heard", func() bool { return len(raised.deliveries()) == number+1 })
		for _, known := range raised.deliveries() {
			if _, err := g.emergency.Signal(t.Context(), known); err != nil {
				t.Error(err)
			}
		}
		if isHalted() {
			t.Errorf("%s: a signal that comes again acts again", id)
		}
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

// toldEmergencies counts the events of emergencies in packets, by who tells of which run.
func toldEmergencies(packets []*leyline.TelemetryPacket) map[string]int {
	told := make(map[string]int)
	for _, packet := range packets {
		for _, event := range packet.GetEvents() {
			attributes := event.GetAttributes()
			switch event.GetDescription() {
			case "emergency_signal":
				told[attributes["training_run_id"]+" "+attributes["reason"]]++
			case "emergency_signal_received":
				told["service "+attributes["reason"]]++
			}
		}
	}
	return told
}

// Runs do not act on a mild emergency: one for all of them is told of by the service, once,
// and not by every run besides.
func TestMildEmergencyOfTheWholeFleetIsToldOfOnce(t *testing.T) {
	g := newGarden(t, "BP002")
	peer := connect(t, g.BusURL(), "peer")
	report := trainer.Report{TrainerID: "another", Number: 1, HostLayers: []string{"hidden"}, Slots: map[string][]int{"hidden": {4}}}
	packet := &leyline.SystemStatePacket{Version: 1, TrainingRunId: "run-2", PacketId: "run-2", SourceSubsystem: "tolaria"}
	if err := peer.PublishReport(t.Context(), packet, report.Attributes()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both runs are known", func() bool {
		runs, err := g.runs.Runs(t.Context(), "", 10)
		return err == nil && slices.Equal(runs, []string{gardenRun, "run-2"})
	})
	heard := listen(t, peer, onEmergency, "peer", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	for _, signal := range []*leyline.EmergencySignal{
		{Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_ELEVATED, Reason: "drift"},
		{Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_ELEVATED, Reason: "drift in one", RunId: "run-2"},
		{Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE, Reason: "smoke"},
	} {
		signal.Version, signal.Origin = 1, "operator"
		if err := peer.Publish(t.Context(), oona.Message{Payload: signal}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all signals are handled, and all is told", func() bool {
		stats, err := g.bus.Stats(t.Context())
		return err == nil && stats.Streams["emergency"].Backlog == 0 && len(toldEmergencies(heard.packets())) >= 6
	})
	last := telemetry.New("tolaria", "tolaria").Level(critical).Build()
	if err := peer.Publish(t.Context(), oona.Message{Stream: onEmergency, Payload: last}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "whatever was told is heard", func() bool {
		return slices.ContainsFunc(heard.packets(), func(p *leyline.TelemetryPacket) bool { return p.GetPacketId() == last.GetPacketId() })
	})
	want := map[string]int{
		"service drift": 1, "service drift in one": 1, "run-2 drift in one": 1,
		"service smoke": 1, "run-1 smoke": 1, "run-2 smoke": 1,
	}
	if told := toldEmergencies(heard.packets()); !maps.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}
