package oona_test

import (
	"context"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
)

func dropped(c *oona.Client, reason string) (n int64) {
	for _, drop := range c.Drops() {
		if drop.Reason == reason {
			n += drop.Count
		}
	}
	return n
}

// Whoever only answers is not asked to look for marks before: the second process
// does not know what the first has answered, and still its answer is not published.
func TestRequestThatAnotherProcessAnsweredIsNotAnsweredAgain(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL
	first := connect(t, url, nil)
	second := connect(t, url, func(cfg *oona.Config) { cfg.Consumer = "other" })
	request := oona.Message{Payload: &leyline.KernelPrefetchRequest{RequestId: "r", IssuedAt: timestamppb.Now()}}
	answer := func(context.Context, *oona.Delivery) ([]oona.Message, error) {
		return []oona.Message{{Payload: &leyline.KernelArtifactReady{RequestId: "r"}}}, nil
	}
	for _, c := range []*oona.Client{first, second} {
		fetch, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- c.Consume(fetch, context.Background(), oona.Subscription{
				Stream: "oona.kernels.requests", AnswersOnly: true,
				Handlers: map[leyline.BusMessageType]oona.Handler{
					leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST: answer,
				}})
		}()
		if err := c.Publish(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the request is settled", func() bool {
			stats, err := c.Stats(t.Context())
			return err == nil && stats.Consuming.Finished+stats.Consuming.DeadLettered > 0
		})
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	raw := rawClient(t, url)
	answers, err := raw.Do(t.Context(), raw.B().Xlen().Key("oona.kernels.ready").Build()).AsInt64()
	if err != nil || answers != 1 || dropped(second, deadletter.ReasonReplay) != 1 {
		t.Errorf("%d answers, %v; dropped by the second: %v", answers, err, second.Drops())
	}
}

func TestAnswerToSomebodyElseLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL
	c := connect(t, url, nil)
	var handled atomic.Int64
	start(t, c, oona.Subscription{
		Stream: "oona.kernels.ready",
		Wanted: func(d *oona.Delivery) bool {
			ready, _ := d.Payload.(*leyline.KernelArtifactReady)
			if ready.GetRequestId() == "panic" {
				panic("no idea")
			}
			return ready.GetRequestId() == "mine"
		},
		Handlers: map[leyline.BusMessageType]oona.Handler{
			leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY: func(context.Context, *oona.Delivery) ([]oona.Message, error) {
				handled.Add(1)
				return nil, nil
			},
		}})
	for _, id := range []string{"theirs", "theirs", "panic", "mine"} {
		if err := c.Publish(t.Context(), oona.Message{Payload: &leyline.KernelArtifactReady{RequestId: id}}); err != nil {
			t.Fatal(err)
		}
	}
	raw := rawClient(t, url)
	raw.Do(t.Context(), raw.B().Xadd().Key("oona.kernels.ready").Id("*").FieldValue().FieldValue("payload", "forged").
		FieldValue("signature", "none").Build())
	waitFor(t, "everything is settled", func() bool {
		groups, err := raw.Do(t.Context(), raw.B().XinfoGroups().Key("oona.kernels.ready").Build()).ToArray()
		if err != nil || len(groups) != 1 {
			return false
		}
		group, err := groups[0].AsMap()
		if err != nil {
			return false
		}
		read, pending := group["entries-read"], group["pending"]
		n, _ := read.AsInt64()
		left, _ := pending.AsInt64()
		return n == 5 && left == 0
	})
	waitFor(t, "one is handled, the forgery and the panic are kept", func() bool {
		return handled.Load() == 1 && dropped(c, deadletter.ReasonBadSignature) == 1 && dropped(c, deadletter.ReasonPermanent) == 1 &&
			dropped(c, deadletter.ReasonReplay) == 0
	})
	marks, err := raw.Do(t.Context(), raw.B().Keys().Pattern("oona:replay:*").Build()).AsStrSlice()
	if err != nil || len(marks) != 1 {
		t.Errorf("marks %v, %v: one of the wanted answer", marks, err)
	}
}
