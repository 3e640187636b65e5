package urza

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

const (
	// warmKernels and warmBytes bound what Warm reads, so that a boot never waits for
	// a large library.
	warmKernels = 256
	warmBytes   = 256 << 20
	warmers     = 4
)

// Warm reads and verifies kernels in the order of their ids, at most 256 of them and
// 256 MiB, so that the first requests find them in memory. It returns how many are
// ready to be served. A kernel that cannot be served is no error.
func (p *Prefetcher) Warm(ctx context.Context) (int, error) {
	ids, err := p.library.warmSet(ctx)
	if err != nil {
		return 0, fmt.Errorf("urza: warm: %w", err)
	}
	ready := make([]bool, len(ids))
	var group errgroup.Group
	group.SetLimit(warmers)
	for i, id := range ids {
		group.Go(func() error {
			_, _, err := p.library.verified(ctx, key{id: id})
			ready[i] = err == nil
			return nil
		})
	}
	_ = group.Wait() // no member fails
	warmed := 0
	for _, is := range ready {
		if is {
			warmed++
		}
	}
	if err := ctx.Err(); err != nil {
		return warmed, fmt.Errorf("urza: warm: %w", err)
	}
	return warmed, nil
}

// warmSet are the first kernels that fit memory and the bounds.
func (l *Library) warmSet(ctx context.Context) ([]string, error) {
	var records []*Record
	limit := min(warmKernels, l.cfg.CacheSize)
	err := l.scan(ctx, func(_ row, record *Record) {
		if len(records) < limit {
			records = append(records, record)
		}
	}, l.reportRow)
	if err != nil {
		return nil, err
	}
	if err := l.sizeAll(ctx, records); err != nil {
		return nil, err
	}
	var ids []string
	left := int64(warmBytes)
	for _, record := range records {
		if left -= record.Bytes; left < 0 {
			break
		}
		ids = append(ids, record.Descriptor.GetBlueprintId())
	}
	return ids, nil
}
