package chaos_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

const (
	wave      = 10_000 // entries that lie on the streams at once
	goodEvery = 20     // one good entry among so many
)

// ledger notes what handlers were given.
type ledger struct {
	mu      sync.Mutex
	handled map[int]int
	strange []string // given to a handler without being a good message
}

func (l *ledger) handle(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := numberOf(d)
	if err != nil {
		l.strange = append(l.strange, fmt.Sprintf("%s %s %v: %v %v", d.Stream, d.ID, d.Type, d.Attributes, d.Payload))
		return nil, nil
	}
	l.handled[n]++
	return nil, nil
}

// numberOf returns the number of a good message. A request is the same message
// in any envelope that its peers may put it in: it is known by its id.
func numberOf(d *oona.Delivery) (int, error) {
	text := d.Attributes[goodAttribute]
	if r, ok := d.Payload.(*leyline.KernelPrefetchRequest); ok {
		text, _, _ = strings.Cut(strings.TrimPrefix(r.GetRequestId(), idPrefix), "-")
	}
	return strconv.Atoi(text)
}

// TestNoHostileEntryIsAcceptedAndNoGoodOneIsHeldUp mixes good entries of every
// type among hostile ones and counts what reaches a handler.
func TestNoHostileEntryIsAcceptedAndNoGoodOneIsHeldUp(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	redis := raw(t, server.URL)
	client := connect(t, oona.Config{URL: server.URL, Group: group, FreshnessWindow: time.Minute,
		MaxPayload: hostileSize - 1, MaxStreamLength: 2 * wave})
	handled := &ledger{handled: make(map[int]int)}
	stop := consumeEverything(t, client, handled.handle)
	defer stop()

	maker := newEntryMaker(t, random(99), client)
	kinds := make(map[string]int)
	for sent := 0; sent < options.hostile; {
		n := min(wave, options.hostile-sent)
		store(t, redis, mixed(maker, n, kinds))
		sent += n
		awaitIdle(t, redis)
		for _, stream := range streams.Names() {
			if err := command(redis, "XTRIM", stream, "MAXLEN", "0").Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop() // the client counts a refusal once it has heard that it is stored, and Redis shows it before
	judgeHostile(t, client, handled, maker.next, kinds)
}

func consumeEverything(t *testing.T, client *oona.Client, handler oona.Handler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var consuming sync.WaitGroup
	for _, stream := range streams.Names() {
		table := make(map[leyline.BusMessageType]oona.Handler)
		for number := range leyline.BusMessageType_name {
			kind := leyline.BusMessageType(number)
			payload := leyline.NewMessage(kind)
			if payload != nil && (stream == streams.Emergency || client.Route(payload, 0).Stream == stream) {
				table[kind] = handler
			}
		}
		consuming.Go(func() {
			err := client.Consume(ctx, context.Background(), oona.Subscription{Stream: stream, Handlers: table})
			if err != nil {
				t.Error(err)
			}
		})
	}
	return func() {
		cancel()
		consuming.Wait()
	}
}

// mixed makes n hostile entries with good ones anywhere among them.
func mixed(maker *entryMaker, n int, kinds map[string]int) []wireEntry {
	entries := make([]wireEntry, 0, n+n/goodEvery+1)
	for i := range n {
		if i%goodEvery == 0 {
			entries = append(entries, maker.good().entry())
		}
		hostile, kind := maker.hostile()
		kinds[kind]++
		entries = append(entries, hostile)
	}
	maker.rng.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	return entries
}

func store(t *testing.T, redis rueidis.Client, entries []wireEntry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	commands := make(rueidis.Commands, len(entries))
	for i, e := range entries {
		words := append([]string{"XADD", e.stream, "*"}, e.fields...)
		commands[i] = redis.B().Arbitrary(words...).Build()
	}
	for _, reply := range redis.DoMulti(ctx, commands...) {
		if err := reply.Error(); err != nil {
			t.Fatal(err)
		}
	}
}

func awaitIdle(t *testing.T, redis rueidis.Client) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for _, stream := range streams.Names() {
		for deadline := time.Now().Add(patient); !idle(redis, stream); <-poll.C {
			if time.Now().After(deadline) {
				t.Fatalf("%s is not read to its end", stream)
			}
		}
	}
}

func judgeHostile(t *testing.T, client *oona.Client, got *ledger, goods int, kinds map[string]int) {
	t.Helper()
	got.mu.Lock()
	defer got.mu.Unlock()
	hostile, accepted := 0, len(got.strange)
	for _, n := range kinds {
		hostile += n
	}
	for _, n := range got.handled {
		accepted += n - 1
	}
	var refused int64
	for _, drop := range client.Drops() {
		refused += drop.Count
	}
	t.Logf("hostile %v\nrefused %v", kinds, client.Drops())
	report("hostile entries=%d accepted=%d good=%d handled=%d", hostile, accepted, goods, len(got.handled))
	if accepted != 0 || len(got.handled) != goods || refused != int64(hostile) {
		t.Errorf("%d hostile entries, %d refused, %d accepted %v; %d good ones, %d handled; again with -seed %d",
			hostile, refused, accepted, got.strange[:min(3, len(got.strange))], goods, len(got.handled), options.seed)
	}
}
