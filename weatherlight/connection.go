package weatherlight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/admin"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/oona/outbox"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/fleet"
	"github.com/esper-lite/weatherlight/weatherlight/internal/summary"
	"github.com/esper-lite/weatherlight/weatherlight/internal/telemetryqueue"
	"github.com/esper-lite/weatherlight/weatherlight/preflight"
)

// connection is the bus, and the ways onto it.
type connection struct {
	*foundation
	crew

	broker    *embedded.Broker // nil when the bus is elsewhere
	bus       *oona.Client
	busServer admin.Server
	durable   telemetryqueue.Durable
	telemetry *telemetryqueue.Queue
	tamiyo    summary.Mirror
	hold      func(context.Context) error // whether this instance still has its place on the bus
}

// connectBus starts the embedded broker, when it is asked for, and connects to the bus.
func connectBus(ctx context.Context, f *foundation, box *outbox.Outbox) (*connection, error) {
	c := &connection{foundation: f}
	var err error
	if f.settings.Redis.Embedded() {
		if c.broker, err = startBroker(ctx, f); err != nil {
			return nil, err
		}
	}
	config := assembly.Bus(f.settings, f.keyring)
	config.URL = c.url()
	config.Logger = f.logger.With("part", "oona")
	if c.bus, err = oona.Connect(ctx, config); err != nil {
		return nil, errors.Join(err, c.stopBroker(ctx))
	}
	if err := c.inspectServer(ctx); err != nil {
		return nil, errors.Join(err, c.close(ctx))
	}
	c.durable = telemetryqueue.Durable{Outbox: box, Route: c.route, Logger: f.logger}
	c.telemetry = telemetryqueue.New(telemetryqueue.Config{
		Publish: c.bus.Publish, Keep: c.durable.Keep, Logger: f.logger,
	})
	return c, nil
}

func startBroker(ctx context.Context, f *foundation) (*embedded.Broker, error) {
	embedded, err := embedded.Start(embedded.Config{})
	if err != nil {
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	f.logger.Info("embedded broker: volatile, nothing in it survives this process", "url", embedded.URL())
	if err := f.supervisor.Start(ctx, supervise.Spec{Name: workerBroker, Worker: embedded}); err != nil {
		embedded.Close()
		return nil, err
	}
	return embedded, nil
}

func (c *connection) stopBroker(ctx context.Context) error {
	if c.broker == nil {
		return nil
	}
	err := c.supervisor.StopWorker(ctx, workerBroker)
	c.broker.Close()
	return err
}

// inspectServer refuses at boot what the preflight refuses of a bus.
func (c *connection) inspectServer(ctx context.Context) error {
	server, checks := preflight.Bus(ctx, c.bus, c.settings)
	c.busServer = server
	c.logger.Debug("bus", "product", server.Product, "version", server.Version, "skew", server.Skew)
	if err := preflight.Faults(checks); err != nil {
		return err
	}
	c.warn(checks...)
	return nil
}

func (c *connection) close(ctx context.Context) error {
	return errors.Join(c.bus.Close(), c.stopBroker(ctx))
}

// url is the address under which other processes reach the bus.
func (c *connection) url() string {
	if c.broker != nil {
		return c.broker.URL()
	}
	return c.settings.Redis.URL.Reveal()
}

// addr is the bus's address with its password masked.
func (c *connection) addr() string {
	if c.broker != nil {
		return c.broker.URL()
	}
	return c.settings.Redis.URL.String()
}

// route says where a packet travels that commits together with something else.
func (c *connection) route(packet *leyline.TelemetryPacket) oona.Message {
	c.tamiyo.Observe(packet)
	return c.bus.Route(packet, telemetry.Priority(packet))
}

// idleBlock is how long one read of an empty stream may wait. A stop and a new
// entry end it at once; only that many questions less are asked while nothing
// happens.
const idleBlock = 2 * time.Second

// consumer is a worker that reads one stream. It is ready once its group exists
// and its own pending entries were read.
func (c *connection) consumer(name string, subscription oona.Subscription) supervise.Spec {
	subscription.Fence = c.hold
	run := func(ctx context.Context) error { return c.consume(ctx, supervise.Work(ctx), name, subscription) }
	return supervise.Spec{Name: name, Worker: supervise.WorkerFunc(run), AwaitReady: true}
}

// leaderConsumer is a consumer of the instance that leads. It takes over what its
// predecessors had in hand before it reads on: they do not act any more.
func (c *connection) leaderConsumer(f *fleet.Fleet, name string, subscription oona.Subscription) supervise.Spec {
	subscription.Fence, subscription.Exclusive = f.HoldLead, true
	run := func(ctx, work context.Context) error { return c.consume(ctx, work, name, subscription) }
	return supervise.Spec{Name: name, Worker: supervise.WorkerFunc(f.WhileLeader(run)), AwaitReady: true}
}

// consume reads until ctx is done or fetching is stopped; then it rests until
// ctx is done, for its end would count as a failure.
func (c *connection) consume(ctx, work context.Context, name string, subscription oona.Subscription) error {
	subscription.Stream = streamOf(name, assembly.Streams(c.settings))
	subscription.Concurrency = cmp.Or(subscription.Concurrency, c.settings.Workers.MaxConcurrency)
	subscription.Block = idleBlock
	fetch, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(c.fetch, end)()
	subscription.OnReady = func() { supervise.Ready(ctx) }
	if err := c.bus.Consume(fetch, work, subscription); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// only handles one type of message.
func only(kind leyline.BusMessageType, handler oona.Handler) map[leyline.BusMessageType]oona.Handler {
	return map[leyline.BusMessageType]oona.Handler{kind: handler}
}

// typed adapts a function of one message type to the bus.
func typed[M proto.Message](handle func(context.Context, M) ([]oona.Message, error)) oona.Handler {
	return func(ctx context.Context, delivery *oona.Delivery) ([]oona.Message, error) {
		message, ok := delivery.Payload.(M)
		if !ok {
			return nil, oona.Permanent(fmt.Errorf("payload is %T, want %T", delivery.Payload, message))
		}
		return handle(ctx, message)
	}
}
