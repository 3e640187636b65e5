package graft

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// What a state packet says of its sender when the trainer does not.
const (
	packetVersion   = 1
	sourceSubsystem = "tolaria"
)

// outbox holds the newest report until the bus has taken it.
type outbox struct {
	mu      sync.Mutex
	pending *outgoing
	last    uint64         // number of the report queued last
	sent    uint64         // number of the report that the bus took last
	settled chan struct{}  // closed and renewed when one is sent
	told    map[uint64]int // by attach order that failed, how many sent reports tell of it
	signal  chan struct{}
}

type outgoing struct {
	number     uint64
	packet     *leyline.SystemStatePacket
	attributes map[string]string
	failures   []uint64 // attach orders whose failure it tells of
}

// Report queues a report of everything that is grafted. packet holds what the
// trainer knows of itself, epoch and validation figures above all; the graft
// owns it from here, and adds the run, the seeds and what is missing. evidence
// is by seed. A newer report takes the place of one that the bus has not taken.
func (g *Graft) Report(packet *leyline.SystemStatePacket, evidence map[string]Evidence) {
	if packet == nil {
		packet = &leyline.SystemStatePacket{}
	}
	g.number++
	g.complete(packet)
	report := trainer.Report{
		TrainerID: g.config.TrainerID, Resumes: g.config.Resumes,
		Number: g.number, OrderRead: g.inbox.lastRead(), Grafts: make(map[string]trainer.Graft),
		Accepts: g.config.Accepts, HostLayers: g.config.HostLayers, KernelAccess: g.config.KernelAccess,
		Slots: make(map[string][]int, len(g.slots)),
	}
	packet.SeedStates = nil
	for _, slot := range g.slots {
		report.Slots[slot.name] = slot.shape
		for _, seed := range slot.seeds {
			report.Grafts[seed.id] = trainer.Graft{
				Slot: slot.name, Blueprint: seed.blueprint, Checksum: seed.checksum, Order: seed.attachOrder,
			}
			packet.SeedStates = append(packet.SeedStates, g.state(seed, evidence))
		}
	}
	failed, orders := g.failedStates()
	packet.SeedStates = append(packet.SeedStates, failed...)
	g.outbox.queue(g, &outgoing{number: g.number, packet: packet, attributes: report.Attributes(), failures: orders})
}

// complete fills in what the trainer left open.
func (g *Graft) complete(packet *leyline.SystemStatePacket) {
	packet.TrainingRunId = g.config.Run
	if packet.GetExperimentName() == "" {
		packet.ExperimentName = g.config.Experiment
	}
	if packet.GetVersion() == 0 {
		packet.Version = packetVersion
	}
	if packet.GetSourceSubsystem() == "" {
		packet.SourceSubsystem = sourceSubsystem
	}
	if packet.GetPacketId() == "" {
		packet.PacketId = fmt.Sprintf("%s-%d", g.config.TrainerID, g.number)
	}
	if packet.GetTimestampNs() == 0 {
		packet.TimestampNs = uint64(time.Now().UnixNano())
	}
	if packet.TrainingMetrics == nil {
		packet.TrainingMetrics = make(map[string]float32)
	}
	if g.Halted() {
		packet.TrainingMetrics[trainer.MetricHalted] = 1
	}
	if g.runOrder > 0 {
		packet.TrainingMetrics[trainer.MetricOrder] = count(g.runOrder)
	}
}

// state is one seed in a report.
func (g *Graft) state(seed *seed, evidence map[string]Evidence) *leyline.SeedState {
	seed.age++
	metrics := map[string]float32{
		trainer.MetricOrder:           count(seed.order),
		trainer.MetricAlpha:           float32(seed.share()),
		trainer.MetricAlphaSteps:      count(seed.steps),
		trainer.MetricPaused:          0,
		trainer.MetricSharedParameter: count(shared(seed.instance.Parameters(), seed.slot.watched)),
	}
	if seed.paused {
		metrics[trainer.MetricPaused] = 1
	}
	seed.meters.tell(metrics)
	state := &leyline.SeedState{
		SeedId: seed.id, Stage: seed.stage, Metrics: metrics, AgeEpochs: seed.age,
		GradientNorm: metrics[trainer.MetricGradientNorm], LayerDepth: g.depth(seed.slot),
	}
	if measured, ok := evidence[seed.id]; ok {
		measured.tell(state)
	}
	return state
}

// depth is the place of a slot among the host's layers, from 1.
func (g *Graft) depth(slot *Slot) uint32 {
	at := slices.Index(g.config.HostLayers, slot.name)
	if at < 0 {
		at = slot.index
	}
	return uint32(at) + 1
}

// failedStates tells of attaches that failed, each until it was published often
// enough to have been heard, and names their orders.
func (g *Graft) failedStates() (states []*leyline.SeedState, orders []uint64) {
	standing := make(map[uint64]bool, len(g.failures))
	for _, f := range g.failures {
		standing[f.order] = true
	}
	told := g.outbox.toldOf(standing)
	maps.DeleteFunc(g.failures, func(_ string, f *failure) bool { return told[f.order] >= toldFor })
	for _, id := range slices.Sorted(maps.Keys(g.failures)) {
		if g.find(id) != nil {
			continue // it stands, with the kernel it had
		}
		f := g.failures[id]
		orders = append(orders, f.order)
		states = append(states, &leyline.SeedState{SeedId: id, Metrics: map[string]float32{
			trainer.MetricOrder:        count(f.order),
			trainer.MetricAttachFailed: 1,
			trainer.MetricAttachReason: float32(f.reason),
		}})
	}
	return states, orders
}

// toldOf is how often each of these failures was published; others are forgotten.
func (b *outbox) toldOf(standing map[uint64]bool) map[uint64]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.told, func(order uint64, _ int) bool { return !standing[order] })
	return maps.Clone(b.told)
}

// queue makes a report the next to leave.
func (b *outbox) queue(g *Graft, report *outgoing) {
	b.mu.Lock()
	replaced := b.pending != nil
	b.pending, b.last = report, report.number
	b.mu.Unlock()
	if replaced {
		g.counts.add(func(s *Stats) { s.Replaced++ })
	}
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

// next is the report to send now, nil when there is none.
func (b *outbox) next() *outgoing {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pending
}

// done forgets a report that was sent, unless a newer one stands there.
func (b *outbox) done(report *outgoing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending == report {
		b.pending = nil
	}
	b.sent = report.number
	for _, order := range report.failures {
		b.told[order]++
	}
	close(b.settled)
	b.settled = make(chan struct{})
}

// publish sends reports until ctx is done. One that the bus refuses is tried
// again until it takes it, or until a newer one tells more.
func (g *Graft) publish(ctx context.Context) {
	pause, failing := newPause(g.config.TrainerID), false
	for ctx.Err() == nil {
		report := g.outbox.next()
		if report == nil {
			select {
			case <-g.outbox.signal:
			case <-ctx.Done():
			}
			continue
		}
		err := g.config.Bus.PublishReport(ctx, report.packet, report.attributes)
		if err == nil {
			g.outbox.done(report)
			g.counts.add(func(s *Stats) { s.Published++ })
			pause.reset()
			failing = false
			continue
		}
		if ctx.Err() != nil {
			return
		}
		g.counts.add(func(s *Stats) { s.Unpublished++ })
		if !failing {
			g.log.Warn("report not published, training goes on", "run", g.config.Run, "error", err)
			failing = true
		}
		pause.wait(ctx)
	}
}

// Flush waits until the bus has taken the last report, or ctx is done: for the
// end of a program, not for the training loop.
func (g *Graft) Flush(ctx context.Context) error {
	for {
		g.outbox.mu.Lock()
		sent, last, settled := g.outbox.sent, g.outbox.last, g.outbox.settled
		g.outbox.mu.Unlock()
		if sent >= last {
			return nil
		}
		select {
		case <-settled:
		case <-ctx.Done():
			return fmt.Errorf("graft: report %d is not published: %w", last, ctx.Err())
		}
	}
}
