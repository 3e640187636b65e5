package weatherlight

import (
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/urza"
)

func TestJudgementsOnTheBusReachTheController(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	peer := connect(t, redis.URL, "peer")
	judged := &leyline.BSDS{
		BlueprintId: "BP009", RiskScore: 0.9, HazardBand: leyline.HazardBand_HAZARD_BAND_HIGH,
		IssuedAt: timestamppb.New(time.Now().Add(-time.Minute)),
	}
	benchmark := &leyline.BlueprintBenchmark{
		BlueprintId: "BP009", Device: "CUDA", Profiles: []*leyline.BlueprintBenchmarkProfile{
			{Name: "batch_1", P50LatencyMs: 2}, {Name: "batch_32", P50LatencyMs: 4}, {Name: "not run"},
		},
	}
	nonsense := &leyline.BSDS{BlueprintId: "BP009", RiskScore: float32(math.NaN())}
	for _, message := range []oona.Message{
		{Payload: &leyline.BSDSIssued{Bsds: judged}},
		{Payload: &leyline.BSDSIssued{Bsds: nonsense}},
		{Payload: &leyline.BSDSIssued{}},
		{Payload: &leyline.BenchmarkReport{Benchmark: benchmark}},
		{Payload: &leyline.BSDSFailed{BlueprintId: "BP009", Reason: "timeout"}},
	} {
		if err := peer.Publish(t.Context(), message); err != nil {
			t.Fatal(err)
		}
	}
	var evidence urza.Evidence
	eventually(t, "all of it is kept", func() bool {
		var err error
		evidence, err = r.library.Evidence().Of(t.Context(), "BP009")
		return err == nil && evidence.BSDS != nil && evidence.Failed != nil && len(evidence.Benchmarks) == 1
	})
	if evidence.BSDS.GetRiskScore() != 0.9 || evidence.Failed.Reason != "timeout" {
		t.Errorf("evidence %+v", evidence)
	}
	candidate, known, err := r.selection.Blueprint(t.Context(), "BP009")
	if err != nil || !known || candidate.BSDS.GetRiskScore() != 0.9 || candidate.LatencyMS["cuda"] != 3 {
		t.Errorf("the controller hears of %+v, %v, %v", candidate, known, err)
	}
	eventually(t, "nonsense is a dead letter", func() bool {
		letters, err := r.bus.DeadLetters().List(t.Context(), "", 10)
		return err == nil && len(letters) == 2
	})
}
