package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
)

const (
	// answerTimeout bounds the wait for one kernel.
	answerTimeout = 5 * time.Second
	// farewellTimeout bounds the removal of the demo's group from the bus.
	farewellTimeout = 2 * time.Second
)

// client is the demo's side of the bus: that of its trainers, and of somebody who
// asks for kernels.
type client struct {
	bus   *oona.Client
	group string
	stop  context.CancelFunc
	wait  sync.WaitGroup

	mu       sync.Mutex
	answered map[string]chan struct{} // by request id, closed by the answer
}

// newClient joins the bus under a name that is nobody else's.
func newClient(ctx context.Context, url, name string, keyring *signing.Keyring) (*client, error) {
	bus, err := oona.Connect(ctx, oona.Config{URL: url, Group: "esper-" + name, Consumer: name, Keyring: keyring})
	if err != nil {
		return nil, fmt.Errorf("join the bus: %w", err)
	}
	c := &client{bus: bus, group: "esper-" + name, answered: make(map[string]chan struct{})}
	ctx, c.stop = context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	c.wait.Go(func() {
		// Once it is ready, what goes wrong shows as answers that do not come.
		ended <- c.bus.Consume(ctx, ctx, oona.Subscription{
			Stream: oona.DefaultStreams().KernelReady, Concurrency: 1, Wanted: c.wanted,
			Handlers: map[leyline.BusMessageType]oona.Handler{
				leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY: c.onReady,
			},
			OnReady: func() { close(ready) },
		})
	})
	select {
	case <-ready:
		return c, nil
	case err := <-ended:
		return nil, fmt.Errorf("read the answers of the library: %w", errors.Join(err, c.close()))
	}
}

// close leaves the bus as if the demo had never been there.
func (c *client) close() error {
	c.stop()
	c.wait.Wait()
	// What stopped the demo does not keep it from tidying up.
	ctx, cancel := context.WithTimeout(context.Background(), farewellTimeout)
	defer cancel()
	err := c.bus.Admin().RemoveGroup(ctx, c.group, oona.DefaultStreams().KernelReady)
	return errors.Join(err, c.bus.Close())
}

func (c *client) wanted(delivery *oona.Delivery) bool {
	ready, ok := delivery.Payload.(*leyline.KernelArtifactReady)
	return ok && c.waiting(ready.GetRequestId()) != nil
}

func (c *client) waiting(id string) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answered[id]
}

func (c *client) onReady(_ context.Context, delivery *oona.Delivery) ([]oona.Message, error) {
	if ready, ok := delivery.Payload.(*leyline.KernelArtifactReady); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		if answered := c.answered[ready.GetRequestId()]; answered != nil {
			close(answered)
			delete(c.answered, ready.GetRequestId())
		}
	}
	return nil, nil
}

// prefetchAll asks for each compiled kernel through the bus, one after the
// other, and measures from request to ready.
func (c *client) prefetchAll(ctx context.Context, kernels []forge.Job) ([]time.Duration, error) {
	latencies := make([]time.Duration, 0, len(kernels))
	for _, kernel := range kernels {
		took, err := c.prefetch(ctx, kernel.BlueprintID)
		if err != nil {
			return nil, fmt.Errorf("kernel %s: %w", kernel.BlueprintID, err)
		}
		latencies = append(latencies, took)
	}
	return latencies, nil
}

func (c *client) prefetch(ctx context.Context, blueprintID string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	id, answered := "demo-"+uuid.NewString(), make(chan struct{})
	c.mu.Lock()
	c.answered[id] = answered
	c.mu.Unlock()
	begun := time.Now()
	err := c.bus.PublishKernelPrefetchRequest(ctx, &leyline.KernelPrefetchRequest{
		RequestId: id, BlueprintId: blueprintID, TrainingRunId: "demo", IssuedAt: timestamppb.Now(),
	})
	if err != nil {
		return 0, err
	}
	select {
	case <-answered:
		return time.Since(begun), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
