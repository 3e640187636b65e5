package telemetryqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
)

// fakeBus is a bus that can be down, and that refuses some messages.
type fakeBus struct {
	mu      sync.Mutex
	down    bool
	refused map[string]error // by packet or blueprint id
	taken   []string
	tries   int
}

func (b *fakeBus) set(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

func (b *fakeBus) take(ctx context.Context, id string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", oona.ErrUnavailable, ctx.Err())
	}
	if b.down {
		return fmt.Errorf("publish: %w", oona.ErrUnavailable)
	}
	if err := b.refused[id]; err != nil {
		return err
	}
	b.taken = append(b.taken, id)
	return nil
}

func (b *fakeBus) ids() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.taken...)
}

func (b *fakeBus) publish(ctx context.Context, messages ...oona.Message) error {
	b.mu.Lock() // it does not come back in the middle of a pipeline
	defer b.mu.Unlock()
	b.tries++
	var failed []error
	for i, message := range messages {
		packet, _ := message.Payload.(*leyline.TelemetryPacket)
		if err := b.take(ctx, packet.GetPacketId()); err != nil {
			failed = append(failed, &oona.PublishError{Index: i, Err: err})
		}
	}
	return errors.Join(failed...)
}

func newTestQueue(bus *fakeBus) *Queue {
	return New(Config{
		Publish: bus.publish, Logger: slog.New(slog.DiscardHandler),
		Keep: func(*leyline.TelemetryPacket) bool { return false },
	})
}

func packetNamed(id string) *leyline.TelemetryPacket {
	return telemetry.New("test", "test").WithID(id).Build()
}

func numbered(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("p%04d", i)
	}
	return ids
}

func offerAll(queue *Queue, ids []string) {
	for _, id := range ids {
		queue.Offer(packetNamed(id))
	}
}

func TestDeadBusNeverHoldsUpWhoReports(t *testing.T) {
	queue := newTestQueue(&fakeBus{down: true})
	offerAll(queue, numbered(queueSize+50)) // would hang here
	if got := queue.dropped.Load(); got != 50 {
		t.Errorf("%d packets counted as dropped, want 50", got)
	}
	queue.Offer(nil)
	if got := queue.dropped.Load(); got != 50 {
		t.Error("nothing at all was counted as a dropped packet")
	}
}

// Every part offers from a goroutine of its own, and none waits for the others.
func TestPacketsOfferedByManyPartsAtOnceAllGoOut(t *testing.T) {
	bus := &fakeBus{}
	queue := newTestQueue(bus)
	stop := run(t, queue)
	ids := numbered(queueSize)
	var parts sync.WaitGroup
	for share := range slices.Chunk(ids, queueSize/8) {
		parts.Go(func() { offerAll(queue, share) })
	}
	parts.Wait()
	eventually(t, "all packets are published", func() bool { return len(bus.ids()) == len(ids) })
	stop()
	if diff := cmp.Diff(ids, slices.Sorted(slices.Values(bus.ids()))); diff != "" || queue.dropped.Load() != 0 {
		t.Errorf("%d dropped, published (-want +got): %s", queue.dropped.Load(), diff)
	}
}

func TestOutageKeepsPacketsAndTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &fakeBus{down: true}
		queue := newTestQueue(bus)
		stop := run(t, queue)
		ids := numbered(100)
		offerAll(queue, ids)
		time.Sleep(time.Minute)
		if got := bus.ids(); len(got) != 0 {
			t.Errorf("a dead bus took %v", got)
		}
		bus.set(false)
		time.Sleep(2 * retryPause)
		stop()
		if diff := cmp.Diff(ids, bus.ids()); diff != "" {
			t.Error("published (-want +got):", diff)
		}
		if bus.tries > 100+2+int(time.Minute/retryPause) {
			t.Errorf("%d attempts: a dead bus is hammered", bus.tries)
		}
	})
}

func TestRefusedPacketDoesNotHoldUpTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &fakeBus{refused: map[string]error{"p0001": oona.ErrTooLarge, "p0002": oona.ErrRateLimited, "p0003": errors.New("odd")}}
		queue := newTestQueue(bus)
		stop := run(t, queue)
		offerAll(queue, numbered(5))
		synctest.Wait()
		stop()
		if diff := cmp.Diff([]string{"p0000", "p0004"}, bus.ids()); diff != "" {
			t.Error("published (-want +got):", diff)
		}
		if got := queue.failed.Load(); got != 3 {
			t.Errorf("%d failures counted, want 3", got)
		}
	})
}

func TestPacketInHandSurvivesTheStopOfItsWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &fakeBus{down: true}
		queue := newTestQueue(bus)
		ids := numbered(3)
		offerAll(queue, ids)
		stop := run(t, queue)
		time.Sleep(time.Second)
		stop()
		if err := queue.Flush(t.Context()); !errors.Is(err, oona.ErrUnavailable) {
			t.Errorf("flush to a dead bus = %v", err)
		}
		bus.set(false)
		if err := queue.Flush(t.Context()); err != nil {
			t.Errorf("flush: %v", err)
		}
		if diff := cmp.Diff(ids, bus.ids()); diff != "" {
			t.Error("published (-want +got):", diff)
		}
	})
}

func TestPublishedPacketsAreCountedByPriority(t *testing.T) {
	bus := &fakeBus{}
	queue := newTestQueue(bus)
	for level, times := range map[leyline.TelemetryLevel]int{
		leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO:     3,
		leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING:  2,
		leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL: 1,
	} {
		for range times {
			queue.Offer(telemetry.New("test", "test").Level(level).Build())
		}
	}
	if err := queue.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, p := range telemetry.MetricPoints(queue.Figures()) {
		key := p.Name
		if priority, found := p.Attributes["priority"]; found {
			key = priority
		}
		got[key] = p.Value
	}
	want := map[string]float64{
		"weatherlight.telemetry.dropped_total": 0, "weatherlight.telemetry.publish_failures_total": 0,
		"MESSAGE_PRIORITY_NORMAL": 3, "MESSAGE_PRIORITY_HIGH": 2, "MESSAGE_PRIORITY_CRITICAL": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("points (-want +got):", diff)
	}
}

// What is told while the bus is asked goes out with the next question, not one by one.
func TestPacketsGoOutTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &fakeBus{refused: map[string]error{"p0070": oona.ErrTooLarge}}
		queue := newTestQueue(bus)
		ids := numbered(4 * batchSize)
		offerAll(queue, ids)
		stop := run(t, queue)
		synctest.Wait()
		stop()
		want := slices.DeleteFunc(ids, func(id string) bool { return id == "p0070" })
		if diff := cmp.Diff(want, bus.ids()); diff != "" || bus.tries != 4 || queue.failed.Load() != 1 {
			t.Errorf("%d questions, %d refused, published (-want +got): %s", bus.tries, queue.failed.Load(), diff)
		}
	})
}

// A packet that the bus lost on the way goes again, alone: the others are there.
func TestPacketsOfABatchThatAreThereDoNotGoAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &fakeBus{refused: map[string]error{"p0001": oona.ErrUnavailable}}
		queue := newTestQueue(bus)
		offerAll(queue, numbered(3))
		stop := run(t, queue)
		synctest.Wait()
		bus.mu.Lock()
		bus.refused = nil
		bus.mu.Unlock()
		time.Sleep(2 * retryPause)
		stop()
		if diff := cmp.Diff([]string{"p0000", "p0002", "p0001"}, bus.ids()); diff != "" {
			t.Error("published (-want +got):", diff)
		}
	})
}

// An alarm that the bus has no room for is late, not lost; what is not urgent is
// dropped and counted.
func TestAlarmThatIsRefusedForLackOfRoomIsSetAside(t *testing.T) {
	for _, refusal := range []error{oona.ErrRateLimited, oona.ErrOverloaded} {
		var kept []string
		queue := New(Config{
			Publish: func(context.Context, ...oona.Message) error { return refusal },
			Keep: func(packet *leyline.TelemetryPacket) bool {
				kept = append(kept, packet.GetPacketId())
				return true
			},
			Logger: slog.New(slog.DiscardHandler),
		})
		for _, level := range []leyline.TelemetryLevel{
			leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL,
		} {
			queue.Offer(&leyline.TelemetryPacket{PacketId: level.String(), Level: level})
		}
		if err := queue.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []string{leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL.String()}; !slices.Equal(kept, want) || queue.failed.Load() != 1 {
			t.Errorf("%v: kept %v, want %v; %d dropped", refusal, kept, want, queue.failed.Load())
		}
	}
}
