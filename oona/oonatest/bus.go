package oonatest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/rueidis"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
)

const (
	secret  = "test-secret"
	patient = 10 * time.Second // longest wait for something that must happen
)

var streams = oona.DefaultStreams()

// bus is a server under test with a raw connection beside the client.
type bus struct {
	Server
	features Features
	t        *testing.T
	raw      rueidis.Client
	ring     *signing.Keyring
}

func newBus(t *testing.T, server Server) *bus {
	t.Helper()
	if server.Admin == "" {
		server.Admin = server.URL
	}
	option, err := rueidis.ParseURL(server.Admin)
	if err != nil {
		t.Fatal(err)
	}
	option.DisableCache, option.ForceSingleClient = true, true
	raw, err := rueidis.NewClient(option)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Close)
	ring, err := signing.NewKeyring(secret)
	if err != nil {
		t.Fatal(err)
	}
	return &bus{Server: server, t: t, raw: raw, ring: ring}
}

// client connects with fast retries; edit changes its configuration.
func (b *bus) client(edit func(*oona.Config)) *oona.Client {
	b.t.Helper()
	cfg := oona.Config{
		URL: b.URL, Group: "g", Consumer: "c", Keyring: b.ring,
		FreshnessWindow: time.Minute, RetryBackoff: 5 * time.Millisecond,
	}
	if edit != nil {
		edit(&cfg)
	}
	c, err := oona.Connect(context.Background(), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	return c
}

// consume runs a subscription until the returned function, or the test, ends it.
func (b *bus) consume(c *oona.Client, sub oona.Subscription) (stop func()) {
	b.t.Helper()
	fetch, end := context.WithCancel(context.Background())
	work, abort := context.WithCancel(context.Background())
	ready := make(chan struct{})
	sub.OnReady = func() { close(ready) }
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Consume(fetch, work, sub); err != nil {
			b.t.Errorf("consume %s: %v", sub.Stream, err)
		}
	})
	stop = sync.OnceFunc(func() {
		end()
		timer := time.AfterFunc(patient, abort)
		defer timer.Stop()
		running.Wait()
		abort()
	})
	b.t.Cleanup(stop)
	select {
	case <-ready:
	case <-time.After(patient):
		b.t.Fatal("consumer was never ready")
	}
	return stop
}

// do runs a raw command.
func (b *bus) do(words ...string) rueidis.RedisResult {
	b.t.Helper()
	for range 10 {
		reply := b.raw.Do(context.Background(), b.raw.B().Arbitrary(words...).Build())
		if _, answered := rueidis.IsRedisErr(reply.Error()); answered || reply.Error() == nil || words[0] == "XADD" {
			return reply
		}
		// The server was restarted: each pooled connection finds out by itself.
	}
	return b.raw.Do(context.Background(), b.raw.B().Arbitrary(words...).Build())
}

func (b *bus) must(words ...string) {
	b.t.Helper()
	if err := b.do(words...).Error(); err != nil {
		b.t.Fatalf("%v: %v", words, err)
	}
}

// add writes a raw entry and returns its id.
func (b *bus) add(stream string, fields ...string) string {
	b.t.Helper()
	id, err := b.do(append([]string{"XADD", stream, "*"}, fields...)...).ToString()
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// addSigned writes an envelope as the prototype would.
func (b *bus) addSigned(stream string, envelope []byte) string {
	b.t.Helper()
	return b.add(stream, "payload", string(envelope), "signature", b.ring.SignEnvelope(envelope))
}

func (b *bus) entries(stream string) []rueidis.XRangeEntry {
	b.t.Helper()
	entries, err := b.do("XRANGE", stream, "-", "+").AsXRange()
	if err != nil {
		b.t.Fatal(err)
	}
	return entries
}

// deadReasons lists the reasons of the dead letters, sorted.
func (b *bus) deadReasons() []string {
	b.t.Helper()
	var reasons []string
	for _, e := range b.entries("oona.deadletter") {
		reasons = append(reasons, e.FieldValues["reason"])
	}
	slices.Sort(reasons)
	return reasons
}

func (b *bus) pending(stream, group string) int64 {
	b.t.Helper()
	summary, err := b.do("XPENDING", stream, group).ToArray()
	if err != nil || len(summary) == 0 {
		return -1
	}
	n, _ := summary[0].AsInt64()
	return n
}

// eventually waits for something that must happen.
func (b *bus) eventually(what string, holds func() bool) {
	b.t.Helper()
	poll := time.NewTicker(3 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); <-poll.C {
		if holds() {
			return
		}
	}
	b.t.Fatalf("never happened: %s", what)
}

func (b *bus) settled(stream, group string) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("%s is read and nothing is pending for %s", stream, group), func() bool {
		last, err := b.do("XREVRANGE", stream, "+", "-", "COUNT", "1").AsXRange()
		if err != nil || len(last) == 0 {
			return err == nil
		}
		groups, err := b.do("XINFO", "GROUPS", stream).ToArray()
		if err != nil {
			return false
		}
		for _, g := range groups {
			info, _ := g.AsMap()
			name, delivered := info["name"], info["last-delivered-id"]
			if text, _ := name.ToString(); text == group {
				id, _ := delivered.ToString()
				return id == last[0].ID && b.pending(stream, group) == 0
			}
		}
		return false
	})
}

// journal notes what handlers saw.
type journal struct {
	mu    sync.Mutex
	lines map[string]int
}

func newJournal() *journal { return &journal{lines: make(map[string]int)} }

func (j *journal) add(line string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines[line]++
	return j.lines[line]
}

func (j *journal) count(line string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines[line]
}

func (j *journal) all() map[string]int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.lines)
}

func request(id string) *leyline.KernelPrefetchRequest {
	return &leyline.KernelPrefetchRequest{RequestId: id, BlueprintId: "BP-1", IssuedAt: timestamppb.Now()}
}

func state(id string) *leyline.SystemStatePacket {
	return &leyline.SystemStatePacket{Version: 1, PacketId: id}
}

// same compares what came with what was wanted.
func (b *bus) same(what string, want, got any) {
	b.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// dead wants dead letters for these reasons, sorted, and no others.
func (b *bus) dead(reasons ...string) {
	b.t.Helper()
	b.same("dead letters", reasons, b.deadReasons())
}

// handlers builds a table with one entry.
func handlers(t leyline.BusMessageType, h oona.Handler) map[leyline.BusMessageType]oona.Handler {
	return map[leyline.BusMessageType]oona.Handler{t: h}
}

const (
	typeState   = leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE
	typeRequest = leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST
	typeReady   = leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY
	typeError   = leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR
)

// seeing is a handler that looks at what comes, and has no answer.
func seeing(look func(d *oona.Delivery)) oona.Handler {
	return func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
		look(d)
		return nil, nil
	}
}

func noting(j *journal) oona.Handler { return seeing(func(d *oona.Delivery) { j.add(packetID(d)) }) }

// counting notes each message that was handled by its type.
func counting(j *journal) oona.Handler {
	return seeing(func(d *oona.Delivery) { j.add(d.Type.String()) })
}

// failing is a handler that notes a try, and fails.
func failing(j *journal) oona.Handler {
	return func(context.Context, *oona.Delivery) ([]oona.Message, error) {
		j.add("run")
		return nil, errDown
	}
}

// noting notes the states that a client is sent, answering the requests that it answers.
func (b *bus) noting(c *oona.Client) *journal {
	b.t.Helper()
	seen := newJournal()
	b.consume(c, oona.Subscription{Stream: streams.Normal, Handlers: handlers(typeState, noting(seen))})
	return seen
}

func (b *bus) answering(c *oona.Client) *journal {
	b.t.Helper()
	seen := newJournal()
	b.consume(c, oona.Subscription{Stream: streams.KernelRequests, Handlers: handlers(typeRequest, answering(seen))})
	return seen
}

// answering is a handler that notes a request and answers it.
func answering(j *journal) oona.Handler {
	return func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
		r, _ := d.Payload.(*leyline.KernelPrefetchRequest)
		j.add(r.GetRequestId())
		return []oona.Message{{Payload: &leyline.KernelArtifactReady{RequestId: r.GetRequestId()}}}, nil
	}
}

func (b *bus) publish(c *oona.Client, msgs ...oona.Message) {
	b.t.Helper()
	if err := c.Publish(context.Background(), msgs...); err != nil {
		b.t.Fatal(err)
	}
}

// answers counts the entries of the ready stream.
func (b *bus) answers() int { return len(b.entries(streams.KernelReady)) }
