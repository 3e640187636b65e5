package oona_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
)

func keyring(t testing.TB) *signing.Keyring {
	t.Helper()
	ring, err := signing.NewKeyring("test-secret")
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func silentListener(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

func TestConnectErrorNamesAddressAndCauseAndNoPassword(t *testing.T) {
	t.Parallel()
	refused, silent := freeport.Must(t), silentListener(t)
	for _, test := range []struct{ name, url, addr string }{
		{"nobody listens", "redis://user:hunter2@" + refused + "/0", refused},
		{"nobody answers", "redis://:hunter2@" + silent, silent},
		{"not a URL", "redis://:hunter2@host:1x/0", "host:1x"},
		{"password with odd characters", "redis://user:hunter2/%zz@host:1/0", "host:1"},
		{"not a scheme", "http://user:hunter2@host/0", "host"},
		{"nothing", "", "(no address)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			_, err := oona.Connect(context.Background(), oona.Config{URL: test.url, Keyring: keyring(t), DialTimeout: 200 * time.Millisecond})
			var connect *oona.ConnectError
			if !errors.As(err, &connect) || connect.Addr != test.addr {
				t.Fatalf("error = %v", err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is told: %v", err)
			}
			if took := time.Since(begun); took > soon {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestConnectWithoutKeyringIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := oona.Connect(context.Background(), oona.Config{URL: "redis://127.0.0.1:1"}); err == nil {
		t.Fatal("connected to a bus that accepts forgeries")
	}
}

// lines counts log lines.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(p))
	return len(p), nil
}

func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// connect connects with the patience that a busy machine asks for, which may hold up
// us or the server between any two instructions.
func connect(t testing.TB, url string, edit func(*oona.Config)) *oona.Client {
	t.Helper()
	cfg := oona.Config{URL: url, Group: "g", Consumer: "c", Keyring: keyring(t), DialTimeout: soon}
	if edit != nil {
		edit(&cfg)
	}
	for deadline := time.Now().Add(soon); ; {
		c, err := oona.Connect(context.Background(), cfg)
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		if time.Now().After(deadline) { // the hasty try again
			t.Fatal(err)
		}
	}
}

// hasty is for a client that is to meet an outage and not to wait for its end. Until
// the outage has begun, nothing may depend on one call of it.
func hasty(cfg *oona.Config) { cfg.DialTimeout = 500 * time.Millisecond }

func start(t testing.TB, c *oona.Client, sub oona.Subscription) {
	t.Helper()
	<-launch(t, c, sub)
}

// launch consumes until the test ends, and tells when the consumer is ready.
func launch(t testing.TB, c *oona.Client, sub oona.Subscription) <-chan struct{} {
	t.Helper()
	fetch, stop := context.WithCancel(context.Background())
	ready := make(chan struct{})
	sub.OnReady = func() { close(ready) }
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Consume(fetch, context.Background(), sub); err != nil {
			t.Errorf("consume: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return ready
}

func TestTooLargeMessageIsRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	c := connect(t, redistest.Start(t).URL, func(cfg *oona.Config) { cfg.MaxPayload = 1000 })
	err := c.Publish(context.Background(),
		oona.Message{Payload: &leyline.SystemStatePacket{PacketId: strings.Repeat("x", 2000)}},
		oona.Message{Payload: &leyline.SystemStatePacket{}}, oona.Message{Payload: &leyline.HardwareContext{}})
	if !errors.Is(err, oona.ErrTooLarge) || !errors.Is(err, oona.ErrNotPublishable) {
		t.Errorf("error = %v", err)
	}
	stats, _ := c.Stats(context.Background())
	if stats.Publishing.Stored != 1 {
		t.Errorf("published %v: the good message suffered", stats.Publishing.Stored)
	}
}

func TestAnswerIsStoredEvenWhenRedisIsOutOfMemory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, nil)
	ctx := context.Background()
	if err := c.Publish(ctx, oona.Message{Payload: &leyline.KernelArtifactReady{RequestId: "r"}}); err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureGroups(ctx, "g", "oona.kernels.ready", "oona.kernels.errors"); err != nil {
		t.Fatal(err)
	}
	raw := rawClient(t, server.URL)
	limit := raw.B().ConfigSet().ParameterValue().ParameterValue("maxmemory", "1").Build()
	if err := raw.Do(ctx, limit).Error(); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(ctx, oona.Message{Payload: &leyline.SystemStatePacket{}}); !errors.Is(err, oona.ErrUnavailable) {
		t.Errorf("publishing into a full Redis: %v", err)
	}
	answer := func(context.Context, *oona.Delivery) ([]oona.Message, error) {
		return []oona.Message{{Payload: &leyline.KernelArtifactError{RequestId: "r"}}}, nil
	}
	start(t, c, oona.Subscription{Stream: "oona.kernels.ready",
		Handlers: map[leyline.BusMessageType]oona.Handler{leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY: answer}})
	deadline := time.After(soon)
	for stored := int64(0); stored != 1; {
		stats, err := c.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		stored = stats.Streams["kernel_errors"].Depth
		select {
		case <-deadline:
			t.Fatal("the answer was never stored")
		default:
		}
	}
}

func TestCallerWhoGivesUpDoesNotTripTheBreaker(t *testing.T) {
	t.Parallel()
	c := connect(t, redistest.Start(t).URL, nil)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for range 5 {
		if err := c.Publish(gone, oona.Message{Payload: &leyline.SystemStatePacket{}}); err == nil {
			t.Fatal("published for a caller who left")
		}
	}
	if err := c.Publish(context.Background(), oona.Message{Payload: &leyline.SystemStatePacket{}}); err != nil {
		t.Error(err)
	}
}

func TestCloseTwiceAndPublishAfterwards(t *testing.T) {
	t.Parallel()
	c := connect(t, redistest.Start(t).URL, nil)
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	if err := c.Publish(context.Background(), oona.Message{Payload: &leyline.SystemStatePacket{}}); !errors.Is(err, oona.ErrClosed) {
		t.Errorf("error = %v", err)
	}
}

func TestSubscriptionThatCanNeverWorkIsRefused(t *testing.T) {
	t.Parallel()
	c := connect(t, redistest.Start(t).URL, nil)
	handlers := map[leyline.BusMessageType]oona.Handler{
		leyline.BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE: func(context.Context, *oona.Delivery) ([]oona.Message, error) {
			return nil, nil
		},
	}
	for _, sub := range []oona.Subscription{{}, {Stream: "oona.normal", Handlers: handlers}, {Stream: "x", Batch: -1}} {
		if err := c.Consume(context.Background(), context.Background(), sub); err == nil {
			t.Errorf("%+v was accepted", sub)
		}
	}
}

func TestStreamsConfiguredAsOneCarryTheUnion(t *testing.T) {
	t.Parallel()
	c := connect(t, redistest.Start(t).URL, func(cfg *oona.Config) {
		cfg.Streams.Telemetry, cfg.Streams.Policy = "oona.normal", "oona.normal"
	})
	got := make(chan leyline.BusMessageType, 3)
	note := func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
		got <- d.Type
		return nil, nil
	}
	ctx := context.Background()
	err := errors.Join(c.Publish(ctx, oona.Message{Payload: &leyline.SystemStatePacket{}}), c.Publish(ctx, oona.Message{Payload: &leyline.PolicyUpdate{}}),
		c.PublishTelemetry(ctx, &leyline.TelemetryPacket{}, 0))
	if err != nil {
		t.Fatal(err)
	}
	start(t, c, oona.Subscription{Stream: "oona.normal",
		Handlers: map[leyline.BusMessageType]oona.Handler{1: note, 4: note, 5: note}})
	for range 3 {
		<-got
	}
	if drops := c.Drops(); len(drops) != 0 {
		t.Errorf("drops = %v", drops)
	}
}

func TestRequestThatEveryConsumerWouldDropIsRefusedToItsAuthor(t *testing.T) {
	t.Parallel()
	bus := connect(t, redistest.Start(t).URL, nil)
	for name, request := range map[string]*leyline.KernelPrefetchRequest{
		"no id":        {BlueprintId: "BP001", IssuedAt: timestamppb.Now()},
		"no issued_at": {RequestId: "r", BlueprintId: "BP001"},
	} {
		if err := bus.PublishKernelPrefetchRequest(t.Context(), request); !errors.Is(err, oona.ErrNotPublishable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
