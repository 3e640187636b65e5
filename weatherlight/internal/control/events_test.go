package control_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

func TestWhatGoesWrongInARunIsLogged(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		log := &journal{}
		o := open(t, url, "a", log.keep)
		o.hear("run-1")
		second := o.report("run-1")
		second.Attributes[trainer.AttributeTrainerID] = "another"
		for range 2 { // it is told once a minute
			if _, err := o.State(t.Context(), second); err != nil {
				t.Fatal(err)
			}
		}
		text := log.String()
		if strings.Count(text, "level=ERROR msg=trainer_refused run=run-1") != 1 || !strings.Contains(text, "event.trainer_id=another") {
			t.Errorf("log:\n%s", text)
		}
		if strings.Contains(text, "level=INFO") {
			t.Errorf("the log tells what is no trouble:\n%s", text)
		}
		if refused := o.view("run-1").Kasmina.Refused; len(refused) != 1 || refused[0].ID != "another" {
			t.Errorf("refused %+v", refused)
		}
	})
}

func TestWhatComesWithEveryReportIsLoggedOnceAMinute(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		log := &journal{}
		o := open(t, url, "a", log.keep)
		o.hear("run-1")
		for range 20 {
			diverged := o.report("run-1")
			diverged.Payload.(*leyline.SystemStatePacket).ValidationLoss = float32(math.NaN())
			if _, err := o.State(t.Context(), diverged); err != nil {
				t.Fatal(err)
			}
		}
		if text := log.String(); strings.Count(text, "msg=loss_spike") != 1 {
			t.Errorf("log:\n%s", text)
		}
	})
}

// attached is a report of a seed that its trainer has attached.
func (o *office) attached(run, seed string, of trainer.Order) *oona.Delivery {
	d := o.report(run)
	graft := trainer.Graft{Slot: of.Slot, Blueprint: of.Blueprint, Checksum: of.Kernel.Checksum, Order: of.Number}
	told, err := trainer.ReadReport(d.Attributes)
	if err != nil {
		o.t.Fatal(err)
	}
	told.Grafts, told.OrderRead = map[string]trainer.Graft{seed: graft}, of.Number
	d.Attributes = told.Attributes()
	d.Payload.(*leyline.SystemStatePacket).SeedStates = []*leyline.SeedState{{
		SeedId: seed, Stage: leyline.SeedLifecycleStage_SEED_STAGE_TRAINING,
		Metrics: map[string]float32{trainer.MetricOrder: float32(of.Number)},
	}}
	return d
}

// Which stage a seed is in, and why it went, stood in telemetry alone.
func TestEachMoveOfASeedIsOneLineOfTheLog(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		log := &journal{}
		one, other := open(t, url, "a", log.keep), open(t, url, "b", log.keep)
		one.hear("run-1")
		one.do(one.command("germinate", "run-1", germinating("seed-1")))
		ready, attributes := answer(sentOf[*leyline.KernelPrefetchRequest](one)[0])
		if _, err := other.Ready(t.Context(), &oona.Delivery{Payload: ready, Attributes: attributes}); err != nil {
			t.Fatal(err)
		}
		report := one.attached("run-1", "seed-1", other.orders("run-1", 1)[0])
		for range 2 { // the bus may deliver it to both, and again
			for _, o := range []*office{one, other} {
				if _, err := o.State(t.Context(), report); err != nil {
					t.Fatal(err)
				}
			}
		}
		other.do(other.command("cull", "run-1", germinating("seed-1"), func(c *leyline.AdaptationCommand) {
			c.GetSeedOperation().Operation = leyline.SeedOperation_SEED_OP_CULL
		}))
		other.do(other.command("germinate-2", "run-1", germinating("seed-2")))
		if _, err := one.Refusal(t.Context(), delivered(&leyline.KernelArtifactError{
			RequestId: sentOf[*leyline.KernelPrefetchRequest](other)[0].GetRequestId(), BlueprintId: "BP001", Reason: "missing_artifact",
		})); err != nil {
			t.Fatal(err)
		}
		var moves []string
		for line := range strings.Lines(log.String()) {
			if _, move, moved := strings.Cut(line, `level=INFO msg="seed moved" `); moved {
				moves = append(moves, strings.TrimSpace(move))
			}
		}
		of := func(rest string) string { return "run=run-1 seed=seed-1 slot=hidden " + rest }
		second := func(rest string) string { return strings.Replace(of(rest), "seed-1", "seed-2", 1) }
		want := []string{
			of("from=DORMANT to=GERMINATED gate=G0_SANITY"),
			of("from=GERMINATED to=TRAINING gate=G1_GRADIENT_HEALTH"),
			of("from=TRAINING to=CULLED reason=retired"), of("from=CULLED to=EMBARGOED reason=retired"),
			second("from=DORMANT to=GERMINATED gate=G0_SANITY"), second("from=GERMINATED to=CULLED gate=G1_GRADIENT_HEALTH reason=missing_artifact"),
			second("from=CULLED to=EMBARGOED gate=G1_GRADIENT_HEALTH reason=missing_artifact"),
		}
		if !slices.Equal(moves, want) {
			t.Errorf("the log has\n%s\nwant\n%s", strings.Join(moves, "\n"), strings.Join(want, "\n"))
		}
	})
}

// To write a decision down takes as long as to make it: beyond 1,000 a second there are
// decisions alone.
func TestMoreDecisionsThanAreRecordedAreMadeAllTheSame(t *testing.T) {
	now := time.Now()
	o := open(t, redistest.Start(t).URL, "a", func(c *control.Config) { c.Now = func() time.Time { return now } })
	for range 1005 {
		o.hear("run-1")
	}
	if recorded := o.events("decision_recorded"); recorded != 1000 {
		t.Errorf("%d decisions are recorded", recorded)
	}
	if epoch := o.view("run-1").Tamiyo.Epoch; epoch != 1005 {
		t.Errorf("the last decision is that on epoch %d", epoch)
	}
	now = now.Add(time.Second)
	o.hear("run-1")
	if recorded := o.events("decision_recorded"); recorded != 1001 {
		t.Errorf("%d decisions are recorded a second later", recorded)
	}
}
