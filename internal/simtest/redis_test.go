package simtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

const (
	differences = 150 // sequences of commands
	commands    = 120 // in each
)

// twin is a bus with the entries of its stream "s", by their place.
type twin struct {
	*Bus
	ids []ID
}

// twins are the simulation's bus and one on a Redis that are told the same.
type twins struct {
	t      *testing.T
	rng    *rand.Rand
	broker *twin
	redis  *twin
	names  []string // of the entries of "s": their names
}

// TestBusDoesWhatRedisDoes is what makes the bus of the simulation trustworthy: every answer to every random command
// is the one that a Redis gives.
func TestBusDoesWhatRedisDoes(t *testing.T) {
	redis := onRedis(t)
	for seed := range uint64(differences) {
		w := &twins{t: t, rng: newRand(seed, "twins"), broker: &twin{Bus: emptyBus(t)}, redis: &twin{Bus: redis}}
		w.both(func(b *twin) any {
			_, err := b.do("FLUSHALL")
			return err
		})
		for n := range commands {
			op, want, got := w.step(n)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d, command %d, %s (-redis +bus):\n%s", seed, n, op, diff)
			}
		}
		w.compare(seed)
		w.broker.Close()
	}
}

// onRedis is a bus whose commands go to a Redis.
func onRedis(t *testing.T) *Bus {
	option := rueidis.MustParseURL(redistest.Start(t).URL)
	option.DisableCache, option.ForceSingleClient, option.AlwaysRESP2 = true, true, true
	client, err := rueidis.NewClient(option)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	b := emptyBus(t)
	b.call = func(_ time.Time, words ...string) any {
		reply, err := client.Do(context.Background(), client.B().Arbitrary(words...).Build()).ToAny()
		switch {
		case rueidis.IsRedisNil(err):
			return nil
		case err != nil:
			return err
		}
		return reply
	}
	return b
}

// both gives the same command to both.
func (w *twins) both(command func(*twin) any) (redis, bus any) {
	return command(w.redis), command(w.broker)
}

func (w *twins) step(n int) (op string, redis, bus any) {
	group, consumer := "g"+strconv.Itoa(w.rng.IntN(2)), "c"+strconv.Itoa(w.rng.IntN(3))
	count, kind := 1+w.rng.IntN(5), w.rng.IntN(12)
	switch {
	case kind < 3:
		m := Message{Stream: "s", Name: "m" + strconv.Itoa(w.rng.IntN(n+1))} // some come twice
		redis, bus = w.both(func(b *twin) any {
			id, err := b.add(m)
			b.ids = append(b.ids, id)
			return described(err)
		})
		w.names = append(w.names, m.Name)
		return "add", redis, bus
	case kind == 3:
		redis, bus = w.both(func(b *twin) any { return described(b.createGroup("s", group)) })
		return "group", redis, bus
	case kind < 7:
		redis, bus = w.both(func(b *twin) any { return b.describe(b.fetch("s", group, consumer, count)) })
		return "fetch", redis, bus
	case kind == 7:
		after := w.rng.IntN(len(w.names) + 1)
		redis, bus = w.both(func(b *twin) any { return b.describe(b.own("s", group, consumer, b.id(after), count)) })
		return "own", redis, bus
	case kind == 8:
		idle := time.Duration(w.rng.IntN(2)) * time.Hour
		redis, bus = w.both(func(b *twin) any { return b.describe(b.claim("s", group, consumer, idle)) })
		return "claim", redis, bus
	case kind == 9 && len(w.names) > 0:
		place := 1 + w.rng.IntN(len(w.names))
		redis, bus = w.both(func(b *twin) any { return b.describe(b.reclaim("s", group, consumer, b.id(place))) })
		return "reclaim", redis, bus
	}
	outcomes := w.outcomes()
	redis, bus = w.both(func(b *twin) any {
		results, err := b.commit("s", group, consumer, b.located(outcomes))
		return fmt.Sprint(results, described(err))
	})
	return "commit", redis, bus
}

func described(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errNoGroup):
		return "no group"
	}
	return "failed: " + err.Error()
}

// id is the entry at a place, from 1; there is none at 0.
func (b *twin) id(place int) ID {
	if place == 0 {
		return ""
	}
	return b.ids[place-1]
}

func (b *twin) place(id ID) int { return slices.Index(b.ids, id) + 1 }

func (b *twin) describe(entries []Entry, err error) []string {
	lines := []string{described(err)}
	for _, e := range entries {
		lines = append(lines, fmt.Sprintf("%d %s, delivery %d", b.place(e.ID), e.Name, e.Deliveries))
	}
	return lines
}

// outcomes are for entries anywhere, pending or not; their IDs are places.
func (w *twins) outcomes() []Outcome {
	var outcomes []Outcome
	for place, name := range w.names {
		if w.rng.IntN(4) > 0 {
			continue
		}
		o := Outcome{ID: strconv.Itoa(place + 1), Name: name}
		switch w.rng.IntN(4) {
		case 0:
			o.Reason = permanent
		case 1:
			o.Name = ""
		}
		if o.Reason == "" {
			for n := range w.rng.IntN(3) {
				o.Answers = append(o.Answers, Message{Stream: "answers", Name: fmt.Sprintf("%d to %s", n, o.ID)})
			}
		}
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// located turns the places of outcomes into ids.
func (b *twin) located(outcomes []Outcome) []Outcome {
	outcomes = slices.Clone(outcomes)
	for i, o := range outcomes {
		place, _ := strconv.Atoi(o.ID)
		outcomes[i].ID = b.id(place)
	}
	return outcomes
}

// compare compares all that there is in the end: pending lists with owners and delivery counts, how far each group has
// read, answers, dead letters.
func (w *twins) compare(seed uint64) {
	redis, bus := w.both(func(b *twin) any { return b.remains() })
	if diff := cmp.Diff(redis, bus); diff != "" {
		w.t.Errorf("seed %d, what is left (-redis +bus):\n%s", seed, diff)
	}
}

func (b *twin) remains() []string {
	var lines []string
	for _, group := range []string{"g0", "g1"} {
		pending, err := b.pending("s", group)
		lines = append(lines, group+described(err))
		for _, d := range pending {
			lines = append(lines, fmt.Sprintf("%d %s %d", b.place(d.id), d.owner, d.count))
		}
		if last, err := b.delivered("s", group); err == nil {
			lines = append(lines, fmt.Sprintf("read to %d", b.place(last)))
		}
	}
	for _, stream := range []string{"answers", deadLetters} {
		entries, err := b.entries(stream)
		lines = append(lines, stream+described(err))
		for _, e := range entries {
			lines = append(lines, fmt.Sprintf("%s %s %d", e.Name, e.Reason, b.place(e.Cause.ID)))
		}
	}
	return lines
}
