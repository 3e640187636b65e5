package chaos_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/chaos"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// traffic is a steady flow of requests and answers while a fault is measured:
// a publisher and a consumer behind the fault, and a reader of the answers that
// the fault does not touch. The effect of a message is an answer that was read.
type traffic struct {
	t       *testing.T
	history *chaos.History
	// Log lines of each client.
	publisherLines, consumerLines atomic.Int64

	publisher, consumer *oona.Client

	mu      sync.Mutex
	acked   []time.Time // when each message was acknowledged
	handled map[string]int
	effects []time.Time // when answers were read

	stopped, drained, ended        context.Context // publishing, consuming and reading, in this order
	stop, drain, finish            context.CancelFunc
	publishing, consuming, reading sync.WaitGroup
}

const (
	pace        = 2 * time.Millisecond   // between two messages
	handling    = 5 * time.Millisecond   // so that some messages always wait: they are what a fault can lose
	insistPause = 250 * time.Millisecond // before a message is published again
)

// startTraffic lets requests flow through busURL; answers are read from redis.
func startTraffic(t *testing.T, busURL string, redis rueidis.Client) *traffic {
	f := &traffic{t: t, history: chaos.NewHistory(), handled: make(map[string]int)}
	f.stopped, f.stop = context.WithCancel(context.Background())
	f.drained, f.drain = context.WithCancel(context.Background())
	f.ended, f.finish = context.WithCancel(context.Background())
	logging := func(lines *atomic.Int64) oona.Config {
		cfg := consumerConfig(busURL, "consumer")
		cfg.Logger = slog.New(&countingHandler{lines: lines})
		return cfg
	}
	f.publisher, f.consumer = connect(t, logging(&f.publisherLines)), connect(t, logging(&f.consumerLines))
	f.publishing.Go(f.publish)
	f.consuming.Go(f.consume)
	f.reading.Go(func() { f.readAnswers(redis) })
	t.Cleanup(f.end)
	return f
}

// publish sends one message after the other, each until it is acknowledged.
func (f *traffic) publish() {
	for n := 0; f.stopped.Err() == nil; n++ {
		m := oona.Message{Payload: request(0, n)}
		for f.publisher.Publish(f.stopped, m) != nil {
			if pause(f.stopped, insistPause); f.stopped.Err() != nil {
				return // never acknowledged, and never promised
			}
		}
		f.history.Acknowledge(requestID(m))
		f.mu.Lock()
		f.acked = append(f.acked, time.Now())
		f.mu.Unlock()
		pause(f.stopped, pace)
	}
}

func (f *traffic) consume() {
	handler := func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
		r, _ := d.Payload.(*leyline.KernelPrefetchRequest)
		f.mu.Lock()
		f.handled[r.GetRequestId()]++
		f.mu.Unlock()
		pause(ctx, handling)
		return []oona.Message{{Payload: &leyline.KernelArtifactReady{RequestId: r.GetRequestId()}}}, nil
	}
	err := f.consumer.Consume(f.drained, context.Background(), oona.Subscription{
		Stream: streams.KernelRequests, Concurrency: 1, Handlers: map[leyline.BusMessageType]oona.Handler{requestKind: handler},
	})
	if err != nil {
		f.t.Error(err)
	}
}

// readAnswers reads the answers as they come, whatever becomes of them later.
func (f *traffic) readAnswers(redis rueidis.Client) {
	ring := keyring(f.t)
	for last := "0"; ; {
		ending := f.ended.Err() != nil // before the look, which then is the last one
		replies, err := command(redis, "XREAD", "COUNT", "1000", "STREAMS", streams.KernelReady, last).AsXRead()
		if err != nil || len(replies[streams.KernelReady]) == 0 {
			if ending {
				return
			}
			pause(f.ended, time.Millisecond)
		}
		for _, e := range replies[streams.KernelReady] {
			last = e.ID
			id, err := answerID(ring, e)
			if err != nil {
				f.t.Errorf("answer %s: %v", e.ID, err)
				continue
			}
			f.effect(id)
		}
	}
}

func (f *traffic) effect(requestID string) {
	f.history.Effect(messageOf(requestID))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.effects = append(f.effects, time.Now())
}

// firstAfter returns how long after a moment the first of the times is.
func firstAfter(times []time.Time, moment time.Time) (time.Duration, bool) {
	for _, at := range times {
		if at.After(moment) {
			return at.Sub(moment), true
		}
	}
	return 0, false
}

// recovery waits until messages are acknowledged and take effect again after
// the fault has gone, and returns how long each took.
func (f *traffic) recovery(healed time.Time) (publishing, consuming time.Duration) {
	f.t.Helper()
	return f.await(healed, &f.acked), f.awaitEffect(healed)
}

func (f *traffic) awaitEffect(healed time.Time) time.Duration {
	f.t.Helper()
	return f.await(healed, &f.effects)
}

func (f *traffic) await(healed time.Time, times *[]time.Time) time.Duration {
	f.t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := healed.Add(patient); time.Now().Before(deadline); <-poll.C {
		f.mu.Lock()
		took, found := firstAfter(*times, healed)
		f.mu.Unlock()
		if found {
			return took
		}
	}
	f.t.Errorf("no traffic again %v after the fault", patient)
	return patient
}

// end stops publishing and lets the consumer finish what was published.
func (f *traffic) end() {
	f.stop()
	f.publishing.Wait()
	f.drain()
	f.consuming.Wait()
	f.finish()
	f.reading.Wait()
}

// again counts the messages that reached the handler more than once.
func (f *traffic) again() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	again := 0
	for _, n := range f.handled {
		if n > 1 {
			again++
		}
	}
	return again
}

// countingHandler counts the lines an operator would see.
type countingHandler struct{ lines *atomic.Int64 }

func (h *countingHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

func (h *countingHandler) Handle(context.Context, slog.Record) error {
	h.lines.Add(1)
	return nil
}

func (h *countingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *countingHandler) WithGroup(string) slog.Handler      { return h }
