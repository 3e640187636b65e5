package oona_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/oonatest"
)

func freePort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(freeport.Must(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// startNode starts a cluster node that serves a range of slots.
func startNode(t *testing.T, first, last int, args ...string) *redistest.Server {
	t.Helper()
	args = append(args, "--cluster-enabled", "yes", "--cluster-port", freePort(t), "--cluster-announce-ip", "127.0.0.1",
		"--cluster-require-full-coverage", "no")
	server := redistest.Start(t, args...)
	tell(t, server, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last))
	awaitCluster(t, server)
	return server
}

func tell(t *testing.T, server *redistest.Server, words ...string) {
	t.Helper()
	if err := answer(t, server, words...).Error(); err != nil {
		t.Fatalf("%v: %v", words, err)
	}
}

func answer(t *testing.T, server *redistest.Server, words ...string) rueidis.RedisResult {
	t.Helper()
	raw := rawClient(t, server.URL)
	return raw.Do(context.Background(), raw.B().Arbitrary(words...).Build())
}

func awaitCluster(t *testing.T, server *redistest.Server) {
	t.Helper()
	raw := rawClient(t, server.URL)
	waitFor(t, "the cluster is up", func() bool {
		info, err := raw.Do(context.Background(), raw.B().Arbitrary("CLUSTER", "INFO").Build()).ToString()
		return err == nil && strings.Contains(info, "cluster_state:ok")
	})
}

// soon is sooner than any wait without a bound would end, on the slowest machine.
// How soon it is on a quiet one, make chaos and the benchmarks measure.
const soon = 15 * time.Second

// waitFor polls until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); <-poll.C {
		if holds() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

// One node that serves every slot refuses what spans two slots, as any cluster
// does. A cluster takes seconds to begin, so the tests share two.
func TestCluster(t *testing.T) {
	t.Parallel()
	const nodes = 2
	free := make(chan *redistest.Server, nodes)
	for range nodes {
		free <- startNode(t, 0, 16383, redistest.AOF()...)
	}
	features := oonatest.Features{Durable: true, GuardedClaim: true, CountsLag: true, TellsIdle: true, Skips: true}
	oonatest.Run(t, features, func(t *testing.T) oonatest.Server {
		server := <-free
		tell(t, server, "FLUSHALL")
		tell(t, server, "CONFIG", "SET", "stream-node-max-entries", "100")
		t.Cleanup(func() { free <- server })
		return oonatest.Server{URL: server.URL + "?cluster=true", Restart: func() {
			server.Restart()
			awaitCluster(t, server)
		}}
	})
}

// cluster is one of three nodes, each of which serves a third of the slots.
type cluster []*redistest.Server

func threeNodes(t *testing.T) cluster {
	t.Helper()
	nodes := cluster{startNode(t, 0, 5460), startNode(t, 5461, 10922), startNode(t, 10923, 16383)}
	for i, node := range nodes {
		tell(t, node, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for _, other := range nodes[1:] {
		host, port, _ := net.SplitHostPort(other.Addr)
		bus := rawInfo(t, other, "cluster-port")
		tell(t, nodes[0], "CLUSTER", "MEET", host, port, bus)
	}
	for _, node := range nodes {
		waitFor(t, "the nodes know each other", func() bool { return rawSlots(t, node) == 3 })
	}
	nodes.agree(t)
	return nodes
}

// agree waits until each node says the same of who serves what, since which epoch.
// Nodes that begin with one epoch settle it by taking new ones, and a claim that is
// under way meanwhile takes a slot back from the node that it was moved to: then
// each node sends the client to the other, for ever.
func (c cluster) agree(t *testing.T) {
	t.Helper()
	told := make([]rueidis.Client, len(c))
	for i, node := range c {
		told[i] = rawClient(t, node.URL)
	}
	waitFor(t, "the nodes agree", func() bool {
		first := owners(t, told[0])
		return owners(t, told[1]) == first && owners(t, told[2]) == first
	})
}

// owners is a line for each node that a node knows: its epoch and its slots.
func owners(t *testing.T, node rueidis.Client) string {
	t.Helper()
	text, err := node.Do(context.Background(), node.B().Arbitrary("CLUSTER", "NODES").Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(strings.TrimPrefix(text, "txt:")) {
		id, rest, _ := strings.Cut(line, " ")
		lines = append(lines, fmt.Sprint(id, strings.Fields(rest)[5], strings.Fields(rest)[7:]))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (c cluster) url() string {
	return "redis://" + c[0].Addr + "?addr=" + c[1].Addr + "&addr=" + c[2].Addr
}

// move hands the slot of a key to the next node, with the keys in it.
func (c cluster) move(t *testing.T, key string) {
	t.Helper()
	slot, err := answer(t, c[0], "CLUSTER", "KEYSLOT", key).AsInt64()
	if err != nil {
		t.Fatal(err)
	}
	at := int(slot) * len(c) / 16384
	from, to, text := c[at], c[(at+1)%len(c)], strconv.FormatInt(slot, 10)
	tell(t, to, "CLUSTER", "SETSLOT", text, "IMPORTING", nodeID(t, from))
	tell(t, from, "CLUSTER", "SETSLOT", text, "MIGRATING", nodeID(t, to))
	keys, err := answer(t, from, "CLUSTER", "GETKEYSINSLOT", text, "1000").AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	if host, port, _ := net.SplitHostPort(to.Addr); len(keys) > 0 {
		tell(t, from, append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}, keys...)...)
	}
	for _, node := range []*redistest.Server{to, from, c[(at+2)%len(c)]} {
		tell(t, node, "CLUSTER", "SETSLOT", text, "NODE", nodeID(t, to))
	}
	c.agree(t)
}

func nodeID(t *testing.T, node *redistest.Server) string {
	t.Helper()
	id, err := answer(t, node, "CLUSTER", "MYID").ToString()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestSlotThatMovesTakesItsReadersAlong(t *testing.T) {
	t.Parallel()
	nodes := threeNodes(t)
	c, stream, key := connect(t, nodes.url(), nil), orderStream("r"), oona.RecordKey{Part: "kasmina", Run: "r"}
	records := c.Records(orderStream)
	version, err := records.Save(t.Context(), oona.RecordWrite{Key: key, Orders: []*leyline.AdaptationCommand{anOrder(t, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	var orders, reports atomic.Int64
	ctx, end := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() {
		_ = c.FollowOrders(ctx, stream, func(*leyline.AdaptationCommand) { orders.Add(1) })
	})
	stop := consume(t, c, oona.Subscription{Stream: "oona.normal", Group: "g",
		Handlers: map[leyline.BusMessageType]oona.Handler{
			leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE: func(context.Context, *oona.Delivery) ([]oona.Message, error) {
				reports.Add(1)
				return nil, nil
			}}})
	t.Cleanup(func() { end(); following.Wait(); stop() })
	report := func() {
		if err := c.PublishReport(t.Context(), &leyline.SystemStatePacket{TrainingRunId: "r"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	report()
	waitFor(t, "both are read", func() bool { return orders.Load() == 1 && reports.Load() == 1 })
	nodes.move(t, stream)
	nodes.move(t, "oona.normal")
	report()
	_, err = records.Save(t.Context(), oona.RecordWrite{
		Key: key, Version: version, Orders: []*leyline.AdaptationCommand{anOrder(t, 2)}})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "both are read at the new nodes", func() bool { return orders.Load() == 2 && reports.Load() == 2 })
}

// Three nodes: streams, marks, dead letters and records live apart, and the client
// finds each.
func TestClusterOfThreeNodes(t *testing.T) {
	t.Parallel()
	c := connect(t, threeNodes(t).url(), nil)
	publishAndAnswer(t, c)
	keepRecords(t, c)
}

// publishAndAnswer sends requests, some of them twice.
func publishAndAnswer(t *testing.T, c *oona.Client) {
	t.Helper()
	published := make([]oona.Message, 0, 60)
	for i := range 60 {
		published = append(published, oona.Message{Payload: &leyline.KernelPrefetchRequest{
			RequestId: strconv.Itoa(i % 50), IssuedAt: timestamppb.Now()}})
	}
	if err := c.Publish(context.Background(), published...); err != nil {
		t.Fatal(err)
	}
	var answered atomic.Int64
	stop := consume(t, c, oona.Subscription{Stream: "oona.kernels.requests", Group: "g",
		Handlers: map[leyline.BusMessageType]oona.Handler{
			leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST: func(context.Context, *oona.Delivery) ([]oona.Message, error) {
				answered.Add(1)
				return []oona.Message{{Payload: &leyline.KernelArtifactReady{}}}, nil
			}}})
	waitFor(t, "each request is answered and each replay refused", func() bool {
		letters, err := c.DeadLetters().List(context.Background(), "", 100)
		stats, merr := c.Stats(context.Background())
		return err == nil && merr == nil && len(letters) == 10 && stats.Streams["kernel_ready"].Depth == 50
	})
	stop()
	if answered.Load() != 50 {
		t.Errorf("%d requests were handled, want 50", answered.Load())
	}
}

// keepRecords writes the records of many runs, which lie on all nodes, each with an
// order on the stream of its run.
func keepRecords(t *testing.T, c *oona.Client) {
	t.Helper()
	records, moment := c.Records(orderStream), c.Now()
	const runs = 30
	for n := range runs {
		run := fmt.Sprint("run-", n)
		key := oona.RecordKey{Part: "kasmina", Run: run}
		version, err := records.Save(t.Context(), oona.RecordWrite{Key: key, Value: []byte(run), Due: moment,
			Orders: []*leyline.AdaptationCommand{anOrder(t, n)}})
		if err != nil {
			t.Fatalf("write %s: %v", run, err)
		}
		_, err = records.Save(t.Context(), oona.RecordWrite{Key: key, Version: version + 1})
		if conflict, is := errors.AsType[*oona.ConflictError](err); !is || conflict.Found != version {
			t.Errorf("a write over another version of %s: %v", run, err)
		}
		record, err := records.Load(t.Context(), key)
		if err != nil || record.Version != version || string(record.Value) != run {
			t.Errorf("%s is read as %+v, %v", run, record, err)
		}
		if ids := followed(t, c, orderStream(run), 1); ids[anOrder(t, n).GetCommandId()] != 1 {
			t.Errorf("the orders of %s are %v", run, ids)
		}
	}
	due, err := records.Due(t.Context(), "kasmina", moment.Add(time.Second), 2*runs, time.Minute)
	listed, lerr := records.Runs(t.Context(), "kasmina", "", 2*runs)
	if err != nil || lerr != nil || len(due) != runs || len(listed) != runs {
		t.Errorf("%d runs are due and %d known, want %d of both: %v, %v", len(due), len(listed), runs, err, lerr)
	}
}

// consume runs a subscription until the returned function is called.
func consume(t *testing.T, c *oona.Client, sub oona.Subscription) (stop func()) {
	t.Helper()
	fetch, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Consume(fetch, context.Background(), sub); err != nil {
			t.Error(err)
		}
	})
	stop = func() {
		end()
		running.Wait()
	}
	t.Cleanup(stop)
	return stop
}

func rawInfo(t *testing.T, server *redistest.Server, parameter string) string {
	t.Helper()
	raw := rawClient(t, server.URL)
	values, err := raw.Do(context.Background(), raw.B().Arbitrary("CONFIG", "GET", parameter).Build()).AsStrMap()
	if err != nil {
		t.Fatal(err)
	}
	return values[parameter]
}

// rawSlots counts the slot ranges a node knows the owner of.
func rawSlots(t *testing.T, server *redistest.Server) int {
	t.Helper()
	raw := rawClient(t, server.URL)
	slots, err := raw.Do(context.Background(), raw.B().Arbitrary("CLUSTER", "SLOTS").Build()).ToArray()
	if err != nil {
		return 0
	}
	return len(slots)
}

// rawClientWhenUp connects to a server that is still starting.
func rawClientWhenUp(t *testing.T, addr string) rueidis.Client {
	t.Helper()
	waitFor(t, addr+" answers", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return rawClient(t, "redis://"+addr)
}

// The words in which a node refuses to look a mark up were taken for the entry that has
// it, so that a message was refused as its own replay while a part of the cluster was down.
func TestClusterThatCannotLookAMarkUpLosesNothing(t *testing.T) {
	t.Parallel()
	server := startNode(t, 0, 16383)
	tell(t, server, "ACL", "SETUSER", "u", "on", ">pw", "~*", "&*", "+@all", "-get")
	c := connect(t, "redis://u:pw@"+server.Addr+"?cluster=true", func(cfg *oona.Config) { cfg.RetryBackoff = time.Millisecond })
	var handled atomic.Int64
	start(t, c, oona.Subscription{Stream: "oona.normal", Handlers: stateHandlers(func(string) error {
		handled.Add(1)
		return nil
	})})
	once := oona.Message{Once: "a name", Payload: &leyline.SystemStatePacket{PacketId: "p"}}
	if err := c.Publish(t.Context(), once); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it is handled", func() bool { return handled.Load() > 0 })
	tell(t, server, "ACL", "SETUSER", "u", "+get")
	waitFor(t, "it is finished", func() bool { return len(deliveries(t, server)) == 0 })
	if n := ask(t, server, "XLEN", "oona.deadletter"); n != "0" {
		t.Errorf("%s dead letters", n)
	}
}
