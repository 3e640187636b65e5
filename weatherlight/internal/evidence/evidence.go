// Package evidence keeps what is found out about blueprints: what the bus says of them, and what
// seeds of them came to. The boot hands Keep to the consumer of the normal stream, and
// KeepReports to the runs.
package evidence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/fieldreport"
	"github.com/esper-lite/weatherlight/urza"
)

// Keep keeps what others found out about a blueprint: how it was judged, or
// measured. While the library is away it waits.
func Keep(store *urza.EvidenceStore) oona.Handler {
	return func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
		err := note(ctx, store, d)
		switch {
		case errors.Is(err, urza.ErrEvidence):
			return nil, oona.Permanent(err)
		case errors.Is(err, urza.ErrUnavailable):
			return nil, oona.Outage(err)
		default:
			return nil, err
		}
	}
}

func note(ctx context.Context, store *urza.EvidenceStore, d *oona.Delivery) error {
	switch m := d.Payload.(type) {
	case *leyline.BSDSIssued:
		return store.Judge(ctx, m.GetBsds(), d.Published)
	case *leyline.BSDSFailed:
		return store.JudgementFailed(ctx, m.GetBlueprintId(), m.GetReason(), d.Published)
	case *leyline.BenchmarkReport:
		return store.Measured(ctx, m.GetBenchmark())
	default:
		return fmt.Errorf("%w: %T", urza.ErrEvidence, d.Payload)
	}
}

// countTimeout bounds the wait for the library, for which what a run has to say must not
// wait.
const countTimeout = 2 * time.Second

// KeepReports keeps field reports in a log, and counts with its blueprint what a seed came to.
// What cannot for want of room on disk, or of the file, waits; a report that can never be kept
// is the fault of whatever it is about.
func KeepReports(
	log *fieldreport.Log, store *urza.EvidenceStore, logger *slog.Logger,
) func(context.Context, *leyline.FieldReport) error {
	return func(ctx context.Context, report *leyline.FieldReport) error {
		err := log.Keep(ctx, report)
		if err == nil {
			count(ctx, store, logger, report)
			return nil
		}
		for _, own := range []error{fieldreport.ErrNoReportID, fieldreport.ErrTooLarge, oona.ErrNotPublishable} {
			if errors.Is(err, own) {
				return err
			}
		}
		return oona.Outage(err)
	}
}

// count keeps what a seed came to with its blueprint, when that had to do with it. The report
// itself is on its way whatever becomes of that.
func count(ctx context.Context, store *urza.EvidenceStore, logger *slog.Logger, report *leyline.FieldReport) {
	if tamiyo.Spares(report) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	if err := store.Ended(ctx, report); err != nil {
		logger.Warn("what a seed came to is not counted for its blueprint",
			"blueprint", report.GetBlueprintId(), "report", report.GetReportId(), "error", err)
	}
}
