package urza

import (
	"context"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
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
	report := Maintenance{Expired: l.lookup.expire()}
	err := l.survey(ctx, &report)
	if err == nil {
		l.counts.missing.Store(int64(len(report.Missing)))
		l.counts.quarantined.Store(int64(len(report.Quarantined)))
		l.counts.skipped.Store(int64(len(report.Skipped)))
		report.Swept, err = l.store.Sweep(time.Now())
	}
	if err != nil {
		return report, fmt.Errorf("urza: maintain: %w", err)
	}
	return report, nil
}

// survey reads the rows first and leaves the files for later, so that no read
// cursor is held open while a slow disk is asked.
func (l *Library) survey(ctx context.Context, report *Maintenance) error {
	var rows []catalogue.Row
	var refs []string
	good := func(r catalogue.Row, record *Record) {
		r.Metadata = "" // may be large
		rows, refs = append(rows, r), append(refs, record.ArtifactRef)
	}
	bad, err := l.lookup.scan(ctx, good, l.catalogue.Each, l.catalogue.EachVariant)
	if err != nil {
		return err
	}
	report.Rows, report.Skipped = len(rows), bad
	sizes, err := l.store.Sizes(ctx)
	if err != nil {
		return err
	}
	for i, r := range rows {
		_, present := sizes[refs[i]]
		switch {
		case r.Quarantined:
			report.Quarantined = append(report.Quarantined, r.Key().String())
		case !present && l.store.Gone(ctx, refs[i]):
			report.Missing = append(report.Missing, r.Key().String())
		}
	}
	return nil
}
