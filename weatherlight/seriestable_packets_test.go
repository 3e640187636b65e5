package weatherlight

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
	trainerwire "github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
)

// rest reports epochs in which nothing gets better, until the controller chooses to
// grow.
func rest(t *testing.T, g *garden, run string) {
	t.Helper()
	trainer := connect(t, g.BusURL(), "resting")
	report := trainerwire.Report{TrainerID: "resting", HostLayers: []string{"hidden"}, Slots: map[string][]int{"hidden": {4}}}
	for epoch := range uint32(2 * g.settings.Tamiyo.StallEpochs) {
		report.Number++
		packet := &leyline.SystemStatePacket{
			Version: 1, TrainingRunId: run, CurrentEpoch: epoch + 1, ValidationLoss: 1, ValidationAccuracy: 0.5,
			PacketId: fmt.Sprint("epoch-", epoch+1), SourceSubsystem: "tolaria",
		}
		if err := trainer.PublishReport(t.Context(), packet, report.Attributes()); err != nil {
			t.Fatal(err)
		}
	}
}

// rollback commands that a run goes back to before a seed.
func (g *garden) rollback(seedID string) {
	g.t.Helper()
	command := g.signed("rollback-"+seedID, seedID, leyline.SeedOperation_SEED_OP_UNKNOWN)
	command.CommandType = leyline.CommandType_COMMAND_ROLLBACK
	command.Payload = &leyline.AdaptationCommand_RollbackPayload{RollbackPayload: &structpb.Struct{
		Fields: map[string]*structpb.Value{"seed_id": structpb.NewStringValue(seedID)},
	}}
	if err := g.keyring.SignCommand(command); err != nil {
		g.t.Fatal(err)
	}
	if err := g.bus.Publish(g.t.Context(), oona.Message{Payload: command}); err != nil {
		g.t.Fatal(err)
	}
}

// Whatever a packet on the bus measures has a row, by which Nissa's page of series
// can be read.
func TestEveryPointOnTheBusIsDocumented(t *testing.T) {
	redis := redistest.Start(t)
	g := newGardenOn(t, "BP002", eventful(t, redis.URL))
	g.blend("one")
	g.rollback("one")
	g.await("one", leyline.SeedLifecycleStage_SEED_STAGE_EMBARGOED)
	eventually(t, "the trainer has dropped the seed", func() bool {
		g.report()
		return len(g.graft.Seeds()) == 0
	})
	g.report()
	own := newTable(packetSeries())
	seen := map[string]bool{}
	note := func(packets []*leyline.TelemetryPacket) {
		for _, packet := range packets {
			for _, point := range packet.GetMetrics() {
				if packet.GetSourceSubsystem() == "tamiyo" && strings.HasPrefix(point.GetName(), "tamiyo.gnn.feature_coverage.") {
					continue // of the Tamiyo that the test plays
				}
				seen[seriesOfPoint(t, own, point)] = true
			}
		}
	}
	rest(t, g, "run-2")
	note([]*leyline.TelemetryPacket{g.summaryPacket(t.Context())})
	observer := connect(t, redis.URL, "observer")
	ordinary := listen(t, observer, onTelemetry, "observer", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	urgent := listen(t, observer, onEmergency, "observer", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	var missing []string
	defer func() {
		if t.Failed() {
			t.Log("never seen:", missing)
		}
	}()
	eventually(t, "every row of a packet is seen", func() bool {
		note(ordinary.packets())
		note(urgent.packets())
		missing = nil
		for _, row := range packetSeries() {
			if !seen[row.Name] {
				missing = append(missing, row.Name)
			}
		}
		return len(missing) == 0
	})
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

// inPackets are the rows of /metrics as packets name them.
func inPackets() *table {
	var declared []telemetry.Series
	for _, group := range declaredGroups() {
		declared = append(declared, group.rows...)
	}
	return newTable(declared)
}

// seriesOfPoint returns the name of the row that explains a point: one of packets, or
// of /metrics, with the point's labels.
func seriesOfPoint(t *testing.T, own *table, point *leyline.MetricPoint) string {
	t.Helper()
	name, labels := point.GetName(), strings.Join(slices.Sorted(maps.Keys(point.GetAttributes())), ",")
	if text, ofWorker := strings.CutPrefix(name, "weatherlight.worker."); ofWorker {
		_, what, _ := strings.Cut(text, ".")
		name, labels = "weatherlight_worker_"+what, "worker"
	}
	name = metrics.SeriesName(name)
	row, found := own.find(name)
	if !found || row.Labels != labels {
		row, found = inPackets().find(name)
	}
	if !found || row.Labels != labels || point.GetUnit() != "" && point.GetUnit() != row.Unit {
		t.Errorf("%s{%s} in %q: the row is %s in %q", point.GetName(), labels, point.GetUnit(), row.Labelled(), row.Unit)
	}
	return row.Name
}
