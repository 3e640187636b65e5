package kasmina

import (
	"slices"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// stage is a seed's stage, UNKNOWN when it is not in the record.
func (w *world) stage(seedID string) leyline.SeedLifecycleStage {
	for _, state := range States(w.record) {
		if state.GetSeedId() == seedID {
			return state.GetStage()
		}
	}
	return lifecycle.Unknown
}

func (w *world) wantStage(seedID string, want leyline.SeedLifecycleStage) {
	w.t.Helper()
	if got := w.stage(seedID); got != want {
		w.t.Fatalf("seed %s is in %s, want %s", seedID, got, want)
	}
}

func (w *world) wantGrafted(seedIDs ...string) {
	w.t.Helper()
	var grafted []string
	for _, s := range w.trainer.seeds {
		grafted = append(grafted, s.id)
	}
	if !slices.Equal(grafted, seedIDs) {
		w.t.Errorf("grafted are %v, want %v", grafted, seedIDs)
	}
}

// kinds are the orders since the last look, as kind:seed.
func (w *world) kinds() []string {
	var kinds []string
	for _, order := range w.orders {
		kinds = append(kinds, string(order.Kind)+":"+order.Seed)
	}
	return kinds
}

// emitted takes the packets emitted so far.
func (w *world) emitted() []*leyline.TelemetryPacket {
	packets := w.packets
	w.packets = nil
	return packets
}

// events are all events of some packets with a description.
func events(packets []*leyline.TelemetryPacket, description string) []*leyline.TelemetryEvent {
	var found []*leyline.TelemetryEvent
	for _, packet := range packets {
		for _, event := range packet.GetEvents() {
			if event.GetDescription() == description {
				found = append(found, event)
			}
		}
	}
	return found
}

// told is the last event of a description, with its attributes.
func (w *world) told(description string) (*leyline.TelemetryEvent, map[string]string) {
	w.t.Helper()
	found := events(w.packets, description)
	if len(found) == 0 {
		w.t.Fatalf("no event %s", description)
	}
	last := found[len(found)-1]
	return last, last.GetAttributes()
}

// wantTold checks the reason that the last event of a description gives.
func (w *world) wantTold(description, reason string) {
	w.t.Helper()
	if _, attributes := w.told(description); attributes["reason"] != reason {
		w.t.Errorf("%s gives the reason %q, want %q", description, attributes["reason"], reason)
	}
}

// stages are the stages that packets told of a seed, repetitions left out.
func stages(packets []*leyline.TelemetryPacket, seedID string) []string {
	var told []string
	for _, event := range events(packets, "seed_stage") {
		stage := event.GetAttributes()["stage"]
		if event.GetAttributes()["seed_id"] == seedID && (len(told) == 0 || told[len(told)-1] != stage) {
			told = append(told, stage)
		}
	}
	return told
}

func metric(packet *leyline.TelemetryPacket, name string) *leyline.MetricPoint {
	return point(packet.GetMetrics(), name)
}

func counted(counters *Counters) []*leyline.MetricPoint {
	return telemetry.MetricPoints(counters.Totals().Figures())
}

// point finds a metric by its name and the texts of its attributes.
func point(points []*leyline.MetricPoint, name string, texts ...string) *leyline.MetricPoint {
	for _, p := range points {
		if p.GetName() != name {
			continue
		}
		matches := true
		for _, text := range texts {
			found := false
			for _, value := range p.GetAttributes() {
				found = found || value == text
			}
			matches = matches && found
		}
		if matches {
			return p
		}
	}
	return nil
}
