package tamiyo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// maxBackoffSteps keeps the exponent of the wait in range.
const maxBackoffSteps = 16

// ReportPublisher sends one field report and returns nil only when the bus has
// taken it.
type ReportPublisher interface {
	PublishFieldReport(ctx context.Context, report *leyline.FieldReport) error
}

// PublishPending sends every pending report whose attempt is due, oldest first,
// and returns how many were sent. A report counts as sent only after publisher
// returned nil; a refused one waits, longer each time, and is never given up.
// The error joins the refusals.
func (l *ReportLog) PublishPending(ctx context.Context, publisher ReportPublisher) (int, error) {
	l.publishing.Lock()
	defer l.publishing.Unlock()
	published := 0
	var failed []error
	for _, report := range l.due(time.Now()) {
		if err := ctx.Err(); err != nil {
			return published, errors.Join(append(failed, fmt.Errorf("publish field reports: %w", err))...)
		}
		if err := l.publish(ctx, publisher, report); err != nil {
			failed = append(failed, err)
			continue
		}
		published++
	}
	return published, errors.Join(failed...)
}

func (l *ReportLog) publish(ctx context.Context, publisher ReportPublisher, report *leyline.FieldReport) error {
	err := publisher.PublishFieldReport(ctx, report)
	if err == nil {
		return l.MarkSent(report.GetReportId())
	}
	if ctx.Err() != nil { // a stop is not the report's fault
		return fmt.Errorf("publish field report %s: %w", report.GetReportId(), err)
	}
	retries, recordErr := l.recordFailure(report.GetReportId(), err)
	l.config.Emit(retryPacket(report.GetReportId(), retries))
	return errors.Join(fmt.Errorf("publish field report %s: %w", report.GetReportId(), err), recordErr)
}

func (l *ReportLog) due(now time.Time) []*leyline.FieldReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	var due []*leyline.FieldReport
	for _, report := range l.reports {
		entry := l.index[report.GetReportId()]
		if !entry.done() && l.attemptDue(entry, now) {
			due = append(due, proto.CloneOf(report))
		}
	}
	return due
}

// attemptDue distrusts a next attempt that lies further ahead than the longest
// wait: the clock was set back since it was written.
func (l *ReportLog) attemptDue(entry delivery, now time.Time) bool {
	ahead := time.UnixMilli(entry.NextAttemptMs).Sub(now)
	return ahead <= 0 || ahead > l.backoff(l.config.MaxRetries)
}

func (l *ReportLog) recordFailure(reportID string, cause error) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.totals.retries++
	entry := l.index[reportID]
	entry.RetryCount++
	entry.NextAttemptMs = time.Now().Add(l.backoff(entry.RetryCount)).UnixMilli()
	entry.LastError = cause.Error()
	return entry.RetryCount, l.record(reportID, entry)
}

func (l *ReportLog) backoff(retries int) time.Duration {
	steps := min(retries, l.config.MaxRetries, maxBackoffSteps)
	wait := float64(l.config.Backoff) * math.Pow(l.config.BackoffMultiplier, float64(steps))
	return time.Duration(min(wait, float64(24*time.Hour)))
}

// retryPacket has the retry count in its id: observers drop packets whose id
// they have seen.
func retryPacket(reportID string, retries int) *leyline.TelemetryPacket {
	count := strconv.Itoa(retries)
	packet := telemetry.New(source, "tamiyo-fr-retry").
		WithID("tamiyo-fr-retry-"+reportID+"-"+count).
		Level(levelWarning).
		Health(healthDegraded, "field_report_retry")
	return withEvents(packet, event("field_report_retry", levelWarning,
		"report_id", reportID, "retry_count", count))
}
