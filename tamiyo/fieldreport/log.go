package fieldreport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

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

// maxLog bounds a log that is read, and the index of an earlier release: the whole of it
// is in memory at once. A day of reports takes a thousandth of it.
const maxLog = 128 << 20

// compactAfter is the number of expired reports that makes a rewrite of the log
// worth its cost while the process runs.
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
	Logger    *slog.Logger  // [none]
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
	size    int64 // bytes of whole records in the file
	reports []*leyline.FieldReport
	taken   map[string]bool // reports that Publish took and the file could not
}

// Open opens or creates the log at path. A torn or unreadable tail is cut off and
// set aside as "<path>.torn-<n>". What an earlier release had not published yet is
// handed to Publish.
func Open(ctx context.Context, path string, config Config) (*Log, error) {
	config.Retention = cmp.Or(max(config.Retention, 0), 24*time.Hour)
	config.MaxRecord = cmp.Or(max(config.MaxRecord, 0), 1<<20)
	config.Logger = cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	l := &Log{config: config, path: path, taken: map[string]bool{}}
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
		err = l.compact(time.Now(), 1)
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
	if slices.ContainsFunc(l.reports, func(known *leyline.FieldReport) bool { return tellsOf(known, report) }) {
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
	l.reports = append(l.reports, proto.CloneOf(report))
	return l.compact(time.Now(), compactAfter)
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

// tellsOf says whether a report is known. One of a controller that was restarted
// names its seed but not the command that made it.
func tellsOf(known, report *leyline.FieldReport) bool {
	if known.GetReportId() == report.GetReportId() {
		return true
	}
	madeAgain := report.GetCommandId() == "" && report.GetBlueprintId() != ""
	return madeAgain && known.GetTrainingRunId() == report.GetTrainingRunId() && known.GetSeedId() == report.GetSeedId()
}

// All returns copies of the reports that are kept, oldest first.
func (l *Log) All() []*leyline.FieldReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*leyline.FieldReport
	for _, report := range l.reports {
		all = append(all, proto.CloneOf(report))
	}
	return all
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

// compact rewrites the log without the reports that are older than the retention,
// once there are so many of them.
func (l *Log) compact(now time.Time, least int) error {
	kept := slices.DeleteFunc(slices.Clone(l.reports), func(report *leyline.FieldReport) bool {
		return report.GetIssuedAt() != nil && now.Sub(report.GetIssuedAt().AsTime()) > l.config.Retention
	})
	if len(l.reports)-len(kept) < least {
		return nil
	}
	var content []byte
	for _, report := range kept {
		var err error
		if content, err = appendRecord(content, report); err != nil {
			return err
		}
	}
	if err := l.rewrite(content); err != nil {
		return fmt.Errorf("compact field-report log: %w", err)
	}
	l.reports = kept
	return nil
}

func (l *Log) rewrite(content []byte) error {
	l.naming.Lock()
	defer l.naming.Unlock()
	if err := atomicfile.WriteFile(l.path, content, 0o600); err != nil {
		return err
	}
	file, err := regularfile.OpenFile(l.path, os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = l.file.Close()
	l.file, l.size = file, int64(len(content))
	return err
}
