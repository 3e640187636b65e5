package chaos_test

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/chaos"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
)

const (
	publishers  = 4
	outstanding = 4000 // published but not answered, at most
	maxBatch    = 64   // messages of one publish
)

// plan is the size of a chaos run.
type plan struct {
	messages, kills, restarts int
	consumers                 int
	keyed                     bool // what is about one blueprint is handled in order
}

// run is one chaos run: publishers here, consumers in processes of their own.
type run struct {
	plan
	t        *testing.T
	server   *redistest.Server
	raw      rueidis.Client
	history  *chaos.History
	rng      *rand.Rand
	acked    atomic.Int64
	answered atomic.Int64 // length of the ready stream when it was last asked
	workers  []*process
}

// TestNothingAcknowledgedIsLostOrTakesEffectTwice kills consumer processes and
// Redis at random points of a run and then reads the whole history.
func TestNothingAcknowledgedIsLostOrTakesEffectTwice(t *testing.T) {
	r := newRun(t, plan{options.messages, options.kills, options.restarts, 2, false})
	v := r.do()
	report("chaos messages=%d kills=%d restarts=%d lost=%d twice=%d seed=%d",
		v.Acknowledged, r.kills, r.restarts, v.Lost, v.Twice, options.seed)
}

// TestOrderOfAKeySurvivesKills does the same to one consumer that keeps the
// requests for one blueprint in order.
func TestOrderOfAKeySurvivesKills(t *testing.T) {
	r := newRun(t, plan{options.messages / 10, options.kills / 5, options.restarts / 2, 1, true})
	v := r.do()
	if v.Reordered > 0 {
		t.Errorf("%d effects out of order; again with -seed %d", v.Reordered, options.seed)
	}
	report("chaos-order messages=%d kills=%d restarts=%d lost=%d twice=%d reordered=%d seed=%d",
		v.Acknowledged, r.kills, r.restarts, v.Lost, v.Twice, v.Reordered, options.seed)
}

func newRun(t *testing.T, p plan) *run {
	server := redistest.Start(t, redistest.AOF()...)
	r := &run{t: t, plan: p, server: server, raw: raw(t, server.URL), history: chaos.NewHistory(), rng: random(0)}
	for i := range p.consumers {
		r.workers = append(r.workers, startConsumer(t, server.URL, "consumer-"+strconv.Itoa(i), p.keyed))
	}
	return r
}

// do publishes, strikes as scheduled, and returns what came of it.
func (r *run) do() chaos.Verdict {
	ctx, stop := context.WithCancel(context.Background())
	var publishing sync.WaitGroup
	defer publishing.Wait()
	defer stop()
	for i := range publishers {
		client := connect(r.t, oona.Config{URL: r.server.URL, MaxStreamLength: unbounded})
		publishing.Go(func() { r.publish(ctx, client, i, random(uint64(i)+1)) })
	}
	begun := time.Now()
	for _, e := range r.schedule() {
		r.awaitProgress(func() bool { return int(r.answered.Load()) >= e.at })
		pause(ctx, time.Duration(r.rng.IntN(20_000))*time.Microsecond)
		e.strike(r)
	}
	r.awaitProgress(func() bool {
		return r.acked.Load() == int64(r.messages) && idle(r.raw, streams.KernelRequests)
	})
	for _, w := range r.workers {
		w.stop()
	}
	return r.judge(time.Since(begun))
}

// event is one strike of the schedule.
type event struct {
	at     int // answers
	strike func(*run)
}

// schedule spreads kills and restarts over the run, from the seed.
func (r *run) schedule() []event {
	var events []event
	for range r.kills {
		victim := r.rng.IntN(r.consumers)
		events = append(events, event{r.rng.IntN(r.messages), func(r *run) {
			r.workers[victim].kill()
			r.workers[victim].start()
		}})
	}
	for range r.restarts {
		events = append(events, event{r.rng.IntN(r.messages), func(r *run) { r.server.Restart() }})
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return events
}

// publish publishes the share of one publisher until all of it is acknowledged.
// What may or may not have been stored is published again, as it is.
func (r *run) publish(ctx context.Context, client *oona.Client, publisher int, rng *rand.Rand) {
	share := r.messages / publishers
	if publisher < r.messages%publishers {
		share++
	}
	for n := 0; n < share && ctx.Err() == nil; {
		if r.acked.Load()-r.answered.Load() > outstanding {
			pause(ctx, time.Millisecond)
			continue
		}
		batch := make([]oona.Message, 0, maxBatch)
		for range min(1+rng.IntN(maxBatch), share-n) {
			batch = append(batch, oona.Message{Payload: request(publisher, n)})
			n++
		}
		r.insist(ctx, client, batch)
	}
}

func (r *run) insist(ctx context.Context, client *oona.Client, batch []oona.Message) {
	for len(batch) > 0 && ctx.Err() == nil {
		failed := unsent(batch, client.Publish(ctx, batch...))
		missing := make(map[string]bool, len(failed))
		for _, m := range failed {
			missing[requestID(m)] = true
		}
		for _, m := range batch {
			if !missing[requestID(m)] {
				r.history.Acknowledge(requestID(m))
				r.acked.Add(1)
			}
		}
		if batch = failed; len(batch) == 0 {
			return
		}
		// Waiting for a sign of life keeps the breaker closed: how long an open
		// one stays open is not what this run is about.
		for pause(ctx, 20*time.Millisecond); ctx.Err() == nil && client.Ping(ctx) != nil; {
			pause(ctx, 20*time.Millisecond)
		}
	}
}

func requestID(m oona.Message) string {
	named, _ := m.Payload.(interface{ GetRequestId() string })
	return named.GetRequestId()
}

// awaitProgress waits for something, as long as answers keep coming.
func (r *run) awaitProgress(holds func() bool) {
	r.t.Helper()
	poll := time.NewTicker(3 * time.Millisecond)
	defer poll.Stop()
	for moved := time.Now(); time.Since(moved) < patient; <-poll.C {
		if n, err := length(r.raw, streams.KernelReady); err == nil && int64(n) != r.answered.Load() {
			r.answered.Store(int64(n))
			moved = time.Now()
		}
		if holds() {
			return
		}
	}
	r.t.Errorf("stuck: %d acknowledged, %d answered", r.acked.Load(), r.answered.Load())
}

// judge reads every answer.
func (r *run) judge(took time.Duration) chaos.Verdict {
	r.t.Helper()
	order := r.storedOrder()
	readAnswers(r.t, r.raw, func(id string) { r.history.Effect(order[id]) })
	v := r.history.Verdict()
	refused := deadReasons(r.t, r.raw)
	r.t.Logf("%d messages in %v: lost %d, twice %d, reordered %d; published again and refused as replays %v",
		v.Acknowledged, took.Round(time.Millisecond), v.Lost, v.Twice, v.Reordered, refused)
	if v.Lost > 0 || v.Twice > 0 || v.Unpublished > 0 || v.Acknowledged != r.messages {
		r.t.Errorf("verdict %+v, %d messages expected; again with -seed %d", v, r.messages, options.seed)
	}
	for reason, n := range refused {
		if reason != deadletter.ReasonReplay {
			r.t.Errorf("%d messages were refused as %s", n, reason)
		}
	}
	return v
}

// storedOrder numbers the requests in the order in which they first lie on the
// stream: the order of their key is what a consumer can keep.
func (r *run) storedOrder() map[string]chaos.Message {
	r.t.Helper()
	order := make(map[string]chaos.Message)
	eachEntry(r.t, r.raw, streams.KernelRequests, func(e rueidis.XRangeEntry) {
		m, err := requestOf(e)
		if err != nil {
			r.t.Errorf("request %s: %v", e.ID, err)
			return
		}
		if _, again := order[m.GetRequestId()]; !again {
			order[m.GetRequestId()] = chaos.Message{ID: m.GetRequestId(), Key: m.GetBlueprintId(), Number: len(order)}
		}
	})
	return order
}

func requestOf(e rueidis.XRangeEntry) (*leyline.KernelPrefetchRequest, error) {
	var envelope leyline.BusEnvelope
	var m leyline.KernelPrefetchRequest
	err := errors.Join(proto.Unmarshal([]byte(e.FieldValues["payload"]), &envelope), proto.Unmarshal(envelope.GetPayload(), &m))
	return &m, err
}
