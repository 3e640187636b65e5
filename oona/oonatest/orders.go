package oonatest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
)

const typeCommand = leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND

// follow follows the orders until it has taken so many.
func (b *bus) follow(c *oona.Client, take func(*leyline.AdaptationCommand), count int) {
	b.t.Helper()
	ctx, end := context.WithTimeout(context.Background(), patient)
	defer end()
	err := c.FollowOrders(ctx, orderStream, func(o *leyline.AdaptationCommand) {
		take(o)
		if count--; count == 0 {
			end()
		}
	})
	if err != nil || count > 0 {
		b.t.Errorf("follow orders: %v, %d are missing", err, count)
	}
}

// followAll notes every order until the test, or the returned function, ends it.
func (b *bus) followAll(c *oona.Client) (seen *journal, stop func()) {
	b.t.Helper()
	ctx, end := context.WithCancel(context.Background())
	seen = newJournal()
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.FollowOrders(ctx, orderStream, func(o *leyline.AdaptationCommand) { seen.add(o.GetCommandId()) }); err != nil {
			b.t.Errorf("follow orders: %v", err)
		}
	})
	stop = sync.OnceFunc(func() {
		end()
		running.Wait()
	})
	b.t.Cleanup(stop)
	return seen, stop
}

func (b *bus) issue(r *oona.Records, numbers ...int) {
	b.t.Helper()
	for _, number := range numbers {
		w := oona.RecordWrite{Key: recordKey, Version: b.load(r, recordKey).Version, Orders: []*leyline.AdaptationCommand{order(number)}}
		b.save(r, w)
	}
}

func testOrdersAreFollowed(t *testing.T, b *bus) {
	r := b.records(b.client(nil))
	b.issue(r, 1, 2)
	seen, stop := b.followAll(b.client(nil))
	late, _ := b.followAll(b.client(nil)) // there is no group that would share them
	b.eventually("what is there already is read", func() bool { return seen.count("1") == 1 && seen.count("2") == 1 })
	b.issue(r, 3)
	b.eventually("what comes is read", func() bool { return seen.count("3") == 1 && late.count("3") == 1 })
	begun := time.Now()
	stop()
	if took := time.Since(begun); took > patient/2 {
		t.Errorf("took %v to stop", took)
	}
	b.issue(r, 4)
	b.eventually("the other reads on", func() bool { return late.count("4") == 1 })
	b.same("orders", map[string]int{"1": 1, "2": 1, "3": 1}, seen.all())
}

func testOrdersAfterAFlush(t *testing.T, b *bus) {
	r := b.records(b.client(nil))
	seen, _ := b.followAll(b.client(nil))
	for round := range 3 {
		b.issue(r, round)
		b.eventually(fmt.Sprint("the order of round ", round), func() bool { return seen.count(strconv.Itoa(round)) == 1 })
		b.must("FLUSHALL")
		flushed := time.Now() // an order of the same millisecond would have the same id, and be found by the next look
		b.eventually("the clock has moved on", func() bool { return time.Since(flushed) > 2*time.Millisecond })
	}
}

func testOrdersAfterARestart(t *testing.T, b *bus) {
	r := b.records(b.client(nil))
	seen, _ := b.followAll(b.client(nil))
	b.issue(r, 1)
	b.eventually("the first order", func() bool { return seen.count("1") == 1 })
	b.Restart()
	b.issue(r, 2)
	b.eventually("the order after the restart", func() bool { return seen.count("2") == 1 })
}

func testForgedOrdersAreDropped(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.Trust = oona.TrustCompatible })
	forged := order(666)
	attributes := func(stream string, age time.Duration) map[string]string {
		return map[string]string{"stream": stream, "issued_at_ms": strconv.FormatInt(time.Now().Add(-age).UnixMilli(), 10),
			"key_id": b.ring.KeyID(), "nonce": "n"}
	}
	good := b.envelope(forged, attributes(orderStream, 0))
	b.add(orderStream, "payload", string(good))
	b.add(orderStream, "payload", string(good), "signature", b.ring.SignEnvelope([]byte("another")))
	b.add(orderStream, "payload", string(make([]byte, 300<<10)), "signature", "x")
	b.add(orderStream, "bootstrap", "")
	b.add(orderStream, "other", "field")
	b.addSigned(orderStream, []byte("\xff\xff"))
	for _, envelope := range [][]byte{
		b.envelope(forged, nil), // as of a prototype peer: of any stream and time
		b.envelope(forged, map[string]string{"key_id": "k", "issued_at_ms": "1", "nonce": "n"}),
		b.envelope(forged, attributes("oona.run.other", 0)),
		b.envelope(forged, attributes(orderStream, time.Hour)),
		b.envelope(forged, attributes(orderStream, -time.Hour)),
		b.wrapped(typeCommand, []byte("\xff\xff"), attributes(orderStream, 0)),
		b.wrapped(typeState, nil, attributes(orderStream, 0)),
	} {
		b.addSigned(orderStream, envelope)
	}
	b.issue(b.records(c), 1)
	b.follow(c, func(o *leyline.AdaptationCommand) {
		if o.GetCommandId() != "1" {
			t.Errorf("took order %s", o.GetCommandId())
		}
	}, 1)
	drops := make(map[string]int64)
	for _, drop := range c.Drops() {
		if drop.Stream == orderStream {
			drops[drop.Reason] = drop.Count
		}
	}
	want := map[string]int64{deadletter.ReasonUnsigned: 1, deadletter.ReasonBadSignature: 1, deadletter.ReasonOversized: 1, deadletter.ReasonUnbound: 2,
		deadletter.ReasonUndecodable: 3, deadletter.ReasonForeignStream: 1, deadletter.ReasonStale: 1, deadletter.ReasonFuture: 1, deadletter.ReasonWrongType: 1}
	b.same("drops", want, drops)
}

// A report that somebody captured and stores again is as valid as the first, and as
// old: when it was signed and when it was stored tell it.
func testCapturedReportIsTold(t *testing.T, b *bus) {
	c := b.client(nil)
	attributes := map[string]string{"trainer_protocol": "1", "report": "7"}
	if err := c.PublishReport(context.Background(), state("s"), attributes); err != nil {
		t.Fatal(err)
	}
	captured := b.entries(streams.Normal)[0]
	later := time.Now().Add(time.Hour)
	b.must("XADD", streams.Normal, strconv.FormatInt(later.UnixMilli(), 10)+"-0",
		"payload", captured.FieldValues["payload"], "signature", captured.FieldValues["signature"])
	b.addSigned(streams.Normal, []byte(unhex(t, goldenState)))
	got := make(chan *oona.Delivery, 3)
	b.consume(c, oona.Subscription{Stream: streams.Normal, Concurrency: 1,
		Handlers: handlers(typeState, seeing(func(d *oona.Delivery) { got <- d }))})
	first, second, prototype := <-got, <-got, <-got
	b.same("attributes", attributes, first.Attributes)
	if age := first.Published.Sub(first.Issued).Abs(); age > patient || first.Issued.IsZero() {
		t.Errorf("issued %v, published %v", first.Issued, first.Published)
	}
	if second.Issued.Sub(first.Issued).Abs() > patient || second.Published.Before(first.Published) {
		t.Errorf("the captured one was issued at %v, not %v, and stored at %v", second.Issued, first.Issued, second.Published)
	}
	// Whoever writes may choose an id from the future. It must not make what follows
	// look old.
	if ahead := time.Until(second.Published); ahead > patient {
		t.Errorf("an entry from the future is %v ahead", ahead)
	}
	if !prototype.Issued.IsZero() {
		t.Errorf("a message that tells no time was issued at %v", prototype.Issued)
	}
}

func testClockIsThatOfTheBus(t *testing.T, b *bus) {
	c := b.client(nil)
	words, err := b.do("TIME").AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if gap := c.Now().Sub(time.Unix(seconds, 0)); gap < -patient || gap > patient {
		t.Errorf("the clock is %v away from that of the bus", gap)
	}
}
