package oonatest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/oona"
)

// strand reads entries for a consumer that never finishes them: what is left
// behind by a process that was killed in between.
func (b *bus) strand(stream, group, consumer string) {
	b.t.Helper()
	if err := b.do("XREADGROUP", "GROUP", group, consumer, "COUNT", "100", "STREAMS", stream, ">").Error(); err != nil {
		b.t.Fatalf("strand: %v", err)
	}
}

func (b *bus) requests(c *oona.Client, n int) map[string]int {
	b.t.Helper()
	want := make(map[string]int, n)
	for i := range n {
		id := strconv.Itoa(i)
		want[id] = 1
		b.publish(c, oona.Message{Payload: request(id)})
	}
	return want
}

func testClaim(t *testing.T, b *bus) {
	c := b.client(func(cfg *oona.Config) { cfg.ClaimIdle = 50 * time.Millisecond })
	want := b.requests(c, 30)
	b.must("XGROUP", "CREATE", streams.KernelRequests, "g", "0")
	b.strand(streams.KernelRequests, "g", "dead")
	seen := b.answering(c)
	b.eventually("all stranded requests are answered", func() bool { return b.answers() == len(want) })
	b.settled(streams.KernelRequests, "g")
	b.same("handled", want, seen.all())
}

func testOwnPending(t *testing.T, b *bus) {
	c := b.client(nil)
	want := b.requests(c, 250)
	b.must("XGROUP", "CREATE", streams.KernelRequests, "g", "0")
	for range 3 {
		b.strand(streams.KernelRequests, "g", "c")
	}
	b.publish(c, oona.Message{Payload: request("new")})
	want["new"] = 1
	attempts := make(chan string, len(want))
	seen := newJournal()
	answer := answering(seen)
	b.consume(c, oona.Subscription{Stream: streams.KernelRequests, Concurrency: 1,
		Handlers: handlers(typeRequest, func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
			attempts <- fmt.Sprint(d.Attempt)
			return answer(ctx, d)
		})})
	b.eventually("all are answered", func() bool { return b.answers() == len(want) })
	b.settled(streams.KernelRequests, "g")
	b.same("handled", want, seen.all())
	for range 250 {
		if got := <-attempts; got != "2" {
			t.Fatalf("a stranded entry came as attempt %s", got)
		}
	}
	if got := <-attempts; got != "1" {
		t.Errorf("the new entry came as attempt %s", got)
	}
}

// blocked returns a handler that answers only once released.
func blocked(j *journal, started chan<- struct{}, release <-chan struct{}) oona.Handler {
	answer := answering(j)
	return func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
		started <- struct{}{}
		<-release
		return answer(ctx, d)
	}
}

// overtake has a second client answer what the first has in hand, and then the first.
func (b *bus) overtake(first, second *oona.Client) (handled int) {
	b.t.Helper()
	slow := newJournal()
	started, release := make(chan struct{}, 1), make(chan struct{})
	b.publish(first, oona.Message{Payload: request("r")})
	stop := b.consume(first, oona.Subscription{Stream: streams.KernelRequests,
		Handlers: handlers(typeRequest, blocked(slow, started, release))})
	<-started
	quick := b.answering(second)
	b.eventually("the second client answers", func() bool { return b.answers() == 1 })
	close(release)
	stop()
	return slow.count("r") + quick.count("r")
}

func testOwnedTwice(t *testing.T, b *bus) {
	slow := b.client(func(cfg *oona.Config) { cfg.Consumer, cfg.ClaimIdle = "slow", time.Hour })
	quick := b.client(func(cfg *oona.Config) { cfg.Consumer, cfg.ClaimIdle = "quick", 50*time.Millisecond })
	if handled := b.overtake(slow, quick); handled != 2 || b.answers() != 1 {
		t.Errorf("handled %d times, answered %d times", handled, b.answers())
	}
	b.dead()
}

func testAbandoned(t *testing.T, b *bus) {
	b.overtake(b.client(nil), b.client(nil))
	b.settled(streams.KernelRequests, "g")
	if b.answers() != 1 {
		t.Errorf("answered %d times", b.answers())
	}
}

func testDeletedPending(t *testing.T, b *bus) {
	c := b.client(nil)
	b.publish(c, oona.Message{Payload: request("gone")})
	b.must("XGROUP", "CREATE", streams.KernelRequests, "g", "0")
	b.strand(streams.KernelRequests, "g", "c")
	b.must("XDEL", streams.KernelRequests, b.entries(streams.KernelRequests)[0].ID)
	seen := b.answering(c)
	b.publish(c, oona.Message{Payload: request("next")})
	b.eventually("the next one is answered", func() bool { return b.answers() == 1 })
	b.settled(streams.KernelRequests, "g")
	b.same("handled", map[string]int{"next": 1}, seen.all())
}

func testDrain(t *testing.T, b *bus) {
	c := b.client(nil)
	want := b.requests(c, 50)
	seen := newJournal()
	started, release := make(chan struct{}, 100), make(chan struct{})
	stop := b.consume(c, oona.Subscription{Stream: streams.KernelRequests, Concurrency: 2,
		Handlers: handlers(typeRequest, blocked(seen, started, release))})
	<-started
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	close(release)
	<-stopped
	if diff := cmp.Diff(want, seen.all()); diff != "" || b.answers() != 50 || b.pending(streams.KernelRequests, "g") != 0 {
		t.Errorf("%d answers, %d pending, handled (-want +got):\n%s", b.answers(), b.pending(streams.KernelRequests, "g"), diff)
	}
}

func testPromptStop(t *testing.T, b *bus) {
	c := b.client(nil)
	stop := b.consume(c, oona.Subscription{Stream: streams.Normal, Block: time.Hour})
	begun := time.Now()
	stop()
	if took := time.Since(begun); took > patient/2 {
		t.Errorf("stopping took %v", took)
	}
}

func testKill(t *testing.T, b *bus) {
	c := b.client(nil)
	b.answering(c)
	for i := range 40 {
		if i == 20 {
			b.Restart()
			b.eventually("the client is connected again", func() bool { return c.Ping(context.Background()) == nil })
		}
		b.eventually("the request is published", func() bool {
			err := c.Publish(context.Background(), oona.Message{Payload: request(strconv.Itoa(i))})
			if err != nil && !errors.Is(err, oona.ErrUnavailable) {
				t.Fatal(err)
			}
			return err == nil
		})
	}
	b.eventually("every request is answered", func() bool { return b.answers() >= 40 })
	b.settled(streams.KernelRequests, "g")
	answered := newJournal()
	b.consume(c, oona.Subscription{Stream: streams.KernelReady, Group: "audit",
		Handlers: handlers(typeReady, seeing(func(d *oona.Delivery) { answered.add(describe(d.Payload)) }))})
	b.settled(streams.KernelReady, "audit")
	for i := range 40 {
		if n := answered.count(typeReady.String() + " " + strconv.Itoa(i)); n != 1 {
			t.Errorf("request %d was answered %d times", i, n)
		}
	}
	if n := b.answers(); n != 40 && b.features.AnswersOnce {
		t.Errorf("%d answers", n)
	}
}
