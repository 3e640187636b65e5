package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	// ordersOfLife is how many orders a run is given until it is looked at: more
	// than its stream keeps.
	ordersOfLife = 80
	// roundsOfLife bounds the reports until then.
	roundsOfLife = 600
)

// living is a run whose seeds grow as the service says: of four, one does well and is
// kept, the others are dropped at the end of their probation.
type living struct {
	*telling

	after    string          // last entry read of its stream
	asked    map[string]bool // slots whose next seed is on its way
	begun    int             // seeds that were asked for
	attached int
}

// lives measures what runs keep in Redis that have been at it for a while: their
// streams hold as many orders as they may.
func (g *growth) lives(ctx context.Context) error {
	runs := make([]*living, g.pick(20, 3))
	batch := fmt.Sprintf("life-%08x", rand.Uint32())
	for i := range runs {
		runs[i] = &living{telling: newTelling(fmt.Sprintf("%s-%d", batch, i), 0, 0), after: "0-0", asked: map[string]bool{}}
		runs[i].slots = seedsOfRun
	}
	for range roundsOfLife {
		if err := g.liveOn(ctx, runs); err != nil {
			return err
		}
		if !slices.ContainsFunc(runs, func(l *living) bool { return l.read < ordersOfLife }) {
			return g.inRedis(ctx, runs)
		}
	}
	return fmt.Errorf("after %d reports a run has had %d orders", roundsOfLife, runs[0].read)
}

// liveOn sends a report of each run, carries out the orders that come of it, and asks
// for seeds where none grows.
func (g *growth) liveOn(ctx context.Context, runs []*living) error {
	entries := make([]entry, len(runs))
	for i, l := range runs {
		var err error
		if entries[i], err = g.sealed(l.telling); err != nil {
			return err
		}
	}
	if err := g.tell(ctx, entries); err != nil {
		return err
	}
	if err := g.settled(ctx); err != nil {
		return err
	}
	for _, l := range runs {
		if err := g.obey(ctx, l); err != nil {
			return err
		}
		if err := g.sow(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// sow germinates a seed in each slot where none grows.
func (g *growth) sow(ctx context.Context, l *living) error {
	for number := range l.slots {
		slot := slotName(number)
		if l.asked[slot] || slices.ContainsFunc(l.seeds, func(s growing) bool { return s.slot == slot && !s.kept() }) {
			continue
		}
		l.asked[slot] = true
		l.begun++
		if err := g.germinate(ctx, l.run, fmt.Sprintf("seed-%d", l.begun), "BP001", slot); err != nil {
			return err
		}
	}
	return nil
}

// obey reads what a run was ordered since, and carries it out.
func (g *growth) obey(ctx context.Context, l *living) error {
	stream := trainer.Stream(l.run)
	entries, err := g.client.Do(ctx, g.client.B().Xrange().Key(stream).Start("("+l.after).End("+").Build()).AsXRange()
	if err != nil {
		return fmt.Errorf("orders of %s: %w", l.run, err)
	}
	for _, e := range entries {
		command := new(leyline.AdaptationCommand)
		if err := open(g.keyring, e.FieldValues, command); err != nil {
			return fmt.Errorf("order: %w", err)
		}
		order, err := trainer.ReadOrder(command)
		if err != nil {
			return fmt.Errorf("order: %w", err)
		}
		l.after = e.ID
		l.carryOut(order)
	}
	for i := range l.seeds {
		if l.seeds[i].stage == leyline.SeedLifecycleStage_SEED_STAGE_BLENDING {
			l.seeds[i].steps += 28
		}
	}
	return nil
}

func (l *living) carryOut(order trainer.Order) {
	l.read = order.Number
	at := slices.IndexFunc(l.seeds, func(s growing) bool { return s.id == order.Seed })
	switch {
	case order.Kind == trainer.Attach && at < 0:
		l.asked[order.Slot] = false
		l.seeds = append(l.seeds, growing{
			id: order.Seed, slot: order.Slot, stage: order.Stage, attached: order.Number, order: order.Number,
			fails: l.attached%4 != 0,
		})
		l.attached++
	case at < 0:
	case order.Kind == trainer.Drop:
		l.seeds = slices.Delete(l.seeds, at, at+1)
	default:
		l.seeds[at].order = order.Number
		l.seeds[at].stage = max(l.seeds[at].stage, order.Stage)
	}
}

// kept says that a seed is part of its model.
func (s growing) kept() bool { return s.stage == leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED }

// inRedis is the memory of the keys of a run.
func (g *growth) inRedis(ctx context.Context, runs []*living) error {
	var total int64
	for _, l := range runs {
		stream := trainer.Stream(l.run)
		for _, key := range []string{stream, "weatherlight:kasmina:{" + stream + "}", "weatherlight:tamiyo:{" + stream + "}"} {
			used, err := g.client.Do(ctx, g.client.B().MemoryUsage().Key(key).Samples(0).Build()).AsInt64()
			if err != nil {
				return fmt.Errorf("memory of %s: %w", key, err)
			}
			total += used
		}
	}
	g.table.sample("run_redis_kb", ours, float64(total)/1024/float64(len(runs)))
	return nil
}
