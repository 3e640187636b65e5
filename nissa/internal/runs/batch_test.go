package runs

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

var begin = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func at(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }

func message(seconds int, payload proto.Message) Message {
	return Message{Stream: "s", Entry: fmt.Sprint(seconds, "-0"), Payload: payload, At: at(seconds)}
}

// tell is what messages come to that nothing was known before.
func tell(messages ...Message) *Batch {
	b := NewBatch(messages)
	b.Apply(messages)
	return b
}

func event(description string, pairs ...string) *leyline.TelemetryEvent {
	e := &leyline.TelemetryEvent{Description: description, Level: leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING, Attributes: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		e.Attributes[pairs[i]] = pairs[i+1]
	}
	return e
}

func packetOf(run, seed string, seconds int, events ...*leyline.TelemetryEvent) Message {
	return message(seconds, &leyline.TelemetryPacket{
		SourceSubsystem: "kasmina", PacketId: fmt.Sprint(run, seed, seconds), Timestamp: timestamppb.New(at(seconds)),
		SystemHealth: &leyline.SystemHealth{Indicators: map[string]string{"training_run_id": run, "seed_id": seed, "blueprint_id": "BP7"}},
		Events:       events,
	})
}

func stageOf(stage string) *leyline.TelemetryEvent {
	return event("seed_stage", "seed_id", "s", "stage", "SEED_STAGE_"+stage, "alpha", "0.2500")
}

func reported(run string, seconds int, stage leyline.SeedLifecycleStage, loss float32) Message {
	m := message(seconds, &leyline.SystemStatePacket{
		TrainingRunId: run, PacketId: fmt.Sprint(run, seconds), CurrentEpoch: uint32(seconds), ValidationLoss: loss,
		SeedStates: []*leyline.SeedState{{SeedId: "s", Stage: stage, GradientNorm: 2,
			Metrics: map[string]float32{"alpha": 0.5, "loss_before": 3, "paused": 1}}},
	})
	m.Attributes = trainer.Report{TrainerID: "t", Number: 4, Grafts: map[string]trainer.Graft{
		"s": {Slot: "l2", Blueprint: "BP7", Checksum: "c0ffee"}}}.Attributes()
	return m
}

const blending = leyline.SeedLifecycleStage_SEED_STAGE_BLENDING

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

func TestStateOfARun(t *testing.T) {
	// Each 100 s; the outage before counts for nothing.
	r := Run{FirstAt: at(-100_000), Progress: Progress{Reports: 11, Reported: at(1000)}, Leader: Leader{Interval: 100 * time.Second}}
	for name, test := range map[string]struct {
		seconds int
		halted  bool
		want    string
	}{
		"reports": {1000, false, Running}, "is due": {1290, false, Running}, "is late": {1310, false, Silent}, "halted": {1000, true, Halted},
	} {
		r.Halted = test.halted
		if got := r.State(at(test.seconds)); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
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

// A run whose seeds Kasmina has taken out of the output must not look like any other.
func TestEmergencyOfARunIsItsState(t *testing.T) {
	packet := func(source string, seconds int, level string) Message {
		m := packetOf("r", "", seconds)
		p := m.Payload.(*leyline.TelemetryPacket)
		p.SourceSubsystem, p.PacketId = source, fmt.Sprint(source, seconds)
		if level != "" {
			p.SystemHealth.Indicators["emergency"], p.SystemHealth.Indicators["emergency_reason"] = "EMERGENCY_LEVEL_"+level, "heat"
		}
		return m
	}
	report := reported("r", 1, leyline.SeedLifecycleStage_SEED_STAGE_TRAINING, 0.5)
	for name, test := range map[string]struct {
		told    []Message
		level   string
		seconds int
		want    string
	}{
		"none":                         {[]Message{packet("kasmina", 2, "")}, "", 3, Running},
		"conservative":                 {[]Message{packet("kasmina", 2, "CONSERVATIVE")}, "conservative", 3, Conservative},
		"halt that nobody has obeyed":  {[]Message{packet("kasmina", 2, "HALT")}, "halt", 3, Conservative},
		"silent besides":               {[]Message{packet("kasmina", 2, "CONSERVATIVE")}, "conservative", 3000, Silent},
		"lifted":                       {[]Message{packet("kasmina", 2, "CONSERVATIVE"), packet("kasmina", 3, "")}, "", 3, Running},
		"an older packet that is late": {[]Message{packet("kasmina", 3, "CONSERVATIVE"), packet("kasmina", 2, "")}, "conservative", 3, Conservative},
		"of another part":              {[]Message{packet("kasmina", 2, "CONSERVATIVE"), packet("tamiyo", 3, "")}, "conservative", 3, Conservative},
	} {
		b := tell(report)
		for _, m := range test.told {
			b.Apply([]Message{m})
		}
		r := b.Runs["r"]
		if got := r.State(at(test.seconds)); got != test.want || r.Held != test.level {
			t.Errorf("%s: %s, emergency %+v", name, got, r.Emergency)
		}
		if reason := r.HeldFor; (reason == "heat") != (test.level != "") {
			t.Errorf("%s: because of %q", name, reason)
		}
	}
}

func TestSparkKeepsTheShapeInFewPoints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 2000).Draw(t, "n")
		var s Spark
		for i := range n {
			before := slices.Clone(s.Loss)
			next := s.with(Number(i))
			if !slices.Equal(before, s.Loss) {
				t.Fatal("changes what it was made of")
			}
			s = next
		}
		for i, loss := range s.Loss {
			if int64(loss) != int64(i)*s.Stride {
				t.Fatalf("point %d of %d is %v at a stride of %d", i, len(s.Loss), loss, s.Stride)
			}
		}
		if len(s.Loss) > sparkPoints || s.Seen != int64(n) || n > 0 && int64(len(s.Loss)) != (int64(n)+s.Stride-1)/s.Stride {
			t.Fatalf("%d points of %d at a stride of %d", len(s.Loss), n, s.Stride)
		}
	})
}

// Whatever comes, in whatever parts and order, the records are those that the messages
// named, and the rows the same.
func TestPartsAndOrderChangeNoRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.SliceOfN(rapid.Custom(anyMessage), 1, 12).Draw(t, "messages")
		whole := tell(messages...)
		named := NewBatch(messages)
		for run := range whole.Runs {
			if _, is := named.Runs[run]; !is {
				t.Fatalf("run %q was not named", run)
			}
		}
		for seed := range whole.Seeds {
			if _, is := named.Seeds[seed]; !is {
				t.Fatalf("seed %v was not named", seed)
			}
		}
		shuffled := slices.Clone(messages)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		again := NewBatch(nil)
		for i := range shuffled {
			again.Apply(shuffled[i : i+1])
		}
		for _, rows := range [][2]int{{len(whole.Reports), len(again.Reports)}, {len(whole.Points), len(again.Points)}} {
			if rows[0] != rows[1] {
				t.Fatalf("%v rows", rows)
			}
		}
		for id, r := range whole.Runs {
			if r == nil || id == "" { // whether an alarm is raised anew is seen from those before
				continue
			}
			if other := again.Runs[id]; other == nil || other.Reports != r.Reports || !other.LastAt.Equal(r.LastAt) || other.Epoch != r.Epoch {
				t.Fatalf("%+v and %+v", r, other)
			}
		}
		for key, s := range whole.Seeds {
			if s == nil {
				continue
			}
			if other := again.Seeds[key]; s.Kasmina && other.Kasmina && stagesTold(messages) && other.Stage != s.Stage {
				t.Fatalf("%+v and %+v", s, other)
			}
		}
	})
}

// stagesTold: no trainer told of stages beside Kasmina, and no two packets at one time.
func stagesTold(messages []Message) bool {
	times := map[time.Time]bool{}
	for _, m := range messages {
		if _, report := m.Payload.(*leyline.SystemStatePacket); report || times[m.At] {
			return false
		}
		times[m.At] = true
	}
	return true
}

func anyMessage(t *rapid.T) Message {
	run := rapid.SampledFrom([]string{"r", "q", "", strings.Repeat("long", 100)}).Draw(t, "run")
	seed := rapid.SampledFrom([]string{"s", "", "z\n"}).Draw(t, "seed")
	seconds := rapid.IntRange(0, 1000).Draw(t, "at")
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return reported(run, seconds, blending, rapid.Float32().Draw(t, "loss"))
	case 1:
		return packetOf(run, seed, seconds, stageOf(rapid.SampledFrom([]string{"TRAINING", "CULLED", ""}).Draw(t, "stage")),
			event("x", "training_run_id", "other"), event("alarm", "alarm", "a"))
	case 2:
		return message(seconds, &leyline.AdaptationCommand{TargetSeedId: seed, Annotations: map[string]string{"training_run_id": run}})
	case 3:
		return message(seconds, &leyline.FieldReport{TrainingRunId: run, SeedId: seed})
	default:
		return message(seconds, &leyline.EmergencySignal{RunId: run})
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{"", "run-1", "a\nb", "\xff\xfe", strings.Repeat("é", 200), "\x00", "\u0085\u202e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{name(s), text(s, maxText)} {
			if !utf8.ValidString(got) || len(got) > maxText || strings.ContainsAny(got, "\n\r\x00") {
				t.Errorf("%q became %q", s, got)
			}
		}
		if got := name(s); len(got) > maxID || name(got) != got {
			t.Errorf("%q became %q, which becomes %q", s, got, name(got))
		}
	})
}

// FuzzApply takes any bytes for payloads: none may be more than its bounds.
func FuzzApply(f *testing.F) {
	for _, m := range []Message{reported("r", 1, blending, 1), packetOf("r", "s", 1, stageOf("TRAINING"))} {
		raw, err := proto.Marshal(m.Payload)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, payload := range []proto.Message{
			new(leyline.SystemStatePacket), new(leyline.TelemetryPacket), new(leyline.AdaptationCommand), new(leyline.FieldReport), new(leyline.EmergencySignal),
		} {
			if proto.Unmarshal(raw, payload) != nil {
				continue
			}
			m := message(1, payload)
			m.Key()
			b := tell(m)
			if len(b.Events) > 2*MaxEvents+maxSeeds || len(b.Points) > maxSeeds {
				t.Errorf("%d events, %d points", len(b.Events), len(b.Points))
			}
			for _, e := range b.Events {
				if _, err := json.Marshal(e); err != nil {
					t.Error(err)
				}
			}
		}
	})
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

func TestThinnerKeepsPeaksAndTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.Float64Range(-10, 10), 1, 500).Draw(t, "rows")
		most := rapid.IntRange(2, 60).Draw(t, "most")
		thinner := NewThinner(int64(len(rows)), most, func(x *float64) Number { return Number(*x) })
		for _, row := range rows {
			thinner.Add(row)
		}
		thin := thinner.Rows()
		if len(thin) > most+1 || slices.Max(thin) != slices.Max(rows) || slices.Min(thin) != slices.Min(rows) || thin[len(thin)-1] != rows[len(rows)-1] {
			t.Fatalf("%v became %v", rows, thin)
		}
	})
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
