package kasmina

import (
	"fmt"

	"github.com/esper-lite/weatherlight/leyline"
)

// stage is a seed's stage, UNKNOWN when it is not registered.
func (w *world) stage(seedID string) leyline.SeedLifecycleStage {
	settle()
	for _, state := range w.manager.SeedStates() {
		if state.GetSeedId() == seedID {
			return state.GetStage()
		}
	}
	return stageUnknown
}

func (w *world) wantStage(seedID string, want leyline.SeedLifecycleStage) {
	w.t.Helper()
	if got := w.stage(seedID); got != want {
		w.t.Errorf("seed %s is in %s, want %s", seedID, got, want)
	}
}

func (w *world) wantAttached(seedIDs ...string) {
	w.t.Helper()
	var attached []string
	for _, state := range w.graft.Seeds() {
		attached = append(attached, state.GetSeedId())
	}
	if fmt.Sprint(attached) != fmt.Sprint(seedIDs) {
		w.t.Errorf("attached are %v, want %v", attached, seedIDs)
	}
}

// emitted takes the packets emitted so far.
func (w *world) emitted() []*leyline.TelemetryPacket {
	settle()
	w.mu.Lock()
	defer w.mu.Unlock()
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
