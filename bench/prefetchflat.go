package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
)

const (
	// fewKernels is the column of the library that the large ones are compared
	// with: 50 kernels of 12 KiB.
	fewKernels    = "50_kernels"
	manyRows      = 100_000
	largeArtifact = 100 << 20
)

func prefetchFlatRows() []row {
	return []row{
		{"prefetch_rate_100k_rows", "requests/s", higher, nil},
		{"prefetch_rate_100mb", "requests/s", higher, nil},
	}
}

// library is a service of its own, whose library is small or large.
type library struct {
	column string
	fill   func(ctx context.Context, b *bench, folder string) (map[string]string, error)

	service   *service
	requester *requester
}

// measurePrefetchFlat asks for 50 kernels out of a large catalogue, and for 50
// large kernels. All services use one Redis, each a database of its own.
func measurePrefetchFlat(ctx context.Context, b *bench) error {
	libraries := []*library{
		{column: fewKernels, fill: func(ctx context.Context, _ *bench, folder string) (map[string]string, error) {
			return fillLibrary(ctx, folder)
		}},
		{column: "prefetch_rate_100k_rows", fill: fillRows},
		{column: "prefetch_rate_100mb", fill: fillLarge},
	}
	var failures []error
	for i, l := range libraries {
		if err := l.start(ctx, b, i+1); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", l.column, err))
			break
		}
	}
	if failures == nil {
		failures = append(failures, b.interleaveLibraries(ctx, libraries))
	}
	for _, l := range libraries {
		failures = append(failures, l.close(ctx))
	}
	return errors.Join(failures...)
}

func (b *bench) interleaveLibraries(ctx context.Context, libraries []*library) error {
	turns := make([]turn, len(libraries))
	for i, l := range libraries {
		turns[i] = turn{l.column, func(column string) error {
			rate, err := l.requester.rate(ctx, b.rateSize(), inFlight)
			b.sampleLibrary(column, rate)
			return err
		}}
	}
	return b.interleave(turns, func() error {
		for _, l := range libraries {
			// What is cold is read now.
			if _, err := l.requester.rate(ctx, 1000, len(l.requester.blueprints)); err != nil {
				return fmt.Errorf("%s: %w", l.column, err)
			}
		}
		return nil
	})
}

// sampleLibrary takes down the small library beside each of the large ones.
func (b *bench) sampleLibrary(column string, rate float64) {
	if column != fewKernels {
		b.table.sample(column, ours, rate)
		return
	}
	for _, r := range prefetchFlatRows() {
		b.table.sample(r.name, fewKernels, rate)
	}
}

func (l *library) start(ctx context.Context, b *bench, database int) error {
	folder := filepath.Join(b.folder, "library-"+l.column)
	checksums, err := l.fill(ctx, b, folder)
	if err != nil {
		return err
	}
	url := fmt.Sprintf("redis://%s/%d", b.redis.addr, database)
	if l.service, err = b.startService(ctx, folder, url, false, "", permitAll()...); err != nil {
		return err
	}
	l.requester, err = newRequester(ctx, url, streams{"oona.kernels.requests", "oona.kernels.ready"}, checksums)
	return err
}

// close fails when the service refused a request.
func (l *library) close(ctx context.Context) error {
	if l.service == nil {
		return nil
	}
	if l.requester != nil {
		l.requester.client.Close()
	}
	return errors.Join(l.service.refused(ctx), l.service.quit())
}

// fillRows stores the 50 kernels and adds rows until there are manyRows.
func fillRows(ctx context.Context, b *bench, folder string) (map[string]string, error) {
	checksums, err := fillLibrary(ctx, folder)
	if err != nil {
		return nil, err
	}
	return checksums, copyRow(ctx, folder, "'X' || n", b.pick(manyRows, 1000)-len(checksums))
}

// fillLarge stores one large artifact, which all 50 rows refer to. Each row is
// verified by itself.
func fillLarge(ctx context.Context, b *bench, folder string) (map[string]string, error) {
	kept, err := openLibrary(ctx, folder)
	if err != nil {
		return nil, err
	}
	blueprints := karn.NewCatalog().List()
	artifact := make([]byte, b.pick(largeArtifact, 1<<20))
	_, _ = rand.NewChaCha8([32]byte{}).Read(artifact) // It never fails.
	saved, err := kept.Save(ctx, blueprints[0], artifact, &leyline.KernelCatalogUpdate{
		ArtifactRef: "large.pt", PrewarmMs: 20, CompileMs: 3, // no kernel of ours is as large
	}, nil)
	if err := errors.Join(err, kept.Close()); err != nil {
		return nil, fmt.Errorf("fill library: %w", err)
	}
	checksums := make(map[string]string)
	for _, blueprint := range blueprints {
		checksums[blueprint.GetBlueprintId()] = saved.GetChecksum()
	}
	return checksums, copyRow(ctx, folder, "printf('BP%03d', n + 1)", len(blueprints)-1)
}

// copyRow adds n copies of the first blueprint's row to the catalogue. id is
// SQL for the blueprint id of the copy of number n, from 1.
func copyRow(ctx context.Context, folder, id string, n int) error {
	db, err := sql.Open("sqlite", databaseFile(folder)) // the driver that urza registers
	if err != nil {
		return fmt.Errorf("open catalogue: %w", err)
	}
	_, err = db.ExecContext(ctx, `INSERT INTO blueprints (blueprint_id, name, tier, artifact_path, metadata_json)
		WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)
		SELECT `+id+`, name, tier, artifact_path, metadata_json FROM numbers, blueprints WHERE blueprint_id = 'BP001'`, n)
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("add rows: %w", err)
	}
	return nil
}
