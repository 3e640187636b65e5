package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/redis/rueidis"
)

// inFlight is how many requests wait for their answers in the throughput rows.
const inFlight = 100

func prefetchRows() []row {
	return []row{
		{"prefetch_rate_100", "requests/s", higher, map[string]float64{prototype: 4.95, prototypeTuned: 986}},
		{"prefetch_cpu_us_100", "us/request", lower, map[string]float64{prototype: 350, prototypeTuned: 160}},
		{"prefetch_redis_cpu_us_100", "us/request", lower, nil},
		{"prefetch_p50_ms", "ms", lower, map[string]float64{prototype: 203.5, prototypeTuned: 1.29}},
		{"prefetch_p99_ms", "ms", lower, map[string]float64{prototype: 204.8, prototypeTuned: 2.10}},
	}
}

func embeddedRows() []row {
	return []row{{"prefetch_embedded_100", "requests/s", higher, map[string]float64{prototype: 4.95, prototypeTuned: 986}}}
}

// contender is one process that answers kernel requests, and its client.
type contender struct {
	column string
	*child
	*requester
}

// measurePrefetch takes requests from their entry in Redis to their answer, with
// 100 and with one in flight. Both columns have the same driver, which runs on
// the same cores as the bus and whoever answers. Ours is the whole service as it
// is run: it also keeps a mark of each request. Its own seeds wait for nothing
// here, so it does not read the answers.
func measurePrefetch(ctx context.Context, b *bench) error {
	arena, err := b.newArena(ctx, "redis", b.redis.url)
	if err != nil {
		return err
	}
	err = b.prefetchRuns(ctx, arena)
	return errors.Join(err, arena.close(ctx))
}

func (b *bench) prefetchRuns(ctx context.Context, arena *arena) error {
	if b.table.wants("prefetch_rate_100", "prefetch_cpu_us_100", "prefetch_redis_cpu_us_100") {
		err := b.interleave(arena.turns(func(c *contender) error {
			ran, err := b.redis.running(func() error {
				return b.measureRate(ctx, c, b.rateSize(), "prefetch_rate_100", "prefetch_cpu_us_100")
			})
			b.table.sample("prefetch_redis_cpu_us_100", c.column, ran/float64(b.rateSize()))
			return err
		}))
		if err != nil {
			return err
		}
	}
	if !b.table.wants("prefetch_p50_ms", "prefetch_p99_ms") {
		return nil
	}
	return b.interleave(arena.turns(func(c *contender) error {
		took, err := c.latencies(ctx, b.pick(2000, 200))
		if err != nil {
			return err
		}
		b.table.sample("prefetch_p50_ms", c.column, quantile(took, 0.50))
		b.table.sample("prefetch_p99_ms", c.column, quantile(took, 0.99))
		return nil
	}))
}

// measureEmbedded does the same on the broker inside the service.
func measureEmbedded(ctx context.Context, b *bench) error {
	arena, err := b.newArena(ctx, "embedded", "embedded:")
	if err != nil {
		return err
	}
	err = b.interleave(arena.turns(func(c *contender) error {
		return b.measureRate(ctx, c, b.pick(4000, 1000), "prefetch_embedded_100", "")
	}))
	return errors.Join(err, arena.close(ctx))
}

// measureRate takes the rate of a contender and the processor time it spends.
func (b *bench) measureRate(ctx context.Context, c *contender, n int, rateRow, cpuRow string) error {
	ran, err := c.running(func() error {
		rate, err := c.rate(ctx, n, inFlight)
		if err == nil {
			b.table.sample(rateRow, c.column, rate)
		}
		return err
	})
	b.table.sample(cpuRow, c.column, ran/float64(n))
	return err
}

func (b *bench) rateSize() int { return b.pick(20_000, 3000) }

// interleave gives every column one turn without counting it, so that caches
// are warm, and then its turn in each run.
func (b *bench) interleave(turns []turn, warm func() error) error {
	if err := warm(); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	for i := range b.runs {
		if err := inTurn(i, turns); err != nil {
			return err
		}
	}
	return nil
}

// arena is a service with 50 kernels and the ceilings, on one bus.
type arena struct {
	service    *service
	ceilings   []*child
	contenders []*contender
}

func (b *bench) newArena(ctx context.Context, name, url string) (*arena, error) {
	folder := filepath.Join(b.folder, "prefetch-"+name)
	profile := ""
	if b.profile != "" {
		profile = b.profile + "." + name
	}
	checksums, err := fillLibrary(ctx, folder)
	if err != nil {
		return nil, err
	}
	a := new(arena)
	if a.service, err = b.startService(ctx, folder, url, false, profile, permitAll()...); err != nil {
		return nil, err
	}
	if err := a.populate(ctx, folder, checksums); err != nil {
		return nil, errors.Join(err, a.close(ctx))
	}
	return a, nil
}

func (a *arena) populate(ctx context.Context, folder string, checksums map[string]string) error {
	status, err := a.service.status(ctx)
	if err != nil {
		return err
	}
	asOurs, err := newRequester(ctx, status.Bus, streams{"oona.kernels.requests", "oona.kernels.ready"}, checksums)
	if err != nil {
		return err
	}
	asOurs.checksums = checksums
	a.contenders = append(a.contenders, &contender{ours, a.service.child, asOurs})
	for _, column := range []string{ceiling, ceilingOnce} {
		if err := a.addCeiling(ctx, column, status.Bus, folder, checksums); err != nil {
			return err
		}
	}
	return nil
}

func (a *arena) addCeiling(ctx context.Context, column, bus, folder string, checksums map[string]string) error {
	asked, err := newRequester(ctx, bus, ceilingStreams(column), checksums)
	if err != nil {
		return err
	}
	if err := createGroup(ctx, asked.client, asked.on.requests, ceilingGroup); err != nil {
		return err
	}
	process, err := startSelf([]string{childCeiling, bus, column}, nil, folder)
	if err != nil {
		return err
	}
	a.ceilings = append(a.ceilings, process)
	a.contenders = append(a.contenders, &contender{column, process, asked})
	return nil
}

// turns are the runs of each contender, and one warming round of all of them.
func (a *arena) turns(measure func(*contender) error) ([]turn, func() error) {
	turns := make([]turn, len(a.contenders))
	for i, c := range a.contenders {
		turns[i] = turn{c.column, func(string) error { return measure(c) }}
	}
	return turns, a.warm
}

func (a *arena) warm() error {
	for _, c := range a.contenders {
		if _, err := c.rate(context.Background(), 1000, inFlight); err != nil {
			return fmt.Errorf("%s: %w", c.column, err)
		}
	}
	return nil
}

// close ends all processes. A service that refused a request was not measured
// but broken.
func (a *arena) close(ctx context.Context) error {
	var failures []error
	for _, process := range a.ceilings {
		failures = append(failures, process.quit())
	}
	failures = append(failures, a.service.refused(ctx))
	for _, c := range a.contenders {
		c.client.Close()
	}
	return errors.Join(append(failures, a.service.quit())...)
}

func createGroup(ctx context.Context, client rueidis.Client, stream, group string) error {
	command := client.B().XgroupCreate().Key(stream).Group(group).Id("0").Mkstream().Build()
	if err := client.Do(ctx, command).Error(); err != nil {
		return fmt.Errorf("create group on %s: %w", stream, err)
	}
	return nil
}
