package urza

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Maintenance is what one pass of Maintain found. Nothing it lists was deleted.
type Maintenance struct {
	Rows        int        // readable rows
	Expired     int        // records dropped from memory
	Missing     []string   // kernels whose file is not there: blueprints, then variants, in order
	Quarantined []string   // kernels whose file was set aside, likewise
	Skipped     []RowError // rows that cannot be read, in order
	Swept       int        // temporary files of crashed saves removed
}

// Maintain drops expired records from memory and reports rows without a file,
// quarantined ones and unreadable ones. Rows and artifacts stay.
func (l *Library) Maintain(ctx context.Context) (Maintenance, error) {
	var report Maintenance
	if l.cfg.CacheTTL > 0 {
		report.Expired = l.cache.expire(l.clock.now(), l.cfg.CacheTTL)
		l.counts.expired.Add(int64(report.Expired))
		l.counts.evictions.Add(int64(report.Expired))
	}
	files, err := l.survey(ctx, &report)
	if err != nil {
		return report, fmt.Errorf("urza: maintain: %w", err)
	}
	if err := l.inspect(ctx, &report, files); err != nil {
		return report, fmt.Errorf("urza: maintain: %w", err)
	}
	l.counts.missing.Store(int64(len(report.Missing)))
	l.counts.quarantined.Store(int64(len(report.Quarantined)))
	l.counts.skipped.Store(int64(len(report.Skipped)))
	if report.Swept, err = l.stores.sweep(time.Now()); err != nil {
		return report, fmt.Errorf("urza: maintain: %w", err)
	}
	return report, nil
}

type surveyed struct {
	kernel      key
	path        string
	quarantined bool
}

// survey reads the rows first and leaves the files for later, so that no read
// cursor is held open while a slow disk is asked.
func (l *Library) survey(ctx context.Context, report *Maintenance) (files []surveyed, err error) {
	good := func(r row, record *Record) {
		files = append(files, surveyed{r.key(), record.ArtifactRef, r.quarantined})
	}
	bad := func(unreadable *RowError) {
		l.reportRow(unreadable)
		report.Skipped = append(report.Skipped, *unreadable)
	}
	return files, l.scanAll(ctx, good, bad)
}

func (l *Library) inspect(ctx context.Context, m *Maintenance, files []surveyed) error {
	m.Rows = len(files)
	sizes, err := l.stores.sizes(ctx)
	if err != nil {
		return err
	}
	for _, file := range files {
		_, present := sizes[file.path]
		switch {
		case file.quarantined:
			m.Quarantined = append(m.Quarantined, file.kernel.String())
		case !present && l.gone(ctx, file.path):
			m.Missing = append(m.Missing, file.kernel.String())
		}
	}
	return nil
}

// gone is false while the store cannot be asked.
func (l *Library) gone(ctx context.Context, ref string) bool {
	_, err := l.stores.identify(ctx, ref)
	return errors.Is(err, fs.ErrNotExist)
}
