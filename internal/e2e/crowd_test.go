package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

// crowdSlot is where each run of a crowd grows: of the shape of the library's own kernels.
const (
	crowdSlot     = "hidden"
	crowdFeatures = 32
)

// crowd are the trainers of many runs in one process. Each reports at an interval and does
// what it is ordered. None trains anything: their figures are those of a seed that does well.
type crowd struct {
	t       *testing.T
	bus     *oona.Client
	members []*member

	mu      sync.Mutex
	delays  []time.Duration // from the last report to each order, by the clock of the bus
	reports int
	late    int // reports that the bus did not take: the next one is instead of it
	orders  int
	again   int      // orders that came again: one is repeated until a report knows of it
	illegal []string // what no order may say
}

// member is one run of a crowd.
type member struct {
	mu      sync.Mutex // held by whoever takes its turn
	run, id string
	orders  *oona.Orders
	number  uint64
	sent    time.Time
	read    uint64                   // the last order
	taken   map[uint64]trainer.Order // by number
	seeds   []crowdSeed
}

type crowdSeed struct {
	id, blueprint, checksum string
	stage                   leyline.SeedLifecycleStage
	attached, order         uint64
	steps                   int
	age                     uint32 // reports since it was attached: it learns from the first one on
	paused                  bool
}

func (s *crowdSeed) kept() bool { return s.stage == leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED }

func newCrowd(t *testing.T, url string, runs int) *crowd {
	t.Helper()
	keyring, err := signing.NewKeyring(secret)
	if err != nil {
		t.Fatal(err)
	}
	bus, err := oona.Connect(t.Context(), oona.Config{URL: url, Group: "crowd", Consumer: "crowd", Keyring: keyring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	c := &crowd{t: t, bus: bus}
	for i := range runs {
		run := fmt.Sprintf("crowd-%d", i)
		c.members = append(c.members, &member{run: run, id: "trainer-of-" + run, orders: oona.NewOrders(bus, trainer.Stream(run)),
			taken: make(map[uint64]trainer.Order)})
	}
	return c
}

// train lets every run report once an interval, all of them evenly apart, until ctx is done.
func (c *crowd) train(ctx context.Context, interval time.Duration) error {
	const hands = 32
	turns := make(chan *member)
	failed := make([]error, hands)
	var group sync.WaitGroup
	for i := range hands {
		group.Go(func() {
			for m := range turns {
				if err := c.turn(ctx, m); err != nil && ctx.Err() == nil {
					failed[i] = errors.Join(failed[i], err)
				}
			}
		})
	}
	c.deal(ctx, interval, turns)
	close(turns)
	group.Wait()
	return errors.Join(failed...)
}

// deal hands out the runs in turn, each in its moment. What is late is not left out.
func (c *crowd) deal(ctx context.Context, interval time.Duration, turns chan<- *member) {
	begun := time.Now()
	for n := 0; ; n++ {
		due := begun.Add(interval * time.Duration(n) / time.Duration(len(c.members)))
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(due)):
		}
		select {
		case <-ctx.Done():
			return
		case turns <- c.members[n%len(c.members)]:
		}
	}
}

// turn carries out what came for a run, and reports.
func (c *crowd) turn(ctx context.Context, m *member) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := c.obey(ctx, m); err != nil {
		return err
	}
	packet, report := m.report()
	m.sent = time.Now()
	err := c.bus.PublishReport(ctx, packet, report.Attributes())
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, oona.ErrUnavailable) || errors.Is(err, oona.ErrOverloaded) {
		c.late++
		return nil
	}
	if err != nil {
		return fmt.Errorf("report %d of %s: %w", m.number, m.run, err)
	}
	c.reports++
	return nil
}

func (c *crowd) obey(ctx context.Context, m *member) error {
	came, err := m.orders.Next(ctx)
	if err != nil {
		return err
	}
	for _, delivery := range came {
		command, _ := delivery.Payload.(*leyline.AdaptationCommand)
		order, err := trainer.ReadOrder(command)
		if err != nil {
			return fmt.Errorf("order of %s: %w", m.run, err)
		}
		c.take(m, order, delivery.Published)
	}
	return nil
}

// take carries out an order, once.
func (c *crowd) take(m *member, order trainer.Order, published time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.orders++
	if before, known := m.taken[order.Number]; known {
		c.again++
		if before.Kind != order.Kind || before.Seed != order.Seed {
			c.illegal = append(c.illegal, fmt.Sprintf("%s: order %d was %s %s, and is %s %s",
				m.run, order.Number, before.Kind, before.Seed, order.Kind, order.Seed))
		}
		return
	}
	if order.Number != m.read+1 {
		c.illegal = append(c.illegal, fmt.Sprintf("%s: order %d follows %d", m.run, order.Number, m.read))
	}
	m.taken[order.Number], m.read = order, order.Number
	c.delays = append(c.delays, published.Sub(m.sent))
	if why := m.carryOut(order); why != "" {
		c.illegal = append(c.illegal, fmt.Sprintf("%s: order %d: %s", m.run, order.Number, why))
	}
}

// carryOut changes a seed as it is ordered, or says what is wrong with the order.
func (m *member) carryOut(order trainer.Order) (why string) {
	at := slices.IndexFunc(m.seeds, func(s crowdSeed) bool { return s.id == order.Seed })
	switch {
	case order.Kind == trainer.Attach && at < 0:
		m.seeds = append(m.seeds, crowdSeed{
			id: order.Seed, blueprint: order.Blueprint, checksum: order.Kernel.Checksum, stage: order.Stage,
			attached: order.Number, order: order.Number,
		})
	case order.Kind == trainer.Attach:
		return order.Seed + " is attached twice"
	case at < 0:
		return fmt.Sprintf("%s of %s, which is not there", order.Kind, order.Seed)
	case order.Kind == trainer.Drop:
		m.seeds = slices.Delete(m.seeds, at, at+1)
	case order.Kind == trainer.Pause || order.Kind == trainer.Resume: // its stage stays
		m.seeds[at].order, m.seeds[at].paused = order.Number, order.Kind == trainer.Pause
	default:
		stage := m.seeds[at].stage
		if order.Stage != 0 && order.Stage != stage && order.Stage != stage+1 {
			why = fmt.Sprintf("%s goes from %s to %s", order.Seed, stage, order.Stage)
		}
		m.seeds[at].order, m.seeds[at].stage = order.Number, max(stage, order.Stage)
	}
	return why
}

// report is the next one of a run: the host stalls, and each of its seeds does well.
func (m *member) report() (*leyline.SystemStatePacket, trainer.Report) {
	m.number++
	packet := &leyline.SystemStatePacket{
		Version: 1, CurrentEpoch: uint32(m.number), GlobalStep: 28 * m.number, //nolint:gosec // a few hundred
		ValidationLoss: 0.4, ValidationAccuracy: 0.9, TrainingLoss: 0.3, TimestampNs: uint64(time.Now().UnixNano()), //nolint:gosec // after 1970
		PacketId: fmt.Sprintf("%s-%d", m.run, m.number), SourceSubsystem: "tolaria", TrainingRunId: m.run,
		TrainingMetrics: map[string]float32{"epoch_ms": 12},
	}
	report := trainer.Report{
		TrainerID: m.id, Number: m.number, OrderRead: m.read, HostLayers: []string{crowdSlot, "head"},
		KernelAccess: []string{"http"}, Slots: map[string][]int{crowdSlot: {crowdFeatures}}, Grafts: map[string]trainer.Graft{},
	}
	for i := range m.seeds {
		seed := &m.seeds[i]
		report.Grafts[seed.id] = trainer.Graft{Slot: crowdSlot, Blueprint: seed.blueprint, Checksum: seed.checksum, Order: seed.attached}
		packet.SeedStates = append(packet.SeedStates, seed.state())
	}
	return packet, report
}

func (s *crowdSeed) state() *leyline.SeedState {
	s.age++
	if s.stage == leyline.SeedLifecycleStage_SEED_STAGE_BLENDING && !s.paused {
		s.steps += 28
	}
	state := &leyline.SeedState{
		SeedId: s.id, Stage: s.stage, GradientNorm: 0.5, LearningRate: 0.001, AgeEpochs: s.age,
		Metrics: map[string]float32{
			trainer.MetricOrder: float32(s.order), trainer.MetricAlpha: min(1, float32(s.steps)/20), trainer.MetricAlphaSteps: float32(s.steps),
			trainer.MetricLossBefore: 0.4, trainer.MetricLossAfter: 0.3, trainer.MetricLossError: 0.01,
			trainer.MetricAccuracyBefore: 0.9, trainer.MetricAccuracyAfter: 0.95, trainer.MetricAccuracyError: 0.005,
			trainer.MetricHeldOut: 500, trainer.MetricGradientNorm: 0.5, trainer.MetricHostGradientMax: 0,
			trainer.MetricTrainLoss: 1 / float32(s.age), trainer.MetricForwardMS: 0.2,
		},
	}
	if s.paused {
		state.Metrics[trainer.MetricPaused], state.Metrics[trainer.MetricAlpha] = 1, 0
	}
	return state
}

// String tells how far the runs are: of each stage how many have a seed there at most.
func (c *crowd) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	stages := make(map[string]int)
	for _, m := range c.members {
		far := leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN
		for _, s := range m.seeds {
			far = max(far, s.stage)
		}
		stages[far.String()]++
	}
	return fmt.Sprintf("%d reports, %d not taken, %d orders, %d again: %v", c.reports, c.late, c.orders, c.again, stages)
}

// kept is how many runs keep a seed.
func (c *crowd) kept() (runs int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if slices.ContainsFunc(m.seeds, func(s crowdSeed) bool { return s.kept() }) {
			runs++
		}
	}
	return runs
}

func (c *crowd) ordered() int  { return c.count(&c.orders) }
func (c *crowd) reported() int { return c.count(&c.reports) }

func (c *crowd) count(of *int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *of
}

func (c *crowd) sortedDelays() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(slices.Values(c.delays))
}
