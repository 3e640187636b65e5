package weatherlight

import (
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

func TestForgeTellsOfItselfOnce(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{
		"REDIS_URL": redis.URL, "TEZZERET_FORGE_ON_START": "true", "TEZZERET_FEATURES": "2",
	}))
	<-r.Forged()
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
	observer := connect(t, redis.URL, "nissa")
	ordinary := listen(t, observer, onTelemetry, "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	urgent := listen(t, observer, onEmergency, "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	eventually(t, "the last summary is heard", func() bool {
		return slices.ContainsFunc(summaries(ordinary), func(packet *leyline.TelemetryPacket) bool {
			return metricsOf(packet)["weatherlight.worker."+workerPrefetch+".running"] == 0
		})
	})
	told := []map[string]float64{}
	for _, packet := range slices.Concat(ordinary.packets(), urgent.packets()) {
		if packet.GetSourceSubsystem() == "tezzeret" {
			told = append(told, metricsOf(packet))
		}
	}
	if len(told) != 1 {
		t.Fatalf("%d packets of the forge", len(told))
	}
	for name := range telemetry.Values(r.forge.Stats().Figures(), "") {
		if _, there := told[0][name]; !there {
			t.Errorf("its packet lacks %s", name)
		}
	}
}
