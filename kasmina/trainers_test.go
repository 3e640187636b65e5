package kasmina

import (
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
)

func TestReportsThatAreNotNewChangeNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(*world, *Report)
		want  string
	}{
		{"same number", func(_ *world, r *Report) { r.Report.Number-- }, IgnoredRepeated},
		{"signed too long ago", func(w *world, r *Report) { r.Issued = w.now.Add(-61 * time.Second) }, IgnoredStale},
		{"late, of a retired trainer", func(w *world, r *Report) {
			r.Report.TrainerID, r.Report.Resumes = "trainer-0", "trainer-1"
			r.Stored = w.record.Trainer.Began.time()
		}, IgnoredRetired},
		{"no trainer id", func(_ *world, r *Report) { r.Report.TrainerID = "" }, IgnoredUnnamed},
		{"no packet", func(_ *world, r *Report) { r.Packet = nil }, IgnoredEmpty},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.trainer.id = "trainer-0"
			w.meet()
			w.trainer.id, w.trainer.resumes = "trainer-1", "trainer-0"
			w.meet()
			w.plant("s")
			w.emitted()
			before := stored(t, w.record)
			report := w.trainer.report(w.now)
			report.Packet.SeedStates = nil // a captured one would cull
			tt.spoil(w, &report)
			d := w.decide(report)
			if d.Ignored != tt.want || len(w.emitted()) != 0 || stored(t, w.record) != before {
				t.Errorf("decision %+v", d)
			}
			counters := NewCounters()
			counters.Observe(d)
			if got := point(counted(counters), "kasmina.reports.ignored_total", tt.want); got.GetValue() != 1 {
				t.Errorf("counted %v times", got.GetValue())
			}
		})
	}
}

func TestSecondTrainerIsRefusedByNameAndTakesOverInSilence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	other := newFakeTrainer("intruder")
	for range 30 { // half a minute
		w.report()
		if d := w.decide(other.report(w.now)); d.Ignored != IgnoredSecond {
			t.Fatal("it was taken")
		}
	}
	told := events(w.emitted(), "trainer_refused")
	if len(told) != 1 || told[0].GetLevel() != levelCritical || told[0].GetAttributes()["trainer_id"] != "intruder" {
		t.Errorf("events %v", told)
	}
	grown := w.stage("s")
	w.now = w.now.Add(59 * time.Second)
	w.decide(other.report(w.now))
	w.wantStage("s", grown)
	w.now = w.now.Add(time.Second)
	w.decide(other.report(w.now))
	w.wantStage("s", lifecycle.Embargoed)
	w.wantTold("rollback_ready", "trainer_restarted")
	if refused := NewView(w.record).Refused; len(refused) != 0 {
		t.Errorf("the trainer that leads is still among those refused: %v", refused)
	}
	w.emitted()
	w.now = w.now.Add(time.Second)
	if d := w.decide(w.trainer.report(w.now)); d.Ignored != IgnoredSecond {
		t.Error("the retired trainer came back")
	}
	_, attributes := w.told("trainer_refused")
	if attributes["trainer_id"] != "trainer-1" || attributes["leader"] != "intruder" {
		t.Errorf("the trainer that lives on is told of as %v", attributes)
	}
}

// The bus's clock is set back. The trainer's place ends no later than it would.
func TestR32TrainerThatWasHeardInTheFutureIsTakenOverInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	other := newFakeTrainer("successor")
	w.now = w.now.Add(-10 * time.Minute)
	if d := w.decide(other.report(w.now)); d.Ignored != IgnoredSecond {
		t.Fatalf("taken over at once: %+v", d)
	}
	w.now = w.now.Add(61 * time.Second)
	if d := w.decide(other.report(w.now)); d.Ignored != "" {
		t.Errorf("refused a minute after the clock was set: %s", d.Ignored)
	}
}

func TestSlowTrainerIsNotTakenOverBeforeThreeOfItsIntervals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 8 {
		w.now = w.now.Add(time.Minute)
		w.decide(w.trainer.report(w.now))
	}
	w.now = w.now.Add(2 * time.Minute)
	if d := w.decide(newFakeTrainer("intruder").report(w.now)); d.Ignored != IgnoredSecond {
		t.Error("taken over after two intervals")
	}
}

// Only another process is a restart: what the same one took out by itself went for a reason of its own.
func TestSeedThatItsOwnTrainerTookOutIsNotToldAsRestarted(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(seeds *[]*fakeSeed){
		"gone":   func(seeds *[]*fakeSeed) { *seeds = nil },
		"culled": func(seeds *[]*fakeSeed) { (*seeds)[0].stage = lifecycle.Culled },
		"back":   func(seeds *[]*fakeSeed) { (*seeds)[0].stage = lifecycle.Training },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.meet()
			w.plant("s")
			w.grow("s", lifecycle.Blending)
			take(&w.trainer.seeds)
			w.report()
			_, attributes := w.told("rollback_ready")
			if gone := w.last.Gone["s"]; gone != "removed_by_host" || attributes["reason"] != gone {
				t.Errorf("gone because of %q, told %v", gone, attributes)
			}
		})
	}
}

func TestTrainerThatRestartsFromItsCheckpointIsBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
	w.meet()
	for _, id := range []string{"kept", "further", "gone"} {
		w.plant(id, annotate("promotion_min_shadowing", "500"), annotate("promotion_max_shadowing", "1000"))
	}
	w.grow("further", lifecycle.Shadowing)
	w.grow("kept", lifecycle.Shadowing)
	w.plant("fossil")
	w.grow("fossil", lifecycle.Fossilized)
	w.emitted()
	next := newFakeTrainer("trainer-2")
	next.resumes = "trainer-1"
	for _, s := range w.trainer.seeds {
		copied := *s
		switch s.id {
		case "further":
			copied.stage = lifecycle.Training
		case "gone", "fossil":
			continue
		}
		next.seeds = append(next.seeds, &copied)
	}
	w.trainer = next
	w.report()
	w.wantStage("kept", lifecycle.Shadowing)
	w.wantStage("further", lifecycle.Training)
	w.wantStage("gone", lifecycle.Embargoed)
	w.wantStage("fossil", lifecycle.Unknown)
	packets := w.emitted()
	for id, want := range map[string][]string{
		"fossil":  {"SEED_STAGE_TERMINATED"},
		"gone":    {"SEED_STAGE_CULLED", "SEED_STAGE_EMBARGOED"},
		"further": {"SEED_STAGE_CULLED", "SEED_STAGE_EMBARGOED", "SEED_STAGE_RESETTING", "SEED_STAGE_DORMANT", "SEED_STAGE_TRAINING"},
	} {
		if got := stages(packets, id); !slices.Equal(got, want) {
			t.Errorf("%s: told %v, want %v", id, got, want)
		}
	}
	if told := events(packets, "seed_adopted"); len(told) != 1 || told[0].GetAttributes()["seed_id"] != "further" {
		t.Errorf("events %v", told)
	}
}

func TestSeedThatNobodyOrderedIsDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.trainer.seeds = append(w.trainer.seeds, &fakeSeed{id: "stray", blueprint: "BP009", slot: "hidden", order: 1, stage: lifecycle.Training})
	w.report()
	w.report()
	w.wantGrafted("s")
	if !slices.Contains(w.kinds(), "drop:stray") {
		t.Errorf("orders %v", w.kinds())
	}
	w.wantStage("stray", lifecycle.Unknown)
}

func TestSeedThatMovesWithoutAnOrderIsCulled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.trainer.seeds[0].stage = lifecycle.Probationary
	w.report()
	w.wantStage("s", lifecycle.Embargoed)
	if event, attributes := w.told("gate_failure"); attributes["reason"] != "stage_mismatch" || event.GetLevel() != levelCritical {
		t.Errorf("event %v", event)
	}
}

func TestRecordThatIsOlderThanItsTrainerCatchesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	before := w.record
	w.grow("s", lifecycle.Shadowing)
	w.record = before
	w.emitted()
	w.report()
	w.wantStage("s", lifecycle.Shadowing)
	want := []string{"SEED_STAGE_BLENDING", "SEED_STAGE_SHADOWING"}
	if got := stages(w.emitted(), "s"); !slices.Equal(got, want) {
		t.Errorf("told %v", got)
	}
}

func TestSilentRunIsToldOnceAndKeepsItsSeeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.emitted()
	w.wait(time.Hour)
	if told := events(w.emitted(), "run_silent"); len(told) != 1 {
		t.Errorf("%d events", len(told))
	}
	w.wantStage("s", lifecycle.Training)
	w.report()
	w.told("run_heard")
	w.wait(2 * time.Minute)
	w.told("run_silent")
}

func TestPredecessorsEntryIsIgnored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.do(opCull, "s")
	w.report()
	w.wait(time.Minute)
	w.do(opGerminate, "s")
	old := &fakeSeed{id: "s", checksum: "old", order: 1, stage: lifecycle.Probationary}
	w.decide(w.ready(w.lastRequest()))
	w.trainer.seeds = []*fakeSeed{old}
	w.now = w.now.Add(time.Second)
	w.decide(w.trainer.report(w.now)) // sent before it read its orders
	w.wantStage("s", lifecycle.Germinated)
	w.trainer.seeds = nil
	w.report()
	w.wantStage("s", lifecycle.Training)
}

func TestSeedsOfTheTelemetryAreToldOnceAnInterval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.TelemetryInterval = 10 * time.Second })
	w.meet()
	w.plant("s", annotate("promotion_min_training", "1000"), annotate("promotion_train_epochs", "1000"))
	w.report()
	w.emitted()
	for range 31 {
		w.report()
	}
	packets := w.emitted()
	if len(packets) != 3 {
		t.Errorf("%d packets in half a minute", len(packets))
	}
	seen := map[string]bool{}
	for _, packet := range packets {
		if seen[packet.GetPacketId()] || packet.GetSystemHealth().GetIndicators()["step_index"] == "" {
			t.Errorf("packet %v", packet)
		}
		seen[packet.GetPacketId()] = true
	}
}

func TestHealthyGrowthIsNormalPriority(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Fossilized)
	for _, packet := range w.emitted() {
		if got := packet.GetSystemHealth().GetIndicators()["priority"]; got != "MESSAGE_PRIORITY_NORMAL" {
			t.Errorf("%s has priority %s: %v", packet.GetPacketId(), got, packet.GetEvents())
		}
	}
	if len(BlendingSeeds(w.record)) != 0 {
		t.Error("a kept seed blends")
	}
}

func TestMessageOfAnotherRunIsNotForThisOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	d := w.core.Decide(w.record, Report{Packet: &leyline.SystemStatePacket{TrainingRunId: "other"}}, w.now)
	if d.Record != nil || len(d.Packets) != 0 {
		t.Errorf("decision %+v", d)
	}
	for _, message := range []Message{Tick{}, Ready{}, Refusal{}, Emergency{Level: 4}, Report{Protocol: true}} {
		if d := w.core.Decide(nil, message, w.now); d.Record != nil {
			t.Errorf("%T made a record up", message)
		}
	}
}
