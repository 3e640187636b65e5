package fieldreport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
)

// maxIndex bounds the index of an earlier release, which says a line of each report.
const maxIndex = 128 << 20

// indexPath is where earlier releases, and the prototype, say which reports of the
// log were published. This one has each published before it is in the log.
func (l *Log) indexPath() string {
	return strings.TrimSuffix(l.path, filepath.Ext(l.path)) + ".index.json"
}

// markPath is a file that says that whatever is in the log was published before it got
// there. An earlier release wrote its index only after its first report.
func (l *Log) markPath() string { return l.path + ".published" }

// publishInherited hands over what an earlier release left, as far as its index does
// not call it done, and leaves the mark in place of the index.
func (l *Log) publishInherited(ctx context.Context) error {
	path := l.indexPath()
	content, err := regularfile.Read(path, maxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(l.markPath()); err == nil {
			return nil
		}
		content, err = []byte("{}"), nil
	}
	if err != nil {
		return fmt.Errorf("read field-report index: %w", err)
	}
	done, faults := parseIndex(content)
	if faults > 0 {
		l.config.Logger.Warn("field-report index had unreadable entries, their reports are published again",
			"path", path, "entries", faults)
	}
	err = l.each(l.file, 0, func(report *leyline.FieldReport) error {
		if done[report.GetReportId()] {
			return nil
		}
		if err := l.config.Publish(ctx, report); err != nil {
			return fmt.Errorf("publish field report %s: %w", report.GetReportId(), err)
		}
		l.published.Add(1)
		return nil
	})
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(l.markPath(), nil, 0o600); err != nil {
		return fmt.Errorf("mark the field-report log: %w", err)
	}
	if err := atomicfile.Sweep(path); err != nil {
		return fmt.Errorf("remove field-report index: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove field-report index: %w", err)
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// parseIndex lists the reports that an index calls published, or given up, and
// counts its faults. What it cannot read is not done: to publish twice under one
// report id is harmless, not to publish is a loss.
func parseIndex(content []byte) (done map[string]bool, faults int) {
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(content, &entries); err != nil {
		return nil, 1
	}
	done = make(map[string]bool, len(entries))
	for id, raw := range entries {
		var entry struct {
			Published bool `json:"published"`
			Dropped   bool `json:"dropped"`
		}
		if err := json.Unmarshal(raw, &entry); err != nil {
			faults++
			continue
		}
		done[id] = entry.Published || entry.Dropped
	}
	return done, faults
}
