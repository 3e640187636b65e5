package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
)

const (
	recordDatabase  = 8  // of the Redis: nothing else lies there
	recordsInFlight = 64 // so that the cores do not wait for each other
)

// loadAndStore has as many runs as are in flight load their record and compare-and-set it, time
// after time: as often as rateOnAllCores decides.
func (b *bench) loadAndStore(ctx context.Context, column string, n int) (err error) {
	d, err := settled(column)
	if err != nil {
		return err
	}
	keys, err := signing.NewKeyring(secret)
	if err != nil {
		return err
	}
	bus, err := oona.Connect(ctx, oona.Config{
		URL: fmt.Sprintf("redis://%s/%d", b.redis.addr, recordDatabase), Group: "bench", Consumer: "bench", Keyring: keys,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	records := bus.Records(func(run string) string { return "run." + run })
	times := n * runtime.GOMAXPROCS(0) / recordsInFlight
	failed := make([]error, recordsInFlight)
	var all sync.WaitGroup
	begun := time.Now()
	for i := range failed {
		all.Go(func() {
			key := oona.RecordKey{Part: "bench", Run: fmt.Sprint(i)}
			for range times {
				var kept oona.Record
				if kept, failed[i] = records.Load(ctx, key); failed[i] != nil {
					return
				}
				_, failed[i] = records.Save(ctx, oona.RecordWrite{Key: key, Version: kept.Version, Value: d.record})
				if failed[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	b.table.sample("decisions_rate", column, float64(times*recordsInFlight)/time.Since(begun).Seconds())
	return errors.Join(failed...)
}
