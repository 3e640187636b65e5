package runs

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestStagesAreThoseThatKasminaTellsOf(t *testing.T) {
	b := tell(
		packetOf("r", "s", 1, stageOf("GERMINATED")),
		packetOf("r", "s", 2, stageOf("GERMINATED")), // every packet of a seed says so
		packetOf("r", "s", 3, event("gate_event", "seed_id", "s", "gate", "SEED_GATE_G3_INTERFACE", "passed", "true"), stageOf("TRAINING")),
		packetOf("r", "s", 5, event("rollback_ready", "seed_id", "s", "stage", "SEED_STAGE_TRAINING", "reason", "impact_unknown"), stageOf("CULLED")),
		reported("r", 6, blending, 1), // was under way
		packetOf("r", "s", 4, stageOf("BLENDING")),
	)
	s := b.Seeds[SeedKey{"r", "s"}]
	if s.Stage != "CULLED" || !s.StageAt.Equal(at(5)) || s.Reason != "impact_unknown" || s.Alpha != 0.5 || s.Slot != "l2" || s.Kernel != "c0ffee" ||
		s.Blueprint != "BP7" || !s.Paused {
		t.Errorf("%+v", s)
	}
	var told []string
	for _, i := range Intervals(b.Events) {
		to := "now"
		if i.To != nil {
			to = fmt.Sprint(i.To.Sub(begin).Seconds())
		}
		told = append(told, fmt.Sprint(i.Stage, " ", i.From.Sub(begin).Seconds(), "-", to))
	}
	if got := strings.Join(told, ", "); got != "GERMINATED 1-3, TRAINING 3-4, BLENDING 4-5, CULLED 5-now" {
		t.Error(got)
	}
}

// One decision took the seed through three stages, and the urgent packets came first.
func TestStagesOfOneMomentAreInTheOrderOfALife(t *testing.T) {
	for _, order := range [][]string{{"SHADOWING", "CULLED", "EMBARGOED"}, {"CULLED", "EMBARGOED", "SHADOWING"}, {"EMBARGOED", "SHADOWING", "CULLED"}} {
		told := []Message{packetOf("r", "s", 1, stageOf("BLENDING"))}
		for i, stage := range order {
			told = append(told, packetOf("r", "s", 2, stageOf(stage)))
			told[i+1].Payload.(*leyline.TelemetryPacket).PacketId = stage
		}
		b := tell(told...)
		var stages []string
		for _, i := range Intervals(b.Events) {
			stages = append(stages, i.Stage)
		}
		if got := fmt.Sprint(stages); got != "[BLENDING SHADOWING CULLED EMBARGOED]" || b.Seeds[SeedKey{"r", "s"}].Stage != "EMBARGOED" {
			t.Errorf("%v became %s", order, got)
		}
		if counts := b.Runs["r"].Seeds; len(counts) != 1 || counts["EMBARGOED"] != 1 {
			t.Errorf("%v", counts)
		}
	}
}

func TestWithoutKasminaTheTrainerTellsTheStages(t *testing.T) {
	b := tell(reported("r", 1, leyline.SeedLifecycleStage_SEED_STAGE_TRAINING, 2), reported("r", 2, blending, 1), reported("r", 3, blending, 1))
	stages := Intervals(b.Events)
	if len(stages) != 2 || stages[1].Stage != "BLENDING" || !stages[1].From.Equal(at(2)) || stages[1].To != nil {
		t.Errorf("%+v", stages)
	}
	if p := b.Points[1]; p.Alpha != 0.5 || p.Stage != "BLENDING" || p.Metrics["gradient_norm"] != 2 || p.Epoch != 2 {
		t.Errorf("%+v", p)
	}
}

func TestReportsMakeTheCurve(t *testing.T) {
	between := reported("r", 3, blending, 0) // between two validations
	late := reported("r", 1, blending, 8)
	b := tell(reported("r", 2, blending, 4), between, late, reported("r", 4, blending, float32(math.NaN())))
	r := b.Runs["r"]
	if r.Reports != 4 || r.Loss.Known() || r.Best != 4 || r.Epoch != 4 || r.Trainer != "t" || !r.FirstAt.Equal(at(1)) || !r.Reported.Equal(at(4)) ||
		len(r.Spark.Loss) != 2 || r.Spark.Loss[0] != 8 {
		t.Errorf("%+v", r)
	}
	if b.Reports[2].Loss.Known() || b.Reports[3].Loss.Known() || b.Reports[0].HostLoss != 3 || b.Reports[0].Number != 4 {
		t.Errorf("%+v", b.Reports)
	}
}

func TestCommandsReportsAndEmergenciesAreInTheFeed(t *testing.T) {
	b := tell(
		message(1, &leyline.AdaptationCommand{CommandId: "c", IssuedBy: "tamiyo", TargetSeedId: "s", CommandType: leyline.CommandType_COMMAND_SEED,
			Payload: &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
				Operation: leyline.SeedOperation_SEED_OP_GERMINATE, BlueprintId: "BP7", Parameters: map[string]float32{"rank": 4}}},
			Annotations: map[string]string{"training_run_id": "r", "risk_reason": "validation_stalled", "slot": "l2", "signature": "secret"}}),
		message(2, &leyline.FieldReport{ReportId: "f", TrainingRunId: "r", SeedId: "s", Notes: "seed_regressed",
			Outcome: leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION, Metrics: map[string]float32{"loss_delta": 0.5}}),
		message(2, trainer.Order{Kind: trainer.Drop, Run: "r", TrainerID: "t", Number: 7, Seed: "s", Blueprint: "BP7", Reason: "impact regressed"}.Command()),
		message(3, &leyline.EmergencySignal{RunId: "r", Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT, Reason: "nan", Origin: "tolaria"}),
		packetOf("", "", 4, event("loss_spike", "training_run_id", "r", "seed_id", "s")),
	)
	var told []string
	for _, e := range b.Events {
		told = append(told, fmt.Sprintf("%s %s %s/%s by %s %v", e.Kind, e.Name, e.Run, e.Seed, e.Source, e.Details))
	}
	want := []string{
		"command GERMINATE r/s by tamiyo map[blueprint:BP7 command_id:c issued_by:tamiyo parameter_rank:4 risk_reason:validation_stalled slot:l2]",
		"field_report REGRESSION r/s by tamiyo map[metric_loss_delta:0.5 notes:seed_regressed report_id:f window:0]",
		"order drop r/s by kasmina map[blueprint:BP7 issued_by:kasmina order:7 reason:impact regressed trainer_id:t]",
		"emergency HALT r/ by tolaria map[reason:nan]",
		"event loss_spike r/s by kasmina map[]",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
	if s := b.Seeds[SeedKey{"r", "s"}]; s.Outcome != "REGRESSION" || s.Reason != "seed_regressed" || s.Slot != "l2" || s.Blueprint != "BP7" {
		t.Errorf("%+v", s)
	}
}

// Counts beyond what databases have are the largest that they have.
func TestCountsFitTheirColumns(t *testing.T) {
	m := reported("r", 1, blending, 1)
	m.Payload.(*leyline.SystemStatePacket).GlobalStep = math.MaxUint64
	m.Attributes = nil // of a trainer whose numbers have no other bounds
	b := tell(m)
	if r := b.Reports[0]; r.Step != math.MaxInt64 || r.Number > math.MaxInt64 || b.Points[0].Step != math.MaxInt64 || b.Runs["r"].Step != math.MaxInt64 {
		t.Errorf("%+v, %+v", r, b.Points[0])
	}
}

func TestPacketIsDatedByItselfWhereThatCanBe(t *testing.T) {
	for name, test := range map[string]struct{ said, want time.Time }{
		"waited for the bus": {at(-3600), at(-3600)},
		"a clock ahead":      {at(3600), at(0)},
		"too old":            {at(-2 * 86400), at(0)},
		"none":               {time.Time{}, at(0)},
	} {
		m := message(0, nil)
		stamp := timestamppb.New(test.said)
		if test.said.IsZero() {
			stamp = nil
		}
		if got := m.date(stamp); !got.Equal(test.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A stage that is told of again is known to have lasted until then: what comes late and is
// older changes nothing but since when.
func TestStageToldAgainOutlivesWhatComesLate(t *testing.T) {
	b := tell(packetOf("r", "s", 10, stageOf("TRAINING")), packetOf("r", "s", 30, stageOf("BLENDING")))
	b.Apply([]Message{packetOf("r", "s", 50, stageOf("BLENDING"))})
	s := b.Seeds[SeedKey{"r", "s"}]
	if !s.StageAt.Equal(at(30)) {
		t.Errorf("it is in %s since %s", s.Stage, s.StageAt)
	}
	b.Apply([]Message{packetOf("r", "s", 40, stageOf("TRAINING"))})
	if s.Stage != "BLENDING" || !s.StageAt.Equal(at(50)) {
		t.Errorf("it is in %s since %s", s.Stage, s.StageAt)
	}
	b.Apply([]Message{packetOf("r", "s", 20, stageOf("GERMINATED"))})
	if s.Stage != "BLENDING" || !s.StageAt.Equal(at(50)) {
		t.Errorf("it is in %s since %s", s.Stage, s.StageAt)
	}
}

// Who resumes a seed says so by an annotation alone.
func TestCommandKeepsWhatTellsItFromItsOpposite(t *testing.T) {
	b := tell(message(1, &leyline.AdaptationCommand{CommandType: leyline.CommandType_COMMAND_PAUSE, TargetSeedId: "s",
		Annotations: map[string]string{"resume": "true", "operator": "ann@desk", trainer.AnnotationRun: "r"}}))
	if e := b.Events[0]; e.Name != "PAUSE" || e.Details["resume"] != "true" || e.Details["operator"] != "ann@desk" {
		t.Errorf("%+v", e)
	}
}

func TestNumbersThatAreNoneAreNull(t *testing.T) {
	raw, err := json.Marshal([]Number{1, 0.5, Number(float32(0.1)), 1e300, None(), Number(math.Inf(1))})
	if err != nil || string(raw) != "[1,0.5,0.1,1e+300,null,null]" {
		t.Errorf("%s, %v", raw, err)
	}
	var back []Number
	if err := json.Unmarshal(raw, &back); err != nil || back[2] != 0.1 || back[4].Known() {
		t.Errorf("%v, %v", back, err)
	}
	if json.Unmarshal([]byte(`["x"]`), &back) == nil {
		t.Error("read a text as a number")
	}
}

// Whoever names the stages of his seeds as he pleases makes the record of the run no longer.
func TestAStageThatThereIsNotIsNone(t *testing.T) {
	b := NewBatch(nil)
	for n := range 1000 {
		b.Apply([]Message{packetOf("r", fmt.Sprint("s-", n), 10+n, stageOf(fmt.Sprint("STAGE-", n)))})
	}
	b.Apply([]Message{packetOf("r", "s", 2000, stageOf("BLENDING"))})
	if r := b.Runs["r"]; len(r.Seeds) != 1 || r.Seeds["BLENDING"] != 1 {
		t.Errorf("%d stages", len(r.Seeds))
	}
}
