package tamiyo

import (
	"fmt"
	"os"
	"time"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/leyline"
)

// compactAfter is the number of expired reports that makes a rewrite of the
// log worth its cost while the process runs.
const compactAfter = 256

func (l *ReportLog) expired(report *leyline.FieldReport, now time.Time) bool {
	if !l.index[report.GetReportId()].done() || report.GetIssuedAt() == nil {
		return false
	}
	return now.Sub(report.GetIssuedAt().AsTime()) > l.config.Retention
}

func (l *ReportLog) compactWhenWorthIt(now time.Time) error {
	expired := 0
	for _, report := range l.reports {
		if l.expired(report, now) {
			expired++
		}
	}
	if expired < compactAfter {
		return nil
	}
	return l.compact(now)
}

// compact rewrites the log without the published reports that are older than
// the retention, and forgets index entries that have no report any more.
func (l *ReportLog) compact(now time.Time) error {
	var kept []*leyline.FieldReport
	var content []byte
	for _, report := range l.reports {
		if l.expired(report, now) {
			continue
		}
		var err error
		if content, err = appendRecord(content, report); err != nil {
			return err
		}
		kept = append(kept, report)
	}
	if len(kept) < len(l.reports) {
		if err := l.rewrite(content); err != nil {
			return fmt.Errorf("compact field-report log: %w", err)
		}
		l.reports = kept
	}
	return l.pruneIndex()
}

func (l *ReportLog) rewrite(content []byte) error {
	if err := atomicfile.WriteFile(l.path, content, 0o600); err != nil {
		return err
	}
	file, err := os.OpenFile(l.path, os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = l.file.Close()
	l.file, l.size = file, int64(len(content))
	return err
}

func (l *ReportLog) pruneIndex() error {
	present := make(map[string]bool, len(l.reports))
	for _, report := range l.reports {
		present[report.GetReportId()] = true
	}
	before := len(l.index)
	for id := range l.index {
		if !present[id] {
			delete(l.index, id)
		}
	}
	if len(l.index) == before {
		return nil
	}
	return l.writeIndex()
}
