package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	normalStream = "oona.normal"
	growthGroup  = "weatherlight"
	// seedsOfRun is how many seeds each run of the rate has.
	seedsOfRun = 4
	// unhandled bounds the reports that wait, well below the bound of the stream.
	unhandled = 2000
)

// bare is the column of a loop with nothing behind it.
const bare = "bare"

func growthRows() []row {
	return []row{
		{"report_to_order_p50_ms", "ms", lower, nil},
		{"report_to_order_p99_ms", "ms", lower, nil},
		{"reports_rate", "reports/s", higher, nil},
		{"run_redis_kb", "KiB", lower, nil},
		{"run_memory_kb", "KiB", lower, nil},
		{"variant_ms", "ms", lower, nil},
	}
}

// measureGrowth drives a service as many trainers do.
func measureGrowth(ctx context.Context, b *bench) error {
	folder := filepath.Join(b.folder, "growth")
	service, err := b.startService(ctx, folder, b.redis.url, true, "")
	if err != nil {
		return err
	}
	if err := service.awaitForge(ctx); err != nil {
		return errors.Join(err, service.quit())
	}
	g := &growth{bench: b, service: service}
	if g.tellers, err = newTellers(b.redis.url, normalStream); err == nil {
		err = g.measure(ctx)
		g.client.Close()
	}
	return errors.Join(err, service.quit())
}

type growth struct {
	*bench
	*tellers

	service *service
}

func (g *growth) measure(ctx context.Context) error {
	if g.table.wants("report_to_order_p50_ms", "report_to_order_p99_ms") {
		if err := g.orders(ctx); err != nil {
			return fmt.Errorf("report to order: %w", err)
		}
	}
	if g.table.wants("variant_ms") {
		if err := g.variants(ctx); err != nil {
			return fmt.Errorf("variant: %w", err)
		}
	}
	if g.table.wants("run_redis_kb") {
		if err := g.lives(ctx); err != nil {
			return fmt.Errorf("runs in Redis: %w", err)
		}
	}
	if g.table.wants("reports_rate", "run_memory_kb") {
		return g.rates(ctx)
	}
	return nil
}

// orders measures from storing a report to reading the order of the next stage.
func (g *growth) orders(ctx context.Context) error {
	brink, err := g.brink(ctx)
	if err != nil {
		return err
	}
	return g.interleave([]turn{{ours, func(column string) error {
		took := make([]float64, 0, 200)
		for range g.pick(200, 10) {
			ms, err := g.order1(ctx, brink)
			if err != nil {
				return err
			}
			took = append(took, ms)
		}
		g.table.sample("report_to_order_p50_ms", column, quantile(took, 0.50))
		g.table.sample("report_to_order_p99_ms", column, quantile(took, 0.99))
		return nil
	}}}, func() error { return nil })
}

// brink is how many reports a seed in TRAINING takes until it is told to blend.
func (g *growth) brink(ctx context.Context) (int, error) {
	run, after, err := g.training(ctx)
	if err != nil {
		return 0, err
	}
	for reports := 1; reports <= 64; reports++ {
		e, err := g.sealed(run)
		if err != nil {
			return 0, err
		}
		if err := errors.Join(g.tell(ctx, []entry{e}), g.settled(ctx)); err != nil {
			return 0, err
		}
		count, err := g.client.Do(ctx, g.client.B().Xlen().Key(trainer.Stream(run.run)).Build()).AsInt64()
		if err != nil {
			return 0, err
		}
		if count > 1 {
			_, _, err := g.order(ctx, run.run, after)
			return reports, err
		}
	}
	return 0, errors.New("a seed that does well is never told to blend")
}

// training is a new run whose seed has just been attached.
func (g *growth) training(ctx context.Context) (run *telling, after string, err error) {
	run = newTelling(fmt.Sprintf("order-%016x", rand.Uint64()), 0, 0)
	e, err := g.sealed(run)
	if err != nil {
		return nil, "", err
	}
	if err := errors.Join(g.tell(ctx, []entry{e}), g.settled(ctx)); err != nil {
		return nil, "", err
	}
	if err := g.germinate(ctx, run.run, "seed-0", "BP001", slotName(0)); err != nil {
		return nil, "", err
	}
	number, after, err := g.order(ctx, run.run, "0-0")
	if err != nil {
		return nil, "", err
	}
	run.read = number
	run.seeds = []growing{{
		id: "seed-0", slot: slotName(0), stage: leyline.SeedLifecycleStage_SEED_STAGE_TRAINING, attached: number, order: number,
	}}
	return run, after, nil
}

// order1 takes a fresh run to the brink, and then times one report.
func (g *growth) order1(ctx context.Context, brink int) (ms float64, err error) {
	run, after, err := g.training(ctx)
	if err != nil {
		return 0, err
	}
	entries := make([]entry, brink)
	for i := range entries {
		if entries[i], err = g.sealed(run); err != nil {
			return 0, err
		}
	}
	last := entries[brink-1]
	if err := errors.Join(g.tell(ctx, entries[:brink-1]), g.settled(ctx)); err != nil {
		return 0, err
	}
	stream := trainer.Stream(run.run)
	begun := time.Now()
	replies := g.client.DoMulti(ctx, add(g.client, g.stream, last), g.client.B().Xread().Count(1).
		Block(answerTimeout.Milliseconds()).Streams().Key(stream).Id(after).Build())
	took := time.Since(begun)
	read, err := replies[1].AsXRead()
	if err := errors.Join(replies[0].Error(), err); err != nil || len(read[stream]) != 1 {
		return 0, fmt.Errorf("no order after the report of the brink: %w", err)
	}
	return took.Seconds() * 1e3, nil
}

// settled waits until everything that was sent is handled.
func (g *growth) settled(ctx context.Context) error {
	return poll(ctx, func(ctx context.Context) error {
		waiting, err := waitingIn(ctx, g.client, g.stream, growthGroup)
		if err == nil && waiting > 0 {
			err = fmt.Errorf("%d reports are not handled", waiting)
		}
		return err
	})
}

// waitingIn counts the entries that a group has not acknowledged.
func waitingIn(ctx context.Context, client rueidis.Client, stream, group string) (int64, error) {
	groups, err := client.Do(ctx, client.B().XinfoGroups().Key(stream).Build()).ToArray()
	if err != nil {
		return 0, fmt.Errorf("look at the groups of %s: %w", stream, err)
	}
	for _, message := range groups {
		fields, err := message.AsMap()
		if err != nil {
			return 0, err
		}
		name, lag, pending := fields["name"], fields["lag"], fields["pending"]
		if text, _ := name.ToString(); text != group {
			continue
		}
		behind, _ := lag.AsInt64()
		held, err := pending.AsInt64()
		return behind + held, err
	}
	return 0, fmt.Errorf("%s has no group %s", stream, group)
}

// variants asks for kernels at slots that the library has never seen.
func (g *growth) variants(ctx context.Context) error {
	const ready = "oona.kernels.ready"
	width := 3 + rand.IntN(5)
	return g.interleave([]turn{{ours, func(column string) error {
		slowest := 0.0
		for range g.pick(10, 2) {
			width++
			last, err := lastID(ctx, g.client, ready)
			if err != nil {
				return err
			}
			request := &leyline.KernelPrefetchRequest{
				RequestId: fmt.Sprintf("variant-%016x", rand.Uint64()), BlueprintId: "BP009",
				TrainingRunId: "bench", IssuedAt: timestamppb.Now(),
			}
			e, err := seal(g.keyring, request, trainer.Variant{Slot: []int{width}}.Attributes())
			if err != nil {
				return err
			}
			begun := time.Now()
			replies := g.client.DoMulti(ctx, add(g.client, "oona.kernels.requests", e), g.client.B().Xread().Count(1).
				Block(answerTimeout.Milliseconds()).Streams().Key(ready).Id(last).Build())
			slowest = max(slowest, time.Since(begun).Seconds()*1e3)
			read, err := replies[1].AsXRead()
			if err != nil || len(read[ready]) != 1 {
				return fmt.Errorf("no kernel for a slot of %d features: %w", width, err)
			}
			if err := open(g.keyring, read[ready][0].FieldValues, new(leyline.KernelArtifactReady)); err != nil {
				return err
			}
		}
		g.table.sample("variant_ms", column, slowest)
		return nil
	}}}, func() error { return nil })
}

// lastID is the id of a stream's last entry.
func lastID(ctx context.Context, client rueidis.Client, stream string) (string, error) {
	last, err := client.Do(ctx, client.B().Xrevrange().Key(stream).End("+").Start("-").Count(1).Build()).AsXRange()
	if err != nil || len(last) == 0 {
		return "0-0", err
	}
	return last[0].ID, nil
}
