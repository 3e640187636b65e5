package simtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
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

// twins are the bus in memory and a Redis that are told the same.
type twins struct {
	t      *testing.T
	rng    *rand.Rand
	bus    *Bus
	redis  rueidis.Client
	script *rueidis.Lua
	ids    []string // of Redis, for each entry of the stream "s"
}

// TestBusDoesWhatRedisDoes is what makes the bus of the simulation trustworthy: every answer to every random command
// is the one that a Redis gives, the commit being package oona's own script.
func TestBusDoesWhatRedisDoes(t *testing.T) {
	server := redistest.Start(t)
	option, err := rueidis.ParseURL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	option.DisableCache, option.ForceSingleClient = true, true
	redis, err := rueidis.NewClient(option)
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	source, err := os.ReadFile("../../oona/commit.lua")
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(differences) {
		script := rueidis.NewLuaScript(string(source))
		w := &twins{t: t, rng: newRand(seed, "twins"), bus: NewBus(), redis: redis, script: script}
		w.do("FLUSHALL")
		for n := range commands {
			op, want, got := w.step(n)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d, command %d, %s (-redis +bus):\n%s", seed, n, op, diff)
			}
		}
		w.compare(seed)
	}
}

func (w *twins) do(words ...string) rueidis.RedisResult {
	return w.redis.Do(context.Background(), w.redis.B().Arbitrary(words...).Build())
}

// step gives both the same command, and returns the answers.
func (w *twins) step(n int) (op string, redis, bus any) {
	group, consumer := "g"+strconv.Itoa(w.rng.IntN(2)), "c"+strconv.Itoa(w.rng.IntN(3))
	count := 1 + w.rng.IntN(5)
	switch w.rng.IntN(12) {
	case 0, 1, 2:
		name := "m" + strconv.Itoa(w.rng.IntN(n+1)) // some come twice
		id, err := w.do("XADD", "s", "*", "payload", name, "signature", "").ToString()
		w.ids = append(w.ids, id)
		w.check(err)
		return "add", ID(len(w.ids)), w.bus.add(Message{Stream: "s", Name: name})
	case 3:
		w.bus.createGroup("s", group)
		err := w.do("XGROUP", "CREATE", "s", group, "0", "MKSTREAM").Error()
		if err != nil && !strings.Contains(err.Error(), "BUSYGROUP") {
			w.check(err)
		}
		return "group", nil, nil
	case 4, 5, 6:
		entries, err := w.bus.fetch("s", group, consumer, count)
		return "fetch", w.read(group, consumer, count, ">"), names(entries, nil, err)
	case 7:
		after := w.rng.IntN(len(w.ids) + 1)
		entries, gone, err := w.bus.own("s", group, consumer, ID(after), count)
		return "own", w.read(group, consumer, count, w.redisID(after)), names(entries, gone, err)
	case 8:
		idle := time.Duration(w.rng.IntN(2)) * time.Hour
		entries, err := w.bus.claim("s", group, consumer, idle)
		return "claim", w.claim(group, consumer, idle), names(entries, nil, err)
	case 9:
		return w.remove()
	}
	outcomes := w.outcomes()
	results, err := w.bus.commit("s", group, outcomes)
	if err != nil {
		results = make([]Result, len(outcomes))
	}
	return "commit", w.commit(group, consumer, outcomes), results
}

func (w *twins) check(err error) {
	if err != nil {
		w.t.Helper()
		w.t.Fatal(err)
	}
}

func (w *twins) redisID(place int) string {
	if place == 0 {
		return "0"
	}
	return w.ids[place-1]
}

// place is what the bus would call an id of Redis.
func (w *twins) place(id string) ID { return ID(slices.Index(w.ids, id) + 1) }

// remove deletes an entry now and then.
func (w *twins) remove() (op string, redis, bus any) {
	if len(w.ids) == 0 || w.rng.IntN(2) == 0 {
		return "nothing", nil, nil
	}
	place := 1 + w.rng.IntN(len(w.ids))
	w.bus.remove("s", ID(place))
	w.check(w.do("XDEL", "s", w.redisID(place)).Error())
	return "remove", nil, nil
}

// names describes entries: place and name, place alone when it was deleted.
func names(entries []Entry, gone []ID, err error) []string {
	if errors.Is(err, errNoGroup) {
		return []string{"no group"}
	}
	lines := []string{}
	for _, e := range entries {
		lines = append(lines, fmt.Sprintf("%d %s", e.ID, e.Name))
	}
	for _, id := range gone {
		lines = append(lines, fmt.Sprintf("%d deleted", id))
	}
	slices.Sort(lines)
	return lines
}

func (w *twins) read(group, consumer string, count int, from string) []string {
	reply := w.do("XREADGROUP", "GROUP", group, consumer, "COUNT", strconv.Itoa(count), "STREAMS", "s", from)
	if err := reply.Error(); err != nil && strings.Contains(err.Error(), "NOGROUP") {
		return []string{"no group"}
	}
	streams, err := reply.ToMap()
	if rueidis.IsRedisNil(err) {
		return []string{}
	}
	w.check(err)
	s := streams["s"]
	return w.described(s)
}

func (w *twins) described(list rueidis.RedisMessage) []string {
	entries, err := list.ToArray()
	w.check(err)
	lines := []string{}
	for _, e := range entries {
		pair, err := e.ToArray()
		w.check(err)
		id, err := pair[0].ToString()
		w.check(err)
		name := "deleted"
		if fields, err := pair[1].ToArray(); err == nil {
			name, err = fields[1].ToString()
			w.check(err)
		}
		lines = append(lines, fmt.Sprintf("%d %s", w.place(id), name))
	}
	slices.Sort(lines)
	return lines
}

func (w *twins) claim(group, consumer string, idle time.Duration) []string {
	reply := w.do("XAUTOCLAIM", "s", group, consumer, strconv.FormatInt(idle.Milliseconds(), 10), "0", "COUNT", "10000")
	if err := reply.Error(); err != nil && strings.Contains(err.Error(), "NOGROUP") {
		return []string{"no group"}
	}
	parts, err := reply.ToArray()
	w.check(err)
	return w.described(parts[1])
}

// outcomes are for entries anywhere, pending or not.
func (w *twins) outcomes() []Outcome {
	var outcomes []Outcome
	for place, slot := range w.bus.stream("s").entries {
		if w.rng.IntN(4) > 0 || slot.deleted {
			continue
		}
		o := Outcome{ID: ID(place + 1), Name: slot.message.Name}
		switch w.rng.IntN(4) {
		case 0:
			o.Reason = permanent
		case 1:
			o.Name = ""
		}
		if o.Reason == "" {
			for n := range w.rng.IntN(3) {
				o.Answers = append(o.Answers, Message{Stream: "answers", Name: fmt.Sprintf("%d to %d", n, o.ID)})
			}
		}
		outcomes = append(outcomes, o)
	}
	return outcomes
}

func (w *twins) commit(group, consumer string, outcomes []Outcome) []Result {
	keys := []string{"s", deadLetters, "answers"}
	args := []string{group, consumer, "100000", "100000", "0", "100000"}
	for _, o := range outcomes {
		mark := "0"
		if o.Name != "" {
			keys = append(keys, "mark:"+group+":"+o.Name)
			mark = strconv.Itoa(len(keys))
		}
		args = append(args, w.redisID(int(o.ID)), mark, "3600000", o.Reason, "", "1", strconv.Itoa(len(o.Answers)))
		for _, answer := range o.Answers {
			args = append(args, "3", answer.Name, "")
		}
	}
	replies, err := w.script.Exec(context.Background(), w.redis, keys, args).AsIntSlice()
	w.check(err)
	results := make([]Result, len(outcomes))
	for i, reply := range replies {
		results[i] = Result(reply)
	}
	return results
}

// compare compares all that there is in the end: pending lists with owners and delivery counts, answers, dead letters.
func (w *twins) compare(seed uint64) {
	for _, name := range []string{"g0", "g1"} {
		g, err := w.bus.group("s", name)
		if err != nil {
			continue
		}
		pending := []string{}
		for _, d := range g.pending {
			pending = append(pending, fmt.Sprintf("%d %s %d", d.id, d.owner, d.count))
		}
		if diff := cmp.Diff(w.pending(name), pending); diff != "" {
			w.t.Errorf("seed %d, pending of %s (-redis +bus):\n%s", seed, name, diff)
		}
	}
	for stream, field := range map[string]string{"answers": "payload", deadLetters: "reason"} {
		entries, err := w.do("XRANGE", stream, "-", "+").AsXRange()
		w.check(err)
		redis, bus := []string{}, []string{}
		for _, e := range entries {
			redis = append(redis, e.FieldValues[field])
		}
		for _, slot := range w.bus.stream(stream).entries {
			text := slot.message.Name
			if field == "reason" {
				text = slot.message.Reason
			}
			bus = append(bus, text)
		}
		if diff := cmp.Diff(redis, bus); diff != "" {
			w.t.Errorf("seed %d, %s (-redis +bus):\n%s", seed, stream, diff)
		}
	}
}

func (w *twins) pending(group string) []string {
	rows, err := w.do("XPENDING", "s", group, "-", "+", "10000").ToArray()
	w.check(err)
	lines := []string{}
	for _, row := range rows {
		cells, err := row.ToArray()
		w.check(err)
		id, _ := cells[0].ToString()
		owner, _ := cells[1].ToString()
		count, _ := cells[3].AsInt64()
		lines = append(lines, fmt.Sprintf("%d %s %d", w.place(id), owner, count))
	}
	return lines
}
