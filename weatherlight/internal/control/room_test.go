package control_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

func TestSeedIsAttachedOverTheBus(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a")
		o.hear("run-1")
		o.do(o.command("germinate", "run-1", germinating("seed-1")))
		requests := sentOf[*leyline.KernelPrefetchRequest](o)
		if len(requests) != 1 {
			t.Fatalf("%d requests", len(requests))
		}
		ready, attributes := answer(requests[0])
		if _, err := o.Ready(t.Context(), &oona.Delivery{Payload: ready, Attributes: attributes}); err != nil {
			t.Fatal(err)
		}
		got := o.orders("run-1", 1)
		if len(got) != 1 || got[0].Kind != trainer.Attach || got[0].Seed != "seed-1" || got[0].Kernel.Checksum != ready.GetChecksum() {
			t.Errorf("orders %+v", got)
		}
	})
}

// eager makes the controller germinate at the first stall.
func eager(c *control.Config) {
	c.Controller = tamiyo.NewController(tamiyo.Config{Patience: 1})
	c.Candidates = func(context.Context, string, []int) ([]tamiyo.Candidate, error) {
		safe := tamiyo.Candidate{BlueprintID: "BP001", Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, ParameterCount: 10}
		return []tamiyo.Candidate{safe}, nil
	}
}

// Nobody obeys for a trainer without the protocol: to decide on it makes germinations that come to
// nothing, dead letters and emergencies.
func TestR1ReportWithoutProtocolCausesNothing(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a", eager)
		for range 60 {
			plain := o.report("run-1")
			plain.Attributes = nil
			if _, err := o.State(t.Context(), plain); err != nil {
				t.Fatal(err)
			}
		}
		if commands := sentOf[*leyline.AdaptationCommand](o); len(commands) != 0 {
			t.Errorf("commands %v", commands)
		}
		if requests, reports := sentOf[*leyline.KernelPrefetchRequest](o), sentOf[*leyline.FieldReport](o); len(requests)+len(reports) != 0 {
			t.Errorf("requests %v, field reports %v", requests, reports)
		}
		if told := o.events("trainer_watched"); told != 1 {
			t.Errorf("%d events say that it only reports", told)
		}
		if view := o.view("run-1"); view == nil || !view.Kasmina.Watched || view.Kasmina.LastOrder != 0 {
			t.Errorf("the run is %+v", view)
		}
	})
}

func TestReportsThatNobodyCanUseAreRefused(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a")
		named := func(run string) func(*oona.Delivery) {
			return func(d *oona.Delivery) { d.Payload.(*leyline.SystemStatePacket).TrainingRunId = run }
		}
		for name, spoil := range map[string]func(*oona.Delivery){
			"no run":           named(""),
			"blanks alone":     named("  "),
			"a folder":         named(".."),
			"a blank before":   named(" run-1"),
			"a line's end":     named("run-1\n"),
			"a wide blank":     named("run-1\u3000"),
			"too long":         named(strings.Repeat("r", 129)),
			"no state":         func(d *oona.Delivery) { d.Payload = &leyline.FieldReport{} },
			"a number of none": func(d *oona.Delivery) { d.Attributes[trainer.AttributeReport] = "many" },
		} {
			d := o.report("run-1")
			spoil(d)
			if _, err := o.State(t.Context(), d); err == nil {
				t.Errorf("%s: taken", name)
			}
		}
		if runs, err := o.Runs(t.Context(), "", 10); err != nil || len(runs) != 0 {
			t.Errorf("runs %q were made up, %v", runs, err)
		}
		for name, handler := range map[string]oona.Handler{"command": o.Command, "ready": o.Ready, "refusal": o.Refusal} {
			if _, err := handler(t.Context(), delivered(&leyline.FieldReport{})); err == nil {
				t.Errorf("a field report is taken for a %s", name)
			}
		}
	})
}

// Commands of Tamiyo that come too late, or for seeds that are elsewhere, are nothing
// to alarm anybody about; a stranger must hear of his.
func TestRefusedCommandOfAStrangerAloneIsADeadLetter(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a")
		o.hear("run-1")
		fossilizing := func(seed string) func(*leyline.AdaptationCommand) {
			return func(c *leyline.AdaptationCommand) {
				germinating(seed)(c)
				c.GetSeedOperation().Operation = leyline.SeedOperation_SEED_OP_FOSSILIZE
			}
		}
		foreign := func(c *leyline.AdaptationCommand) { c.IssuedBy = "somebody" }
		unsigned := o.command("unsigned", "run-1", germinating("seed-1"))
		unsigned.Annotations["signature"] = "bm8="
		twice := o.command("twice", "run-1", germinating("seed-2"))
		for _, command := range []*leyline.AdaptationCommand{
			o.command("ours", "run-1", fossilizing("elsewhere")),
			o.command("ours, of no run", "no-such-run", germinating("seed-1")),
			unsigned,
			o.command("theirs", "run-1", fossilizing("elsewhere"), foreign),
			twice, twice,
		} {
			if err := o.bus.Publish(t.Context(), oona.Message{Payload: command}); err != nil {
				t.Fatal(err)
			}
		}
		o.consume(oona.Subscription{
			Stream: oona.DefaultStreams().Normal, Key: control.RunOf,
			Handlers: map[leyline.BusMessageType]oona.Handler{leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND: o.Command},
		})
		eventually(t, "all are handled", func() bool {
			letters, err := o.bus.DeadLetters().List(t.Context(), "", 10)
			return err == nil && len(letters) >= 2 && len(sentOf[*leyline.KernelPrefetchRequest](o)) == 1
		})
		eventually(t, "nothing is left on the stream", func() bool {
			stats, err := o.bus.Stats(t.Context())
			return err == nil && stats.Streams["normal"].Backlog == 0
		})
		letters, err := o.bus.DeadLetters().List(t.Context(), "", 10)
		if err != nil || len(letters) != 2 {
			t.Fatalf("%d dead letters, %v", len(letters), err)
		}
		for _, letter := range letters {
			if letter.Reason != "permanent" || !strings.Contains(letter.Error, "unknown_seed") && !strings.Contains(letter.Error, "signature") {
				t.Errorf("dead letter %s: %s", letter.Reason, letter.Error)
			}
		}
	})
}

// manyRuns is more than are asked for at once.
const manyRuns = 300

func runNames() []string {
	runs := make([]string, manyRuns)
	for i := range runs {
		runs[i] = fmt.Sprintf("run-%03d", i)
	}
	return runs
}

// inEmergency counts the runs in whose record an emergency stands.
func (o *office) inEmergency(runs []string, level leyline.EmergencyLevel) int {
	count := 0
	for _, run := range runs {
		if o.view(run).Kasmina.Emergency == level.String() {
			count++
		}
	}
	return count
}

const (
	halt         = leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT
	conservative = leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE
)

func TestEmergencyWithoutARunReachesAllRuns(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o, runs := open(t, url, "a"), runNames()
		o.hear(runs...)
		smoke := kasmina.Emergency{Level: halt, Reason: "smoke", Origin: "operator", ID: "signal-1"}
		if err := o.Emergency(t.Context(), "", smoke); err != nil {
			t.Fatal(err)
		}
		if got := o.inEmergency(runs, halt); got != manyRuns {
			t.Errorf("%d of %d runs are halted", got, manyRuns)
		}
		if err := open(t, url, "b").Emergency(t.Context(), "", smoke); err != nil { // the bus brings it again, elsewhere
			t.Fatal(err)
		}
		for _, run := range []string{runs[0], runs[manyRuns-1]} {
			if got := o.orders(run, 1); len(got) != 1 || got[0].Kind != trainer.Emergency || got[0].Level != halt || got[0].Reason != "smoke" {
				t.Errorf("orders of %s: %+v", run, got)
			}
			if view := o.view(run); view.Kasmina.LastOrder != 1 {
				t.Errorf("the last order of %s is %d", run, view.Kasmina.LastOrder)
			}
		}
	})
}

func TestEmergencyOfOneRunLeavesTheOthersAlone(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o, runs := open(t, url, "a"), []string{"run-1", "run-2"}
		o.hear(runs...)
		if err := o.Emergency(t.Context(), "run-2", kasmina.Emergency{Level: conservative, ID: "signal-1"}); err != nil {
			t.Fatal(err)
		}
		if o.inEmergency(runs[:1], conservative) != 0 || o.inEmergency(runs[1:], conservative) != 1 {
			t.Errorf("run-1 is %q, run-2 %q", o.view("run-1").Kasmina.Emergency, o.view("run-2").Kasmina.Emergency)
		}
	})
}

func TestNothingIsGerminatedInAnEmergency(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a", eager)
		o.hear("run-1")
		if err := o.Emergency(t.Context(), "run-1", kasmina.Emergency{Level: conservative, ID: "signal-1"}); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			o.hear("run-1")
		}
		if commands := sentOf[*leyline.AdaptationCommand](o); len(commands) > 0 || o.events("command_rejected") > 0 {
			t.Errorf("in the emergency: %v", commands)
		}
		o.do(o.command("lift", "run-1", func(c *leyline.AdaptationCommand) {
			c.CommandType = leyline.CommandType_COMMAND_EMERGENCY
			c.Annotations["level"] = "1"
		}))
		o.hear("run-1")
		if commands := sentOf[*leyline.AdaptationCommand](o); len(commands) != 1 {
			t.Errorf("%d commands after it, want a germination", len(commands))
		}
	})
}

// A report lies on another stream than the signal, and may be handled after it.
func TestEmergencyOfARunHoldsFromItsFirstReport(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o, runs := open(t, url, "a"), []string{"run-1"}
		for _, emergency := range []kasmina.Emergency{{Level: halt, ID: "signal-1"}, {Level: conservative, ID: "signal-2"}} {
			if err := o.Emergency(t.Context(), "run-1", emergency); err != nil {
				t.Fatal(err)
			}
		}
		o.hear(runs...)
		if o.inEmergency(runs, halt) != 1 {
			t.Errorf("run-1 is %+v", o.view("run-1").Kasmina)
		}
		if err := o.Emergency(t.Context(), "run-2", kasmina.Emergency{Level: 2, ID: "signal-3"}); err != nil {
			t.Fatal(err)
		}
		if view := o.view("run-2"); view != nil {
			t.Errorf("a mild signal made a run up: %+v", view)
		}
		if err := o.Emergency(t.Context(), " run-3 ", kasmina.Emergency{Level: halt}); err == nil {
			t.Errorf("a run that no report may name: %v", err)
		}
	})
}

func TestCommandWithoutARunReachesAllRuns(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o, runs := open(t, url, "a"), []string{"run-1", "run-2", "run-3"}
		o.hear(runs...)
		o.do(o.command("all", "", func(c *leyline.AdaptationCommand) {
			c.CommandType = leyline.CommandType_COMMAND_EMERGENCY
			c.Annotations["level"] = halt.String()
		}))
		if got := o.inEmergency(runs, halt); got != len(runs) {
			t.Errorf("%d of %d runs are halted", got, len(runs))
		}
		// One about a seed must say in which run it grows.
		foreign := func(c *leyline.AdaptationCommand) { c.IssuedBy = "somebody" }
		if _, err := o.Command(t.Context(), delivered(o.command("seed", "", germinating("seed-1"), foreign))); err == nil {
			t.Error("a germination without a run is taken")
		}
	})
}

func TestRunsAreVisited(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o, runs := open(t, url, "a"), runNames()
		o.hear(runs...)
		var visited []string
		if err := o.Each(t.Context(), func(run string, _ *kasmina.Record) { visited = append(visited, run) }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(visited, runs) {
			t.Errorf("visited %d runs", len(visited))
		}
		if page, err := o.Runs(t.Context(), runs[297], 10); err != nil || !slices.Equal(page, runs[298:]) {
			t.Errorf("the last page is %v, %v", page, err)
		}
	})
}

// What finds no room, or never can, must not keep a run from being decided on; what
// the bus could not take is tried again.
func TestOutputThatFindsNoRoomDoesNotStopTheRun(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		refusal := func(err error) error { return &oona.PublishError{Err: err} }
		var fails error
		failing := func(c *control.Config) {
			publish := c.Publish
			c.Publish = func(ctx context.Context, messages ...oona.Message) error {
				if fails != nil {
					return fails
				}
				return publish(ctx, messages...)
			}
		}
		o := open(t, url, "a", failing)
		for i, row := range []struct {
			err     error
			forgive bool
		}{
			{refusal(oona.ErrOverloaded), true},
			{errors.Join(refusal(oona.ErrOverloaded), refusal(oona.ErrRateLimited)), true},
			{errors.Join(refusal(oona.ErrTooLarge), refusal(oona.ErrNotPublishable)), true},
			{refusal(oona.ErrUnavailable), false},
			{errors.Join(refusal(oona.ErrOverloaded), refusal(oona.ErrUnavailable)), false},
			{oona.ErrClosed, false},
		} {
			run := fmt.Sprint("run-", i)
			fails = nil
			o.hear(run)
			fails = row.err
			_, err := o.Command(t.Context(), delivered(o.command(fmt.Sprint("germinate-", i), run, germinating("seed-1"))))
			if (err == nil) != row.forgive {
				t.Errorf("%v: %v", row.err, err)
			}
			fails = nil
			before := len(sentOf[*leyline.KernelPrefetchRequest](o))
			o.hear(run)
			if published := len(sentOf[*leyline.KernelPrefetchRequest](o)) > before; published == row.forgive {
				t.Errorf("%v: published with the next report: %v", row.err, published)
			}
		}
	})
}

func TestCountersTellOfDecisionsThatStand(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a")
		o.hear("run-1")
		o.do(o.command("germinate", "run-1", germinating("seed-1")))
		if counted := o.Counters().Totals(); counted.Accepted != 1 || counted.Prefetches["scheduled"] != 1 {
			t.Errorf("counted %+v", counted)
		}
	})
}

// A state may come twice, or be published again by a peer without its attributes. A second command
// would be refused as a replay.
func TestR4StateThatComesAgainIssuesNoSecondCommand(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a", eager)
		commands := func() []*leyline.AdaptationCommand { return sentOf[*leyline.AdaptationCommand](o) }
		for len(commands()) == 0 && o.number < 10 {
			d := o.report("run-1")
			again, plain := *d, *d
			plain.Attributes, plain.Issued = nil, again.Issued
			for _, delivery := range []*oona.Delivery{d, &again, &plain, &again} {
				if _, err := o.State(t.Context(), delivery); err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(commands()) != 1 {
			t.Fatalf("%d commands after %d reports", len(commands()), o.number)
		}
		for range 3 {
			o.do(commands()[0])
		}
		if requests := sentOf[*leyline.KernelPrefetchRequest](o); len(requests) != 1 || o.events("command_rejected") != 0 {
			t.Errorf("%d requests, %d refusals", len(requests), o.events("command_rejected"))
		}
		if view := o.view("run-1"); len(view.Kasmina.Seeds) != 1 {
			t.Errorf("seeds %+v", view.Kasmina.Seeds)
		}
	})
}
