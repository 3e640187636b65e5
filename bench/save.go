package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
)

// manySavers is how many save at once in the second row: their commits share
// the disk's time.
const manySavers = 8

func saveRows() []row {
	return []row{
		{"save_rate", "kernels/s", higher, nil},
		{"save_rate_8", "kernels/s", higher, nil},
	}
}

// saver makes the artifact of a number durable, with its row.
type saver func(ctx context.Context, number int64, artifact []byte) error

// measureSave stores kernels of 12 KiB, each a file and a row that are on disk
// when the call returns.
func measureSave(ctx context.Context, b *bench) error {
	folder := filepath.Join(b.folder, "save")
	library, err := openLibrary(ctx, folder)
	if err != nil {
		return err
	}
	bare, err := openBareStore(ctx, filepath.Join(b.folder, "save-raw"))
	if err != nil {
		return errors.Join(err, library.Close())
	}
	blueprints := karn.NewCatalog().List()
	saveOurs := func(ctx context.Context, number int64, artifact []byte) error {
		blueprint := blueprints[number%int64(len(blueprints))]
		update := &leyline.KernelCatalogUpdate{PrewarmMs: 20, CompileMs: 3}
		_, err := library.Save(ctx, blueprint, artifact, update, nil)
		return err
	}
	err = b.interleaveSaves(ctx, map[string]saver{ours: saveOurs, raw: bare.save})
	return errors.Join(err, library.Close(), bare.close())
}

func (b *bench) interleaveSaves(ctx context.Context, savers map[string]saver) error {
	var number atomic.Int64
	measure := func(row string, parallel, n int) func(string) error {
		return func(column string) error {
			rate, _, err := timed(n, func() error { return saveAll(ctx, savers[column], &number, parallel, n) })
			b.table.sample(row, column, rate)
			return err
		}
	}
	for _, c := range []struct {
		row         string
		parallel, n int
	}{{"save_rate", 1, b.pick(500, 50)}, {"save_rate_8", manySavers, b.pick(1000, 100)}} {
		work := measure(c.row, c.parallel, c.n)
		warm := func() error { return saveAll(ctx, savers[ours], &number, c.parallel, 50) }
		if err := b.interleave([]turn{{ours, work}, {raw, work}}, warm); err != nil {
			return err
		}
	}
	return nil
}

// saveAll saves n artifacts, none of which was there before.
func saveAll(ctx context.Context, save saver, number *atomic.Int64, parallel, n int) error {
	var left atomic.Int64
	left.Store(int64(n))
	failures := make([]error, parallel)
	var workers sync.WaitGroup
	for i := range parallel {
		workers.Go(func() {
			artifact := make([]byte, artifactSize)
			for failures[i] == nil && left.Add(-1) >= 0 {
				mine := number.Add(1)
				binary.LittleEndian.PutUint64(artifact, uint64(mine))
				failures[i] = save(ctx, mine, artifact)
			}
		})
	}
	workers.Wait()
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return nil
}
