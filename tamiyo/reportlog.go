package tamiyo

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/leyline"
)

// Errors of a ReportLog.
var (
	ErrRecordTooLarge = errors.New("field report is larger than a log record may be")
	ErrNoReportID     = errors.New("field report has no report_id")
	ErrUnknownReport  = errors.New("field report is not in the log")
)

// ReportConfig configures a [ReportLog].
type ReportConfig struct {
	Retention         time.Duration // how long published reports are kept; default 24 h
	MaxRecord         int           // bytes of one record; default 1 MiB
	MaxRetries        int           // retries after which the wait stops growing; default 3
	Backoff           time.Duration // the first retry waits Backoff × BackoffMultiplier; default 1 s
	BackoffMultiplier float64       // default 2
	Emit              func(*leyline.TelemetryPacket)
	Logger            *slog.Logger
}

func (c ReportConfig) withDefaults() ReportConfig {
	c.Retention = cmp.Or(max(c.Retention, 0), 24*time.Hour)
	c.MaxRecord = cmp.Or(max(c.MaxRecord, 0), 1<<20)
	c.MaxRetries = cmp.Or(max(c.MaxRetries, 0), 3)
	c.Backoff = cmp.Or(max(c.Backoff, 0), time.Second)
	if c.BackoffMultiplier < 1 {
		c.BackoffMultiplier = 2
	}
	if c.Emit == nil {
		c.Emit = func(*leyline.TelemetryPacket) {}
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// ReportLog keeps field reports on disk until they are published, in the
// prototype's field-report log format: records of a little-endian uint32
// length and a serialised FieldReport, with a JSON index of what was sent
// beside them. A report that was not published is never removed. It is safe for
// concurrent use.
type ReportLog struct {
	config ReportConfig
	path   string

	publishing sync.Mutex // one publishing pass at a time

	mu      sync.Mutex
	file    *os.File
	size    int64 // bytes of whole records in the file
	reports []*leyline.FieldReport
	index   map[string]delivery
	totals  reportTotals
}

type reportTotals struct {
	published, retries, loadErrors float64
}

// NewReportLog opens or creates the log at path. A torn or unreadable tail is
// cut off and set aside as "<path>.torn-<n>"; an unreadable index is set aside
// as "<index>.corrupt-<n>", and every report in the log counts as unsent again.
func NewReportLog(path string, config ReportConfig) (*ReportLog, error) {
	l := &ReportLog{config: config.withDefaults(), path: path, index: map[string]delivery{}}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open field-report log %s: %w", path, err)
	}
	return l, nil
}

func (l *ReportLog) open() error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return err
	}
	if err := errors.Join(atomicfile.Sweep(l.path), atomicfile.Sweep(l.indexPath())); err != nil {
		return err
	}
	if err := l.loadRecords(); err != nil {
		return err
	}
	if err := l.loadIndex(); err != nil {
		return errors.Join(err, l.file.Close())
	}
	if err := l.compact(time.Now()); err != nil {
		return errors.Join(err, l.file.Close())
	}
	return nil
}

// Append makes report durable; it is on disk when Append returns nil. A report
// that is in the log already, also one made again after a restart for the same
// seed without knowing its command, is not written twice.
func (l *ReportLog) Append(report *leyline.FieldReport) error {
	if report.GetReportId() == "" {
		return ErrNoReportID
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holds(report) {
		return nil
	}
	record, err := appendRecord(nil, report)
	if err != nil {
		return fmt.Errorf("append field report %s: %w", report.GetReportId(), err)
	}
	if len(record)-lengthSize > l.config.MaxRecord {
		return fmt.Errorf("append field report %s: %w", report.GetReportId(), ErrRecordTooLarge)
	}
	if err := l.write(record); err != nil {
		return fmt.Errorf("append field report %s: %w", report.GetReportId(), err)
	}
	l.reports = append(l.reports, proto.CloneOf(report))
	return l.compactWhenWorthIt(time.Now())
}

// write leaves no part of a record behind: later records would be unreachable
// behind it.
func (l *ReportLog) write(record []byte) error {
	_, err := l.file.WriteAt(record, l.size)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		return errors.Join(err, l.file.Truncate(l.size))
	}
	l.size += int64(len(record))
	return nil
}

func (l *ReportLog) holds(report *leyline.FieldReport) bool {
	for _, known := range l.reports {
		if known.GetReportId() == report.GetReportId() {
			return true
		}
		if madeAgain(report) && sameSeed(known, report) {
			return true
		}
	}
	return false
}

// madeAgain reports whether report comes from a controller that was restarted:
// it knows its own seed by name but not by the command that made it.
func madeAgain(report *leyline.FieldReport) bool {
	return report.GetCommandId() == "" && report.GetBlueprintId() != ""
}

func sameSeed(a, b *leyline.FieldReport) bool {
	return a.GetTrainingRunId() == b.GetTrainingRunId() && a.GetSeedId() == b.GetSeedId()
}

// Pending returns copies of the reports that still have to be published,
// oldest first, whether their next attempt is due or not.
func (l *ReportLog) Pending() []*leyline.FieldReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	var pending []*leyline.FieldReport
	for _, report := range l.reports {
		if !l.index[report.GetReportId()].done() {
			pending = append(pending, proto.CloneOf(report))
		}
	}
	return pending
}

// MarkSent records durably that the report was published.
func (l *ReportLog) MarkSent(reportID string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.has(reportID) {
		return fmt.Errorf("mark field report %s sent: %w", reportID, ErrUnknownReport)
	}
	entry := l.index[reportID]
	if entry.Published {
		return nil
	}
	entry.Published, entry.NextAttemptMs, entry.LastError = true, 0, ""
	if err := l.record(reportID, entry); err != nil {
		return fmt.Errorf("mark field report %s sent: %w", reportID, err)
	}
	l.totals.published++
	return nil
}

func (l *ReportLog) has(reportID string) bool {
	for _, report := range l.reports {
		if report.GetReportId() == reportID {
			return true
		}
	}
	return false
}

// Metrics returns the log's counters and depths by their telemetry names.
func (l *ReportLog) Metrics() map[string]float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var pending, backlog, dropped float64
	for _, report := range l.reports {
		entry := l.index[report.GetReportId()]
		switch {
		case entry.Dropped:
			dropped++
		case !entry.Published && entry.RetryCount > 0:
			backlog++
			pending++
		case !entry.Published:
			pending++
		}
	}
	return map[string]float64{
		"tamiyo.field_reports.published_total":         l.totals.published,
		"tamiyo.field_reports.retries_total":           l.totals.retries,
		"tamiyo.field_reports.dropped_total":           dropped,
		"tamiyo.field_reports.pending_total":           pending,
		"tamiyo.field_reports.retry_backlog_total":     backlog,
		"tamiyo.field_reports.retry_index_load_errors": l.totals.loadErrors,
	}
}

// Close closes the file. Everything appended is on disk already.
func (l *ReportLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close field-report log: %w", err)
	}
	return nil
}

func (l *ReportLog) indexPath() string {
	return strings.TrimSuffix(l.path, filepath.Ext(l.path)) + ".index.json"
}
