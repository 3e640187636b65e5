package graft

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

// Bus is what the graft needs of the message bus. oona.Client is one. Both
// methods verify and sign envelopes; a bus may block, for only Run calls it.
type Bus interface {
	// PublishReport sends a state packet in an envelope with these attributes.
	PublishReport(ctx context.Context, packet *leyline.SystemStatePacket, attributes map[string]string) error
	// FollowOrders hands every command on a stream to take, from the beginning on,
	// until ctx is done.
	FollowOrders(ctx context.Context, stream string, take func(*leyline.AdaptationCommand)) error
}

// Config sets up a graft. Run, Keyring and Bus are required; the zero values of
// the rest mean the default in brackets.
type Config struct {
	Run        string // training_run_id
	Experiment string // experiment_name of reports
	TrainerID  string // of this process [random]
	Resumes    string // the trainer id whose checkpoint this process started from [that of Load]

	Keyring *signing.Keyring // verifies orders
	Bus     Bus
	Host    Host // what the training program does for its seeds [nothing]

	HostLayers   []string // names of the host's layers, input side first
	Accepts      []string // orders taken beyond those for seeds: "optimizer" [none]
	KernelAccess []string // "path", "http", in the order of preference [path, and http with an origin]

	Kernels      Origin        // where kernels are fetched from [none: not by http]
	TrustedKeys  []string      // minisign public keys, one of which must have signed a kernel [none: unsigned ones count]
	MaxArtifact  int64         // bytes of a kernel's file [kernel.MaxFileBytes]
	FetchTimeout time.Duration // of one attach, signature included [30 s]

	MaxSeeds int          // attached at once [64]
	Logger   *slog.Logger // [none]
	Rand     io.Reader    // source of the trainer id [crypto/rand]
}

// Origin is the one server that kernels are fetched from.
type Origin struct {
	URL         string         // scheme://host[:port]
	Token       string         // bearer token for it alone [none]
	Authorities *x509.CertPool // of its certificate [those of the machine]
}

const (
	maxSlots     = 64
	maxNameBytes = 128
	maxSeeds     = 64

	maxDimensions = 3 // of an example at a slot
)

// Errors of the graft.
var (
	// ErrConfig is wrapped by what New and Slot refuse.
	ErrConfig = errors.New("graft: configuration")
	// ErrForeignValue reports a host value that does not belong to the tape.
	ErrForeignValue = errors.New("graft: host value does not belong to the tape")
)

// Graft holds the seeds of one network. See the package's comment.
type Graft struct {
	config  Config
	log     *slog.Logger
	fetcher *fetcher
	slots   []*Slot
	running atomic.Bool
	halted  atomic.Bool

	inbox  inbox
	outbox outbox
	counts counters

	// What follows belongs to the training loop.
	number   uint64              // of the last report
	runOrder uint64              // the last order to the whole run that was applied
	latest   map[string]uint64   // the last order for each seed
	failures map[string]*failure // of attaches, by seed
	moment   uint64              // counts the seeds that began to blend
}

// New checks a configuration and returns a graft without slots.
func New(config Config) (*Graft, error) {
	config.Logger = cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	if config.Rand == nil {
		config.Rand = rand.Reader
	}
	if config.MaxSeeds <= 0 || config.MaxSeeds > maxSeeds {
		config.MaxSeeds = maxSeeds
	}
	switch {
	case config.Run == "" || len(config.Run) > maxNameBytes:
		return nil, fmt.Errorf("%w: a run id of %d bytes, allowed are 1 to %d", ErrConfig, len(config.Run), maxNameBytes)
	case config.Keyring == nil:
		return nil, fmt.Errorf("%w: no keyring", ErrConfig)
	case config.Bus == nil:
		return nil, fmt.Errorf("%w: no bus", ErrConfig)
	case len(config.TrainerID) > maxNameBytes || len(config.Resumes) > maxNameBytes:
		return nil, fmt.Errorf("%w: a trainer id of more than %d bytes", ErrConfig, maxNameBytes)
	}
	if config.TrainerID == "" {
		id := make([]byte, 16)
		if _, err := io.ReadFull(config.Rand, id); err != nil {
			return nil, fmt.Errorf("draw a trainer id: %w", err)
		}
		config.TrainerID = "trainer-" + hex.EncodeToString(id)
	}
	fetcher, err := newFetcher(&config)
	if err != nil {
		return nil, err
	}
	g := &Graft{
		config: config, log: config.Logger, fetcher: fetcher,
		latest: make(map[string]uint64), failures: make(map[string]*failure),
	}
	g.inbox.signal = make(chan struct{}, 1)
	g.inbox.fetching, g.inbox.moved = make(map[uint64]bool), make(chan struct{})
	g.outbox.signal, g.outbox.settled = make(chan struct{}, 1), make(chan struct{})
	g.outbox.told = make(map[uint64]int)
	return g, nil
}

// Slot declares a place where seeds grow: behind a layer whose output has this
// shape for one example (features; sequence, width; or channels, height, width).
// Slots are declared before Load and Run.
func (g *Graft) Slot(name string, shape ...int) (*Slot, error) {
	switch {
	case g.running.Load():
		return nil, fmt.Errorf("%w: slot %q declared after Run", ErrConfig, name)
	case name == "" || len(name) > maxNameBytes:
		return nil, fmt.Errorf("%w: a slot's name of %d bytes, allowed are 1 to %d", ErrConfig, len(name), maxNameBytes)
	case g.slot(name) != nil:
		return nil, fmt.Errorf("%w: slot %q twice", ErrConfig, name)
	case len(g.slots) == maxSlots:
		return nil, fmt.Errorf("%w: more than %d slots", ErrConfig, maxSlots)
	case len(shape) > maxDimensions:
		return nil, fmt.Errorf("%w: slot %q of shape %v: a kernel has at most %d dimensions", ErrConfig, name, shape, maxDimensions)
	}
	if err := trainer.CheckShape(shape); err != nil {
		return nil, fmt.Errorf("%w: slot %q of shape %v: %w", ErrConfig, name, shape, err)
	}
	slot := &Slot{graft: g, name: name, shape: slices.Clone(shape), index: len(g.slots)}
	g.slots = append(g.slots, slot)
	return slot, nil
}

// slot finds a slot; without a name, the only one.
func (g *Graft) slot(name string) *Slot {
	if name == "" && len(g.slots) == 1 {
		return g.slots[0]
	}
	for _, slot := range g.slots {
		if slot.name == name {
			return slot
		}
	}
	return nil
}

// Run publishes reports, follows orders and fetches kernels until ctx is done,
// which is no error. It is called once.
func (g *Graft) Run(ctx context.Context) error {
	if g.running.Swap(true) {
		return errors.New("graft: Run was called before")
	}
	defer g.fetcher.close()
	var workers sync.WaitGroup
	workers.Go(func() { g.publish(ctx) })
	workers.Go(func() { g.follow(ctx) })
	workers.Go(func() { g.fetch(ctx) })
	workers.Wait()
	return nil
}

// follow reads the stream of orders, again from its beginning after a failure:
// what was read before is known by its number.
func (g *Graft) follow(ctx context.Context) {
	pause := newPause(g.config.TrainerID)
	for ctx.Err() == nil {
		err := g.config.Bus.FollowOrders(ctx, trainer.Stream(g.config.Run), func(command *leyline.AdaptationCommand) {
			pause.reset()
			g.take(command, time.Now())
		})
		if ctx.Err() != nil {
			return
		}
		g.log.Warn("orders cannot be followed", "run", g.config.Run, "error", err)
		pause.wait(ctx)
	}
}

// Halted says that an emergency order told the training loop to stop.
func (g *Graft) Halted() bool { return g.halted.Load() }

// TrainerID is this process's in reports and orders.
func (g *Graft) TrainerID() string { return g.config.TrainerID }

// Seeds are the grafted seeds, slot by slot, in the order of their attachment.
func (g *Graft) Seeds() []Seed {
	var seeds []Seed
	for _, slot := range g.slots {
		seeds = append(seeds, slot.Seeds()...)
	}
	return seeds
}

func (g *Graft) find(seedID string) *seed {
	for _, slot := range g.slots {
		if seed := slot.find(seedID); seed != nil {
			return seed
		}
	}
	return nil
}

func (g *Graft) attached() int {
	count := 0
	for _, slot := range g.slots {
		count += len(slot.seeds)
	}
	return count
}

// Step is called once for each optimizer step, behind Backward and while the
// gradients still stand: it measures them, and advances the ramps.
func (g *Graft) Step() {
	for _, slot := range g.slots {
		slot.step()
	}
}

// Change is what one order, or the failure to carry it out, changed.
type Change struct {
	Kind       trainer.Kind
	Order      uint64
	Seed, Slot string                     // empty for an order to the whole run
	From, To   leyline.SeedLifecycleStage // UNKNOWN: not grafted
	// Parameters are the seed's: an optimizer takes them up when it is attached,
	// and drops their state when it is gone.
	Parameters []*kernel.Parameter
	// Err is why an attach failed (an *AttachError), or what the host answered to
	// a restoration or to an optimizer order.
	Err error
}
