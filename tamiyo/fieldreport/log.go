package fieldreport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

var (
	// ErrTooLarge is returned for a report that takes more than Config.MaxRecord bytes.
	ErrTooLarge = errors.New("field report is larger than a log record may be")
	// ErrNoReportID is returned for a report without a report_id.
	ErrNoReportID = errors.New("field report has no report_id")
)

// compactAfter is the number of reports that are gone from which on a rewrite of the log
// is worth its cost while the process runs, once they take as much room as the others.
const compactAfter = 256

// Config configures a [Log]. Publish is required; zero values elsewhere take the
// default in brackets.
type Config struct {
	// Publish takes a report over for good and returns when it is on disk. It may be
	// given one again, after a kill or a failure to write the log, and must not
	// call the log.
	Publish func(ctx context.Context, report *leyline.FieldReport) error

	Retention time.Duration // how long reports are kept, from issued_at on [24 h]
	MaxRecord int           // bytes of one record [1 MiB]
	// MaxBytes bounds the reports that are kept: beyond it the oldest go. The file takes at
	// most twice as much, and what is remembered of it about half [64 MiB].
	MaxBytes int64
	Logger   *slog.Logger // [none]
}

// Log is a file of field reports in the prototype's format: records of a
// little-endian uint32 length and a serialised FieldReport. It is safe for
// concurrent use.
type Log struct {
	config    Config
	path      string
	published atomic.Int64

	mu      sync.Mutex
	naming  sync.Mutex // held with mu while another file takes the name
	file    *os.File
	kept    window
	crowded bool            // it was told that reports go for want of room
	taken   map[string]bool // reports that Publish took and the file could not
}

// Open opens or creates the log at path. A torn or unreadable tail is cut off and
// set aside as "<path>.torn-<n>". What an earlier release had not published yet is
// handed to Publish.
func Open(ctx context.Context, path string, config Config) (*Log, error) {
	config.Retention = cmp.Or(max(config.Retention, 0), 24*time.Hour)
	config.MaxRecord = cmp.Or(max(config.MaxRecord, 0), 1<<20)
	config.MaxBytes = cmp.Or(max(config.MaxBytes, 0), 64<<20)
	config.Logger = cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	l := &Log{config: config, path: path, kept: newWindow(), taken: map[string]bool{}}
	if err := l.open(ctx); err != nil {
		return nil, fmt.Errorf("open field-report log %s: %w", path, err)
	}
	return l, nil
}

func (l *Log) open(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return err
	}
	if err := atomicfile.Sweep(l.path); err != nil {
		return err
	}
	if err := l.loadRecords(); err != nil {
		return err
	}
	err := l.publishInherited(ctx)
	if err == nil {
		err = l.compact(time.Now(), l.stale)
	}
	if err != nil {
		return errors.Join(err, l.file.Close())
	}
	return nil
}

// Keep has a report published and writes it down; both have happened when it
// returns nil, and it is to be called again when it does not, as when somebody has
// removed the file. A report that is in the log already changes nothing, nor does one
// that was made again after a restart for the same seed, without knowing its command.
func (l *Log) Keep(ctx context.Context, report *leyline.FieldReport) error {
	id := report.GetReportId()
	if id == "" {
		return ErrNoReportID
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept.tellsOf(report) {
		return nil
	}
	record, err := appendRecord(nil, report)
	if err == nil && len(record)-lengthSize > l.config.MaxRecord {
		err = ErrTooLarge
	}
	if err == nil {
		err = l.InPlace()
	}
	if err == nil {
		err = l.publish(ctx, report)
	}
	if err == nil {
		err = l.write(record)
	}
	if err != nil {
		return fmt.Errorf("keep field report %s: %w", id, err)
	}
	delete(l.taken, id)
	l.kept.add(report, len(record))
	return l.compact(time.Now(), l.mostlyDead)
}

// InPlace reports the want of the file: what is written to it is gone with the process. It
// does not wait for a report that is being kept.
func (l *Log) InPlace() error {
	l.naming.Lock()
	defer l.naming.Unlock()
	return regularfile.InPlace(l.path, l.file)
}

// publish comes before the report is in the log: a kill between the two has it
// published twice under one name, the other way round it would be lost.
func (l *Log) publish(ctx context.Context, report *leyline.FieldReport) error {
	if l.taken[report.GetReportId()] {
		return nil
	}
	if err := l.config.Publish(ctx, report); err != nil {
		return err
	}
	l.taken[report.GetReportId()] = true
	l.published.Add(1)
	return nil
}

// write leaves no part of a record behind: later records would be unreachable
// behind it.
func (l *Log) write(record []byte) error {
	_, err := l.file.WriteAt(record, l.kept.end)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		return errors.Join(err, l.file.Truncate(l.kept.end))
	}
	return nil
}

// All reads the reports that are kept, oldest first, also of a log that was closed.
func (l *Log) All() ([]*leyline.FieldReport, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*leyline.FieldReport
	file, err := regularfile.Open(l.path)
	if err == nil {
		err = errors.Join(l.each(file, l.kept.start, func(report *leyline.FieldReport) error {
			all = append(all, report)
			return nil
		}), file.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("read field-report log %s: %w", l.path, err)
	}
	return all, nil
}

// Published is the number of reports that Publish took since the start.
func (l *Log) Published() int64 { return l.published.Load() }

// Figures are those of the log.
func (l *Log) Figures() []telemetry.Figure {
	return []telemetry.Figure{telemetry.Count("tamiyo.field_reports.published_total",
		"Field reports that were handed to the outbox, from where they go to the bus.", l.Published())}
}

// Close closes the file. Everything that was kept is on disk already.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close field-report log: %w", err)
	}
	return nil
}

// expired says of a report whether it is older than the retention.
func (l *Log) expired(now time.Time) func(kept) bool {
	return func(k kept) bool { return !k.issued.IsZero() && now.Sub(k.issued) > l.config.Retention }
}

// compact lets go of old reports, all of which were published, and rewrites the log when that is
// worth its cost.
func (l *Log) compact(now time.Time, worth func(now time.Time) bool) error {
	l.narrow(now)
	if !worth(now) {
		return nil
	}
	return l.rewrite(now)
}

// stale says whether there is anything in the log that is not kept.
func (l *Log) stale(now time.Time) bool {
	return l.kept.dead > 0 || slices.ContainsFunc(l.kept.reports, l.expired(now))
}

// mostlyDead says whether many reports are gone, which take as much room as those that are kept.
func (l *Log) mostlyDead(time.Time) bool {
	return l.kept.dead >= compactAfter && l.kept.start >= l.kept.end-l.kept.start
}

func (l *Log) narrow(now time.Time) {
	if crowded := l.kept.narrow(l.expired(now), l.config.MaxBytes); crowded > 0 && !l.crowded {
		l.crowded = true
		l.config.Logger.Warn("field-report log is full: its oldest reports, which were all published, go before their time",
			"path", l.path, "bytes", l.config.MaxBytes, "retention", l.config.Retention)
	}
}

func (l *Log) rewrite(now time.Time) error {
	l.naming.Lock()
	defer l.naming.Unlock()
	var left window
	err := atomicfile.Write(l.path, 0o600, func(to io.Writer) (err error) {
		left, err = l.kept.copyTo(to, l.file, l.expired(now))
		return err
	})
	if err != nil {
		return fmt.Errorf("compact field-report log: %w", err)
	}
	file, err := regularfile.OpenFile(l.path, os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("compact field-report log: %w", err)
	}
	err = l.file.Close()
	l.file, l.kept = file, left
	return err
}
