package oonatest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
)

func testDeadLettersListed(t *testing.T, b *bus) {
	c := b.client(nil)
	var want []string
	for i := range 7 {
		want = append(want, b.add(streams.Normal, "payload", strconv.Itoa(i)))
	}
	b.noting(c)
	b.settled(streams.Normal, "g")
	ctx := context.Background()
	var got []string
	pages, after := 0, ""
	for {
		page, err := c.DeadLetters().List(ctx, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		pages, after = pages+1, page[len(page)-1].ID
		for _, letter := range page {
			got = append(got, letter.EntryID)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" || pages != 3 {
		t.Errorf("%d pages, letters (-want +got):\n%s", pages, diff)
	}
	letter, err := c.DeadLetters().Get(ctx, after)
	if err != nil || letter.Reason != deadletter.ReasonUnsigned || letter.Stream != streams.Normal || letter.Group != "g" ||
		letter.Attempts != 1 || time.Since(letter.Time) > time.Minute {
		t.Errorf("letter = %+v, %v", letter, err)
	}
	if _, err := c.DeadLetters().Get(ctx, "1-1"); !errors.Is(err, deadletter.ErrNotFound) {
		t.Errorf("unknown letter: %v", err)
	}
}

// refusedStates publishes states that a group gives up, and lists their letters.
func (b *bus) refusedStates(c *oona.Client, ids ...string) []deadletter.Letter {
	b.t.Helper()
	stop := b.consume(c, oona.Subscription{Stream: streams.Normal, Handlers: handlers(typeState,
		func(context.Context, *oona.Delivery) ([]oona.Message, error) { return nil, oona.Permanent(errDown) })})
	for _, id := range ids {
		b.publish(c, oona.Message{Payload: state(id)})
	}
	b.settled(streams.Normal, "g")
	stop()
	letters, err := c.DeadLetters().List(context.Background(), "", 100)
	if err != nil || len(letters) != len(ids) {
		b.t.Fatalf("letters = %v, %v", letters, err)
	}
	return letters
}

func testDeadLetterReplay(t *testing.T, b *bus) {
	c, ctx := b.client(nil), context.Background()
	other := newJournal()
	b.consume(c, oona.Subscription{Stream: streams.Normal, Group: "other", Handlers: handlers(typeState, noting(other))})
	letter := b.refusedStates(c, "s")[0]
	if m, _, err := letter.Message(); err != nil || m.(*leyline.SystemStatePacket).GetPacketId() != "s" {
		t.Errorf("message = %v, %v", m, err)
	}
	own := b.noting(c)
	first, err := c.DeadLetters().Replay(ctx, letter.ID)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.DeadLetters().Replay(ctx, letter.ID)
	if !errors.Is(err, deadletter.ErrReplayed) || again != first {
		t.Errorf("second replay = %s, %v; the first was %s", again, err, first)
	}
	b.settled(streams.Normal, "g")
	b.settled(streams.Normal, "other")
	if own.count("s") != 1 || other.count("s") != 1 || len(b.entries(streams.Normal)) != 2 {
		t.Errorf("own group %d, other group %d, entries %d", own.count("s"), other.count("s"), len(b.entries(streams.Normal)))
	}
	if kept, err := c.DeadLetters().Get(ctx, letter.ID); err != nil || kept.Replayed != first {
		t.Errorf("letter after the replay = %+v, %v", kept, err)
	}
}

func testDeadLetterReplayOfOldRequest(t *testing.T, b *bus) {
	c := b.client(nil)
	b.addSigned(streams.KernelRequests, []byte(unhex(t, goldenRequest)))
	b.answering(c)
	b.settled(streams.KernelRequests, "g")
	letters, err := c.DeadLetters().List(context.Background(), "", 10)
	if err != nil || len(letters) != 1 || letters[0].Reason != deadletter.ReasonStale {
		t.Fatalf("letters = %+v, %v", letters, err)
	}
	if _, err := c.DeadLetters().Replay(context.Background(), letters[0].ID); err != nil {
		t.Fatal(err)
	}
	b.eventually("the replayed request is answered", func() bool { return b.answers() == 1 })
}

func testDeadLetterForgery(t *testing.T, b *bus) {
	c := b.client(nil)
	envelope := unhex(t, goldenState)
	b.add(streams.Normal, "payload", envelope, "signature", goldenRequestSignature)
	b.add(streams.Normal, "payload", envelope)
	b.addSigned(streams.Normal, []byte("\xff\xff"))
	b.publish(c, oona.Message{Stream: "oona.elsewhere", Payload: state("moved")})
	moved := b.entries("oona.elsewhere")[0].FieldValues
	b.add(streams.Normal, "payload", moved["payload"], "signature", moved["signature"])
	b.noting(c)
	b.settled(streams.Normal, "g")
	letters, err := c.DeadLetters().List(context.Background(), "", 10)
	if err != nil || len(letters) != 4 {
		t.Fatalf("%d letters, %v", len(letters), err)
	}
	for _, letter := range letters {
		if err := c.DeadLetters().Replayable(letter); !errors.Is(err, deadletter.ErrNotReplayable) {
			t.Errorf("%s is said to be replayable: %v", letter.Reason, err)
		}
		if _, err := c.DeadLetters().Replay(context.Background(), letter.ID); !errors.Is(err, deadletter.ErrNotReplayable) {
			t.Errorf("replay of %s = %v", letter.Reason, err)
		}
	}
}

func testDeadLetterPurge(t *testing.T, b *bus) {
	c, ctx := b.client(nil), context.Background()
	letters := b.refusedStates(c, "a", "b", "c")
	if _, err := c.DeadLetters().Replay(ctx, letters[2].ID); err != nil {
		t.Fatal(err)
	}
	if n, err := c.DeadLetters().Purge(ctx, letters[0].ID, "1-1"); n != 1 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	if n, err := c.DeadLetters().PurgeBefore(ctx, time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("young letters were purged: %d, %v", n, err)
	}
	b.eventually("the old letters are purged", func() bool {
		if _, err := c.DeadLetters().PurgeBefore(ctx, time.Now().Add(-time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		return len(b.entries("oona.deadletter")) == 0
	})
	if left, err := b.do("EXISTS", "oona.deadletter:replayed").AsInt64(); left != 0 || err != nil {
		t.Errorf("notes on replays are left behind: %d, %v", left, err)
	}
}

func testDeadLetterReplayRace(t *testing.T, b *bus) {
	c := b.client(nil)
	letter := b.refusedStates(c, "s")[0]
	var operators sync.WaitGroup
	var replayed atomic.Int64
	for range 8 {
		operators.Go(func() {
			_, err := c.DeadLetters().Replay(context.Background(), letter.ID)
			if err == nil {
				replayed.Add(1)
			} else if !errors.Is(err, deadletter.ErrReplayed) {
				t.Error(err)
			}
		})
	}
	operators.Wait()
	if n := len(b.entries(streams.Normal)); replayed.Load() != 1 || n != 2 {
		t.Errorf("%d operators replayed it, %d entries", replayed.Load(), n)
	}
}
