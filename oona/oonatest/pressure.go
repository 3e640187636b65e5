package oonatest

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
)

func testFlush(t *testing.T, b *bus) {
	c := b.client(nil)
	seen := b.answering(c)
	b.publish(c, oona.Message{Payload: request("before")})
	b.settled(streams.KernelRequests, "g")
	b.must("FLUSHALL")
	b.publish(c, oona.Message{Payload: request("after")})
	b.eventually("the request after the flush is answered", func() bool { return b.answers() == 1 })
	b.same("handled", map[string]int{"before": 1, "after": 1}, seen.all())
}

// admitted publishes until a message of a priority is refused, and returns how many
// were not.
func (b *bus) admitted(c *oona.Client, p leyline.MessagePriority) int {
	b.t.Helper()
	for n := range 100 {
		err := c.Publish(context.Background(),
			oona.Message{Stream: streams.Telemetry, Payload: &leyline.TelemetryPacket{}, Priority: p})
		if errors.Is(err, oona.ErrOverloaded) {
			return n
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	return 100
}

func testPressure(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.MaxStreamLength = 100 })
	if err := c.EnsureGroups(context.Background(), "g", streams.Telemetry); err != nil {
		t.Fatal(err)
	}
	// A consumer that is alive and slow: it has read nothing yet.
	b.must("XGROUP", "CREATECONSUMER", streams.Telemetry, "g", "slow")
	got := []int{
		b.admitted(c, leyline.MessagePriority_MESSAGE_PRIORITY_LOW),
		b.admitted(c, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL),
		b.admitted(c, leyline.MessagePriority_MESSAGE_PRIORITY_HIGH),
		b.admitted(c, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL),
	}
	b.same("admitted by priority", []int{50, 25, 10, 10}, got)
	if h := c.Health(); h.PublishFailures != 0 || h.PublishState != leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED {
		t.Errorf("overload tripped the breaker: %+v", h)
	}
	if !c.Health().Conservative {
		t.Error("a full stream did not begin conservative mode")
	}
	b.publish(c, oona.Message{Payload: state("another stream is free")})
	if err := c.Publish(context.Background(), oona.Message{Payload: &leyline.EmergencySignal{}}); err != nil {
		t.Errorf("emergency: %v", err)
	}
	if n := len(b.entries(streams.Emergency)); n != 1 {
		t.Errorf("%d entries on the emergency stream: traffic was diverted", n)
	}
}

func testUnreadGroup(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.MaxStreamLength = 50 })
	if err := c.EnsureGroups(context.Background(), "prototype-peer", streams.KernelRequests); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		b.publish(c, oona.Message{Payload: request(strconv.Itoa(i))})
	}
}

func testTrim(t *testing.T, b *bus) {
	c := b.client(nil)
	b.noting(c)
	for i := range 5 {
		b.publish(c, oona.Message{Payload: state(strconv.Itoa(i))})
	}
	b.settled(streams.Normal, "g")
	ctx := context.Background()
	if err := c.EnsureGroups(ctx, "behind", streams.Normal); err != nil {
		t.Fatal(err)
	}
	trim := func() int64 {
		<-time.After(2 * time.Millisecond) // entries must be older than the time to live
		trimmed, err := c.Admin().Trim(ctx, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		return trimmed[streams.Normal]
	}
	if n := trim(); n != 0 {
		t.Errorf("%d entries were removed that a group has not read", n)
	}
	b.must("XREADGROUP", "GROUP", "behind", "x", "COUNT", "3", "STREAMS", streams.Normal, ">")
	if n := trim(); n != 0 {
		t.Errorf("%d entries were removed that are pending", n)
	}
	for _, e := range b.entries(streams.Normal)[:2] {
		b.must("XACK", streams.Normal, "behind", e.ID)
	}
	if n := trim(); n != 2 {
		t.Errorf("trimmed %d, want the 2 that every group has finished", n)
	}
}

func testMetrics(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.EmergencyPerMinute = 4 })
	ctx := context.Background()
	sent := 0
	for range 9 {
		err := c.PublishTelemetry(ctx, &leyline.TelemetryPacket{SourceSubsystem: "ta miyo"}, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL)
		if err == nil {
			sent++
		} else if !errors.Is(err, oona.ErrRateLimited) {
			t.Fatal(err)
		}
	}
	b.publish(c, oona.Message{Payload: state("s")})
	stats, err := c.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"publish_total": 4, "publish_rerouted": 0, "publish_dropped": 0, "queue_depth_max": 3, "retry_total": 0,
		"dead_letter_total": 0, "breaker_publish_open": 0, "breaker_consume_open": 0, "kernel_stale_dropped": 0,
		"kernel_replay_dropped": 0, "emergency_published": 3, "emergency_rate_dropped": 6, "queue_depth_normal": 1,
		"queue_depth_emergency": 3, "queue_depth_kernel_requests": 0, "queue_depth_kernel_ready": 0,
		"queue_depth_kernel_errors": 0, "publish_breaker_state": 1, "consume_breaker_state": 1, "conservative_mode": 0,
		"emergency_published.src.ta_miyo": 3, "emergency_rate_dropped.src.ta_miyo": 6,
		"emergency_refill_rate_per_s": 4.0 / 60, "emergency_bucket_capacity_per_min": 4,
	}
	got, metrics := make(map[string]float64), telemetry.Values(stats.Figures(), "oona.")
	for name := range want {
		if value, ok := metrics[name]; ok {
			got[name] = value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || sent != 3 {
		t.Errorf("sent %d, metrics (-want +got):\n%s", sent, diff)
	}
	if stats.Publishing.LastMs <= 0 || stats.Emergency.Budget.Tokens > 2 {
		t.Errorf("latency %v ms, tokens %v", stats.Publishing.LastMs, stats.Emergency.Budget.Tokens)
	}
	if _, ok := metrics["consume_latency_ms"]; !ok {
		t.Error("consume_latency_ms is missing")
	}
}
