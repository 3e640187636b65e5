package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

const bareStream = "bench.normal"

// casScript writes a value when its version is the expected one.
var casScript = rueidis.NewLuaScript(`
if (redis.call('HGET', KEYS[1], 'v') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[2], 'd', ARGV[3])
redis.call('PEXPIRE', KEYS[1], 86400000)
return 1`)

// rates measures how many reports of 1,000 runs with four seeds each are handled
// in a second, beside a loop that reads, verifies, decodes, loads and
// compare-and-sets two records and acknowledges; and what a run costs.
func (g *growth) rates(ctx context.Context) (err error) {
	plain, err := newTellers(g.redis.url, bareStream)
	if err != nil {
		return err
	}
	defer plain.client.Close()
	if err := createGroup(ctx, plain.client, bareStream, growthGroup); err != nil {
		return err
	}
	peer, err := startSelf([]string{childBareReports, g.redis.url}, nil, g.folder)
	if err != nil {
		return err
	}
	defer func() {
		_, stopErr := peer.stop()
		err = errors.Join(err, stopErr)
	}()
	before, err := g.service.residentMB()
	if err != nil {
		return err
	}
	runs := g.pick(1000, 50)
	turns := []turn{
		{ours, func(column string) error { return g.rate(ctx, g.tellers, column, runs) }},
		{bare, func(column string) error { return g.rate(ctx, plain, column, runs) }},
	}
	return g.interleave(turns, func() error { return g.footprint(ctx, before, runs) })
}

// footprint takes what 1,000 runs add to the service, before anything else has run.
func (g *growth) footprint(ctx context.Context, before float64, runs int) error {
	if err := g.rate(ctx, g.tellers, "", runs); err != nil {
		return err
	}
	after, err := g.service.residentMB()
	g.table.sample("run_memory_kb", ours, max(after-before, 0)*1024/float64(runs))
	return err
}

// rate sends ten reports of each of many fresh runs and takes how fast they are
// handled. The first report of each run is not counted: with it the run begins.
func (g *growth) rate(ctx context.Context, by *tellers, column string, runs int) error {
	const reports = 10
	tellings := make([]*telling, runs)
	batch := fmt.Sprintf("rate-%08x", rand.Uint32())
	for i := range tellings {
		tellings[i] = newTelling(fmt.Sprintf("%s-%d", batch, i), seedsOfRun, leyline.SeedLifecycleStage_SEED_STAGE_BLENDING)
	}
	first, err := by.round(tellings)
	if err != nil {
		return err
	}
	if err := by.stream1(ctx, first); err != nil {
		return err
	}
	var entries []entry
	for range reports {
		round, err := by.round(tellings)
		if err != nil {
			return err
		}
		entries = append(entries, round...)
	}
	begun := time.Now()
	if err := by.stream1(ctx, entries); err != nil {
		return err
	}
	if column != "" {
		g.table.sample("reports_rate", column, float64(len(entries))/time.Since(begun).Seconds())
	}
	return nil
}

func (c *tellers) round(tellings []*telling) ([]entry, error) {
	entries := make([]entry, len(tellings))
	for i, t := range tellings {
		var err error
		if entries[i], err = c.sealed(t); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// stream1 sends entries, never more than fit well below the stream's bound, and
// returns when all are handled.
func (c *tellers) stream1(ctx context.Context, entries []entry) error {
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting, err := waitingIn(ctx, c.client, c.stream, growthGroup)
		if err != nil {
			return err
		}
		if waiting == 0 && len(entries) == 0 {
			return nil
		}
		if n := min(len(entries), unhandled-int(waiting)); n > 0 {
			if err := c.tell(ctx, entries[:n]); err != nil {
				return err
			}
			entries = entries[n:]
			continue
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d reports are not handled after a minute", waiting)
		}
		<-tick.C
	}
}

// serveBareReports is the loop with nothing behind it.
func serveBareReports(ctx context.Context, url string) error {
	keyring, err := signing.NewKeyring(secret)
	if err != nil {
		return err
	}
	client, err := connect(url)
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil {
		if err := keepBatch(ctx, client, keyring); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func keepBatch(ctx context.Context, client rueidis.Client, keyring *signing.Keyring) error {
	read, err := client.Do(ctx, client.B().Xreadgroup().Group(growthGroup, bare).Count(ceilingBatch).Block(500).
		Streams().Key(bareStream).Id(">").Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read reports: %w", err)
	}
	var ids, keys []string
	for _, e := range read[bareStream] {
		packet := new(leyline.SystemStatePacket)
		if err := open(keyring, e.FieldValues, packet); err != nil {
			return err
		}
		ids = append(ids, e.ID)
		stream := trainer.Stream(packet.GetTrainingRunId())
		keys = append(keys, "bench:kasmina:{"+stream+"}", "bench:tamiyo:{"+stream+"}")
	}
	if err := casBatch(ctx, client, keys); err != nil {
		return err
	}
	return client.Do(ctx, client.B().Xack().Key(bareStream).Group(growthGroup).Id(ids...).Build()).Error()
}

// bareRecord is as large as a record of ours.
var bareRecord = string(make([]byte, 2500))

func casBatch(ctx context.Context, client rueidis.Client, keys []string) error {
	versions := make(map[string]int64, len(keys))
	loads := make(rueidis.Commands, len(keys))
	for i, key := range keys {
		loads[i] = client.B().Hmget().Key(key).Field("v", "d").Build()
	}
	for i, reply := range client.DoMulti(ctx, loads...) {
		fields, err := reply.ToArray()
		if err != nil {
			return fmt.Errorf("load record: %w", err)
		}
		version, _ := fields[0].AsInt64()
		versions[keys[i]] = version
	}
	writes := make([]rueidis.LuaExec, len(keys))
	for i, key := range keys {
		version := versions[key]
		versions[key]++ // two reports of one run may be in a batch
		writes[i] = rueidis.LuaExec{Keys: []string{key}, Args: []string{fmt.Sprint(version), fmt.Sprint(version + 1), bareRecord}}
	}
	for _, reply := range casScript.ExecMulti(ctx, client, writes...) {
		if written, err := reply.AsInt64(); err != nil || written != 1 {
			return fmt.Errorf("write record: %d, %w", written, err)
		}
	}
	return nil
}
