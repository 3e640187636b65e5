package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tezzeret"
)

const (
	// demoGroup is the consumer group of the demo: it sees its own copy of
	// every stream.
	demoGroup = "esper-demo"
	// answerTimeout bounds each wait for the other side of the bus. A run that
	// is not answered goes on; it only loses its repeatability.
	answerTimeout = 5 * time.Second
)

// client is the trainer's side of the bus. It publishes states and follows what
// the controller and the seed manager say about this run.
type client struct {
	bus  *oona.Client
	stop context.CancelFunc
	wait sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something was learnt
	runID   string
	onStage func(seedID, blueprintID, stage string)
	// evaluated has the commands that the controller issued for each state, by
	// the state's packet id.
	evaluated map[string][]issued
	ours      map[string]bool // ids of this run's seeds
	handled   map[string]bool // command ids that the seed manager has taken up
	answered  map[string]bool // request ids of answered kernel requests
	order     []string        // seed ids in order of appearance
	lives     map[string]*life
}

// issued is a command that the controller has sent.
type issued struct {
	commandID, seedID string
	germinate         bool
}

// life is what is known of one seed.
type life struct {
	blueprintID string
	entries     []entry
}

// entry is a stage by the number of the packet that told of it. Packets of high
// priority overtake the others on their way, so the numbers tell the order.
type entry struct {
	packet int
	stage  string
}

// stages lists the stages in the order in which the seed went through them.
func (l *life) stages() []string {
	sorted := slices.SortedStableFunc(slices.Values(l.entries), func(a, b entry) int { return cmp.Compare(a.packet, b.packet) })
	stages := make([]string, 0, len(sorted))
	for _, entry := range sorted {
		stages = append(stages, entry.stage)
	}
	return slices.Compact(stages)
}

// stage is the seed's latest stage, or empty.
func (l *life) stage() string {
	if stages := l.stages(); len(stages) > 0 {
		return stages[len(stages)-1]
	}
	return ""
}

func newClient(ctx context.Context, url, secret string) (*client, error) {
	keyring, err := signing.NewKeyring(secret)
	if err != nil {
		return nil, err
	}
	bus, err := oona.Connect(ctx, oona.Config{URL: url, Group: demoGroup, Consumer: demoGroup, Keyring: keyring})
	if err != nil {
		return nil, fmt.Errorf("join the bus: %w", err)
	}
	c := &client{
		bus: bus, changed: make(chan struct{}), evaluated: make(map[string][]issued),
		ours: make(map[string]bool), handled: make(map[string]bool), answered: make(map[string]bool), lives: make(map[string]*life),
	}
	ctx, c.stop = context.WithCancel(ctx)
	streams := oona.DefaultStreams()
	c.consume(ctx, streams.Telemetry, leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY, c.onTelemetry)
	c.consume(ctx, streams.Emergency, leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY, c.onTelemetry)
	c.consume(ctx, streams.KernelReady, leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY, c.onReady)
	return c, nil
}

func (c *client) consume(ctx context.Context, stream string, kind leyline.BusMessageType, handle oona.Handler) {
	c.wait.Go(func() {
		// The run ends with ctx; what went wrong before that shows as answers
		// that do not come.
		_ = c.bus.Consume(ctx, ctx, oona.Subscription{
			Stream: stream, Concurrency: 1, Handlers: map[leyline.BusMessageType]oona.Handler{kind: handle},
		})
	})
}

func (c *client) close() error {
	c.stop()
	c.wait.Wait()
	return c.bus.Close()
}

// PublishState sends one epoch's report.
func (c *client) PublishState(ctx context.Context, packet *leyline.SystemStatePacket) error {
	return c.bus.PublishState(ctx, packet)
}

// follow names the run whose seeds are of interest and who wants to know of
// their stages.
func (c *client) follow(runID string, onStage func(seedID, blueprintID, stage string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runID, c.onStage = runID, onStage
}

func (c *client) onReady(_ context.Context, delivery *oona.Delivery) ([]oona.Message, error) {
	if ready, ok := delivery.Payload.(*leyline.KernelArtifactReady); ok {
		c.learn(func() { c.answered[ready.GetRequestId()] = true })
	}
	return nil, nil
}

func (c *client) onTelemetry(_ context.Context, delivery *oona.Delivery) ([]oona.Message, error) {
	packet, ok := delivery.Payload.(*leyline.TelemetryPacket)
	if !ok {
		return nil, nil
	}
	switch packet.GetSourceSubsystem() {
	case "tamiyo":
		c.learn(func() { c.evaluation(packet) })
	case "kasmina":
		c.learn(func() { c.seedPacket(packet) })
	}
	return nil, nil
}

// evaluation reads the controller's answer to a state: its packet carries the
// state's id. The caller holds the lock.
func (c *client) evaluation(packet *leyline.TelemetryPacket) {
	commands := []issued{}
	for _, event := range packet.GetEvents() {
		attributes := event.GetAttributes()
		if event.GetDescription() != "command_issued" || attributes["training_run_id"] != c.runID {
			continue
		}
		c.ours[attributes["seed_id"]] = true
		commands = append(commands, issued{
			commandID: attributes["command_id"],
			seedID:    attributes["seed_id"],
			germinate: strings.HasSuffix(attributes["operation"], "GERMINATE"),
		})
	}
	c.evaluated[packet.GetPacketId()] = commands
}

// seedPacket reads the seed manager's events. The caller holds the lock.
func (c *client) seedPacket(packet *leyline.TelemetryPacket) {
	number := packetNumber(packet.GetPacketId())
	for _, event := range packet.GetEvents() {
		attributes := event.GetAttributes()
		if id := attributes["command_id"]; id != "" {
			c.handled[id] = true
		}
		if event.GetDescription() == "seed_operation" && attributes["blueprint_id"] != "" {
			c.lifeOf(attributes["seed_id"]).blueprintID = attributes["blueprint_id"]
		}
	}
	for _, event := range packet.GetEvents() {
		attributes := event.GetAttributes()
		if event.GetDescription() == "seed_stage" {
			c.enter(attributes["seed_id"], attributes["stage"], number)
		}
	}
}

// enter notes that a seed is in a stage.
func (c *client) enter(seedID, stage string, number int) {
	seed := c.lifeOf(seedID)
	before := seed.stage()
	seed.entries = append(seed.entries, entry{packet: number, stage: stage})
	if seed.stage() != before && c.onStage != nil {
		c.onStage(seedID, seed.blueprintID, stage)
	}
}

func (c *client) lifeOf(seedID string) *life {
	seed, ok := c.lives[seedID]
	if !ok {
		seed = &life{}
		c.lives[seedID] = seed
		c.order = append(c.order, seedID)
	}
	return seed
}

// packetNumber is the manager-wide number at the end of a packet's id.
func packetNumber(id string) int {
	number, err := strconv.Atoi(id[strings.LastIndexByte(id, '-')+1:])
	if err != nil {
		return 0
	}
	return number
}

// settle waits until the controller has evaluated the state and the seed manager
// has acted on what the controller commanded. It makes the run repeatable.
func (c *client) settle(ctx context.Context, packet *leyline.SystemStatePacket) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var commands []issued
	err := c.until(ctx, func() bool {
		var done bool
		commands, done = c.evaluated[packet.GetPacketId()]
		return done
	})
	if err == nil {
		err = c.until(ctx, func() bool { return c.allSettled(commands) })
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// allSettled says whether every command was taken up and every germinated seed
// has its kernel or is gone. The caller holds the lock.
func (c *client) allSettled(commands []issued) bool {
	for _, command := range commands {
		if !c.handled[command.commandID] {
			return false
		}
		if command.germinate && c.waiting(command.seedID) {
			return false
		}
	}
	return true
}

// waiting says whether a seed has not got its kernel yet.
func (c *client) waiting(seedID string) bool {
	seed, ok := c.lives[seedID]
	if !ok {
		return true
	}
	stage := leyline.SeedLifecycleStage(leyline.SeedLifecycleStage_value[seed.stage()])
	return stage <= leyline.SeedLifecycleStage_SEED_STAGE_GERMINATED
}

// prefetchAll asks for each compiled kernel through the bus, one after the
// other, and measures from request to ready.
func (c *client) prefetchAll(ctx context.Context, kernels []tezzeret.Job) ([]time.Duration, error) {
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
	id := "demo-" + uuid.NewString()
	begun := time.Now()
	err := c.bus.PublishKernelPrefetchRequest(ctx, &leyline.KernelPrefetchRequest{
		RequestId: id, BlueprintId: blueprintID, TrainingRunId: "demo", IssuedAt: timestamppb.Now(),
	})
	if err != nil {
		return 0, err
	}
	err = c.until(ctx, func() bool { return c.answered[id] })
	return time.Since(begun), err
}

// learn changes what is known and wakes whoever waits for it.
func (c *client) learn(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// until waits until known holds.
func (c *client) until(ctx context.Context, known func() bool) error {
	for {
		c.mu.Lock()
		done, changed := known(), c.changed
		c.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// seeds lists the lives of this run's seeds in order of appearance.
func (c *client) seeds() []seedReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	reports := make([]seedReport, 0, len(c.order))
	for _, id := range c.order {
		if c.ours[id] {
			seed := c.lives[id]
			reports = append(reports, seedReport{SeedID: id, BlueprintID: seed.blueprintID, Stages: seed.stages()})
		}
	}
	return reports
}
