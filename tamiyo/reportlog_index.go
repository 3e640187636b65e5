package tamiyo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/telemetry"
)

// delivery is what the index knows of one report, in the prototype's form.
type delivery struct {
	Published     bool   `json:"published"`
	RetryCount    int    `json:"retry_count"`
	NextAttemptMs int64  `json:"next_attempt_ms"`
	LastError     string `json:"last_error,omitempty"`
	Dropped       bool   `json:"dropped,omitempty"`
}

// done means that nobody will try again: sent, or given up by an older peer.
func (d delivery) done() bool { return d.Published || d.Dropped }

// record changes one entry, on disk first.
func (l *ReportLog) record(reportID string, entry delivery) error {
	before, had := l.index[reportID]
	l.index[reportID] = entry
	if err := l.writeIndex(); err != nil {
		delete(l.index, reportID)
		if had {
			l.index[reportID] = before
		}
		return err
	}
	return nil
}

func (l *ReportLog) writeIndex() error {
	content, err := json.Marshal(l.index)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(l.indexPath(), content, 0o600); err != nil {
		return fmt.Errorf("write field-report index: %w", err)
	}
	return nil
}

// loadIndex reads the index. What it cannot read counts as not sent: sending
// twice under one report id is harmless, not sending is a loss.
func (l *ReportLog) loadIndex() error {
	content, err := os.ReadFile(l.indexPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read field-report index: %w", err)
	}
	index, faults := parseIndex(content)
	l.index = index
	if faults == 0 {
		return nil
	}
	return l.surfaceIndexFaults(content, faults)
}

func (l *ReportLog) surfaceIndexFaults(content []byte, faults int) error {
	aside, err := unusedName(l.indexPath() + ".corrupt")
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(aside, content, 0o600); err != nil {
		return fmt.Errorf("set field-report index aside: %w", err)
	}
	l.totals.loadErrors = float64(faults)
	l.config.Logger.Warn("field-report index had unreadable entries, their reports are sent again",
		"path", l.indexPath(), "aside", aside, "entries", faults)
	packet := telemetry.New(source, "tamiyo-field-report-summary").Level(levelWarning).
		Metric("tamiyo.field_reports.retry_index_load_errors", float64(faults), "count").
		Health(healthDegraded, "field_report_sidecar_validation_warning")
	l.config.Emit(withEvents(packet, event("field_report_sidecar_validation_warning", levelWarning,
		"retry_index", strconv.Itoa(faults), "windows", "0")))
	return nil
}

// parseIndex reads an index as older peers write it: numbers may be texts. It
// returns the readable entries and the number of faults.
func parseIndex(content []byte) (map[string]delivery, int) {
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(content, &entries); err != nil {
		return map[string]delivery{}, 1
	}
	index := make(map[string]delivery, len(entries))
	faults := 0
	for id, raw := range entries {
		entry, err := parseDelivery(raw)
		if err != nil {
			faults++
			continue
		}
		index[id] = entry
	}
	return index, faults
}

func parseDelivery(raw json.RawMessage) (delivery, error) {
	var entry struct {
		Published     bool        `json:"published"`
		RetryCount    looseNumber `json:"retry_count"`
		NextAttemptMs looseNumber `json:"next_attempt_ms"`
		LastError     string      `json:"last_error"`
		Dropped       bool        `json:"dropped"`
	}
	if string(raw) == "null" {
		return delivery{}, errors.New("entry is null")
	}
	if err := json.Unmarshal(raw, &entry); err != nil {
		return delivery{}, err
	}
	return delivery{
		Published: entry.Published, RetryCount: int(entry.RetryCount),
		NextAttemptMs: int64(entry.NextAttemptMs), LastError: entry.LastError, Dropped: entry.Dropped,
	}, nil
}

// looseNumber is a non-negative whole number written as a number or as a text.
type looseNumber int64

// UnmarshalJSON accepts 3, 3.0 and "3".
func (n *looseNumber) UnmarshalJSON(content []byte) error {
	text := string(content)
	if unquoted, err := strconv.Unquote(text); err == nil {
		text = unquoted
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return err
	}
	if math.IsNaN(value) || value < 0 || value > 1<<53 {
		return fmt.Errorf("number %s is out of range", text)
	}
	*n = looseNumber(value)
	return nil
}
