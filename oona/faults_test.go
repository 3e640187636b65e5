package oona_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// received notes the states a consumer handled.
type received struct {
	mu  sync.Mutex
	ids map[string]int
}

func (r *received) handler(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
	m, _ := d.Payload.(*leyline.SystemStatePacket)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids[m.GetPacketId()]++
	return nil, nil
}

func (r *received) count(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ids[id]
}

// total is how many different states were handled.
func (r *received) total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ids)
}

// receive consumes the normal stream until the test ends.
func receive(t *testing.T, c *oona.Client) *received {
	t.Helper()
	r := &received{ids: make(map[string]int)}
	start(t, c, oona.Subscription{Stream: "oona.normal",
		Handlers: map[leyline.BusMessageType]oona.Handler{leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE: r.handler}})
	return r
}

func publishState(c *oona.Client, id string) error {
	return c.Publish(context.Background(), oona.Message{Payload: &leyline.SystemStatePacket{PacketId: id}})
}

// fault is one way in which a bus can fail without going away.
type fault struct {
	args          []string
	begin, repair func(t *testing.T, server *redistest.Server)
}

func faults(t *testing.T) map[string]fault {
	t.Helper()
	set := func(words ...string) func(*testing.T, *redistest.Server) {
		return func(t *testing.T, server *redistest.Server) {
			t.Helper()
			tell(t, server, words...)
		}
	}
	loading := make(chan struct{})
	return map[string]fault{
		// The master is not there: the replica keeps its data and refuses writes.
		"read-only replica": {begin: set("REPLICAOF", "127.0.0.1", freePort(t)), repair: set("REPLICAOF", "NO", "ONE")},
		"out of memory":     {begin: set("CONFIG", "SET", "maxmemory", "1"), repair: set("CONFIG", "SET", "maxmemory", "0")},
		"half-open": {begin: func(_ *testing.T, s *redistest.Server) { s.Freeze() },
			repair: func(_ *testing.T, s *redistest.Server) { s.Thaw() }},
		// Each command takes a second to load: there must be few of them.
		"loading": {args: append(redistest.AOF(), "--key-load-delay", "1000000"),
			begin: func(t *testing.T, s *redistest.Server) {
				s.Kill()
				go func() {
					defer close(loading)
					s.Restart()
				}()
			},
			repair: func(*testing.T, *redistest.Server) { <-loading }},
	}
}

func TestFaultGivesATypedErrorInTimeAndHeals(t *testing.T) {
	t.Parallel()
	for name, f := range faults(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, f.args...)
			c := connect(t, server.URL, hasty)
			got := receive(t, c)
			waitFor(t, "a message is published", func() bool { return publishState(c, "before") == nil })
			waitFor(t, "the bus works", func() bool { return got.count("before") >= 1 })
			f.begin(t, server)
			failWhile(t, c)
			f.repair(t, server)
			waitFor(t, "publishing works again", func() bool { return publishState(c, "after") == nil })
			waitFor(t, "consuming works again", func() bool { return got.count("after") >= 1 })
		})
	}
}

// failWhile publishes into a fault: each attempt ends soon, with an error that a
// caller can act on.
func failWhile(t *testing.T, c *oona.Client) {
	t.Helper()
	failures := 0
	for i := 0; failures < 5 && i < 1000; i++ {
		begun := time.Now()
		err := publishState(c, "during "+strconv.Itoa(i))
		if took := time.Since(begun); took > soon {
			t.Errorf("an attempt took %v", took)
		}
		if err == nil {
			continue
		}
		failures++
		var publish *oona.PublishError
		if !errors.Is(err, oona.ErrUnavailable) || !errors.As(err, &publish) {
			t.Errorf("error = %v", err)
		}
	}
	if failures == 0 {
		t.Error("the fault was not noticed")
	}
}

// An answer that was made while the bus was away is not refused for its age when
// the bus is back: it could not be stored before.
func TestAnswerMadeDuringAnOutageIsNotStale(t *testing.T) {
	t.Parallel()
	const window = 2 * time.Second
	server := redistest.Start(t, redistest.AOF()...)
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.FreshnessWindow, cfg.ClockSkew = window, time.Second })
	started, release := make(chan struct{}), make(chan struct{})
	start(t, c, oona.Subscription{Stream: "oona.kernels.requests", Handlers: map[leyline.BusMessageType]oona.Handler{
		leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST: func(context.Context, *oona.Delivery) ([]oona.Message, error) {
			close(started)
			<-release
			return []oona.Message{{Payload: &leyline.KernelArtifactReady{RequestId: "r"}}}, nil
		}}})
	err := c.PublishKernelPrefetchRequest(context.Background(), &leyline.KernelPrefetchRequest{RequestId: "r", IssuedAt: timestamppb.Now()})
	if err != nil {
		t.Fatal(err)
	}
	<-started
	server.Kill()
	close(release)
	<-time.After(2 * window)
	server.Restart()
	answered := make(chan struct{})
	start(t, c, oona.Subscription{Stream: "oona.kernels.ready", Handlers: map[leyline.BusMessageType]oona.Handler{
		leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY: func(context.Context, *oona.Delivery) ([]oona.Message, error) {
			close(answered)
			return nil, nil
		}}})
	select {
	case <-answered:
	case <-time.After(soon):
		t.Errorf("the answer was lost: %v", c.Drops())
	}
}
