package control_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

var errCrash = errors.New("the process is gone")

// An instance that dies between the writing of a decision and its publishing.
func TestRequestOfAnInstanceThatDiedIsPublishedByAnother(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		dying := open(t, url, "a", func(c *control.Config) {
			c.Publish = func(context.Context, ...oona.Message) error { return errCrash }
			c.Grace = time.Millisecond
		})
		other := open(t, url, "b")
		other.hear("run-1")
		if _, err := dying.Command(t.Context(), delivered(dying.command("germinate", "run-1", germinating("seed-1")))); !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		other.hear("run-1")
		requests := sentOf[*leyline.KernelPrefetchRequest](other)
		if len(requests) != 1 {
			t.Fatalf("%d requests", len(requests))
		}
		ready, attributes := answer(requests[0])
		if _, err := other.Ready(t.Context(), &oona.Delivery{Payload: ready, Attributes: attributes}); err != nil {
			t.Fatal(err)
		}
		if got := other.orders("run-1", 1); len(got) != 1 || got[0].Kind != trainer.Attach {
			t.Errorf("orders %+v", got)
		}
	})
}

// The streams of answers are skipped unread while nobody waits. An instance that asked
// for nothing must still read the answer to another's request.
func TestAnswerIsReadByAnInstanceThatDidNotAsk(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		asking, reading := open(t, url, "a"), open(t, url, "b")
		streams := oona.DefaultStreams()
		reading.consume(oona.Subscription{
			Stream: streams.KernelReady, Wanted: control.Answers, Key: control.RunOf, Demand: reading.ReadyDemand(),
			Block:    10 * time.Millisecond,
			Handlers: map[leyline.BusMessageType]oona.Handler{leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY: reading.Ready},
		})
		for _, run := range []string{"run-1", "run-2"} {
			asking.hear(run)
			asking.do(asking.command("germinate-"+run, run, germinating("seed-1")))
		}
		for _, request := range sentOf[*leyline.KernelPrefetchRequest](asking) {
			ready, attributes := answer(request)
			if err := asking.bus.Publish(t.Context(), oona.Message{Stream: streams.KernelReady, Payload: ready, Attributes: attributes}); err != nil {
				t.Fatal(err)
			}
		}
		for _, run := range []string{"run-1", "run-2"} {
			if got := asking.orders(run, 1); len(got) != 1 || got[0].Kind != trainer.Attach {
				t.Errorf("orders of %s: %+v", run, got)
			}
		}
		if len(sentOf[*leyline.KernelPrefetchRequest](reading)) != 0 {
			t.Error("the reading instance asked too")
		}
	})
}

func TestAnswerToSomebodyElsesRequestIsNothingToDo(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a")
		ready, refusal := &leyline.KernelArtifactReady{RequestId: "simic-17"}, &leyline.KernelArtifactError{RequestId: "simic-17"}
		for _, d := range []*oona.Delivery{delivered(ready), delivered(refusal)} {
			if control.Answers(d) || control.RunOf(d) != "" {
				t.Errorf("%v is taken for ours", d.Payload)
			}
		}
		_, err := o.Ready(t.Context(), delivered(ready))
		_, failed := o.Refusal(t.Context(), delivered(refusal))
		if err = errors.Join(err, failed); err != nil {
			t.Error(err)
		}
	})
}

// A kernel that does not come is asked for again by whichever instance is there.
func TestWaitForAKernelOutlivesTheInstanceThatAsked(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		asking, other := open(t, url, "a"), open(t, url, "b")
		asking.hear("run-1")
		asking.do(asking.command("germinate", "run-1", germinating("seed-1")))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- other.Run(ctx) }()
		eventually(t, "the other instance asks", func() bool { return len(sentOf[*leyline.KernelPrefetchRequest](other)) > 0 })
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		request := sentOf[*leyline.KernelPrefetchRequest](other)[0]
		ready, attributes := answer(request)
		if _, err := asking.Ready(t.Context(), &oona.Delivery{Payload: ready, Attributes: attributes}); err != nil {
			t.Fatal(err)
		}
		if got := asking.orders("run-1", 1); len(got) != 1 || got[0].Kind != trainer.Attach {
			t.Errorf("orders %+v", got)
		}
	})
}

// A library that says no ends the wait at once.
func TestRefusedKernelEndsTheSeed(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a")
		o.hear("run-1")
		o.do(o.command("germinate", "run-1", germinating("seed-1")))
		requests := sentOf[*leyline.KernelPrefetchRequest](o)
		if len(requests) != 1 {
			t.Fatalf("%d requests", len(requests))
		}
		request := requests[0]
		refusal := &leyline.KernelArtifactError{
			RequestId: request.GetRequestId(), BlueprintId: request.GetBlueprintId(), Reason: "missing_artifact",
		}
		if _, err := o.Refusal(t.Context(), delivered(refusal)); err != nil {
			t.Fatal(err)
		}
		seeds := o.view("run-1").Kasmina.Seeds
		if len(seeds) != 1 || seeds[0].Stage != leyline.SeedLifecycleStage_SEED_STAGE_EMBARGOED.String() || seeds[0].LastFailure != "missing_artifact" {
			t.Errorf("seeds %+v", seeds)
		}
	})
}

// A trainer that reports seldom, or is cut off, is silent in between. An emergency for
// all must reach its run all the same.
func TestSilentAndWatchedRunsAreStillKnown(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a", func(c *control.Config) {
			c.Core = kasmina.NewCore(kasmina.Config{Keyring: c.Keyring, Takeover: time.Millisecond})
		})
		watched := o.report("run-2")
		watched.Attributes = nil
		if _, err := o.State(t.Context(), watched); err != nil {
			t.Fatal(err)
		}
		o.hear("run-1", "run-1") // how often, the second one tells
		eventually(t, "the run is told of as silent", func() bool {
			if err := o.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
			return o.events("run_silent") == 1
		})
		if runs, err := o.Runs(t.Context(), "", 10); err != nil || !slices.Equal(runs, []string{"run-1", "run-2"}) {
			t.Errorf("runs %v, %v", runs, err)
		}
		if err := o.Emergency(t.Context(), "", kasmina.Emergency{Level: halt, ID: "signal-1"}); err != nil {
			t.Fatal(err)
		}
		if got := o.orders("run-1", 1); len(got) != 1 || got[0].Kind != trainer.Emergency {
			t.Errorf("orders %+v", got)
		}
	})
}
