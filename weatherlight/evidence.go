package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/urza"
)

// keepEvidence keeps what others found out about a blueprint: how it was judged, or
// measured. While the library is away it waits.
func keepEvidence(store *urza.EvidenceStore) oona.Handler {
	return func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
		err := noteEvidence(ctx, store, d)
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

func noteEvidence(ctx context.Context, store *urza.EvidenceStore, d *oona.Delivery) error {
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

// countOutcome keeps what a seed came to with its blueprint. The report itself is on its
// way whatever becomes of that.
func (s *Service) countOutcome(ctx context.Context, report *leyline.FieldReport) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	if err := s.library.Evidence().Ended(ctx, report); err != nil {
		s.logger.Warn("what a seed came to is not counted for its blueprint",
			"blueprint", report.GetBlueprintId(), "report", report.GetReportId(), "error", err)
	}
}
