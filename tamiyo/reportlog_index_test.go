package tamiyo

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnreadableIndexIsSurfacedNotTakenForEmpty(t *testing.T) {
	path := logPath(t)
	log := openLog(t, path, ReportConfig{})
	appendAll(t, log, "a")
	if err := os.WriteFile(log.indexPath(), []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	var heard emitted
	reopened := openLog(t, path, ReportConfig{Emit: heard.emit})
	if event, _ := heard.last(t); event != "field_report_sidecar_validation_warning" {
		t.Errorf("emitted %s", event)
	}
	if got := reopened.Metrics()["tamiyo.field_reports.retry_index_load_errors"]; got != 1 {
		t.Errorf("load errors %v, want 1", got)
	}
	if aside, err := os.ReadFile(log.indexPath() + ".corrupt-1"); err != nil || string(aside) != "{torn" {
		t.Errorf("set aside %q, %v", aside, err)
	}
	if got := pendingIDs(reopened); !slices.Equal(got, []string{"a"}) {
		t.Errorf("pending %v", got)
	}
}

func TestIndexOfThePrototypeIsUnderstood(t *testing.T) {
	index, faults := parseIndex([]byte(`{
		"sent":{"published":true,"retry_count":0,"next_attempt_ms":0},
		"texts":{"published":false,"retry_count":"2","next_attempt_ms":"1700000000000","last_error":"x"},
		"given-up":{"published":false,"retry_count":3,"next_attempt_ms":5,"dropped":true},
		"bad":7,"null":null,"negative":{"retry_count":-1}}`))
	want := map[string]delivery{
		"sent":     {Published: true},
		"texts":    {RetryCount: 2, NextAttemptMs: 1_700_000_000_000, LastError: "x"},
		"given-up": {RetryCount: 3, NextAttemptMs: 5, Dropped: true},
	}
	if diff := cmp.Diff(want, index); diff != "" || faults != 3 {
		t.Errorf("%d faults %s", faults, diff)
	}
}

func TestReportGivenUpByThePrototypeDoesNotComeBack(t *testing.T) {
	path := logPath(t)
	appendAll(t, openLog(t, path, ReportConfig{}), "a")
	index := filepath.Join(filepath.Dir(path), "field_reports.index.json")
	if err := os.WriteFile(index, []byte(`{"a":{"dropped":true}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	log := openLog(t, path, ReportConfig{})
	if got := pendingIDs(log); len(got) != 0 {
		t.Errorf("pending %v", got)
	}
	if got := log.Metrics()["tamiyo.field_reports.dropped_total"]; got != 1 {
		t.Errorf("dropped %v, want 1", got)
	}
}

func TestMarkSentOfAnUnknownReport(t *testing.T) {
	if err := openLog(t, logPath(t), ReportConfig{}).MarkSent("nobody"); !errors.Is(err, ErrUnknownReport) {
		t.Errorf("got %v", err)
	}
}

func FuzzReportIndex(f *testing.F) {
	f.Add([]byte(`{"a":{"published":true,"retry_count":"1","next_attempt_ms":3.0}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		index, _ := parseIndex(content)
		for id, entry := range index {
			if entry.RetryCount < 0 || entry.NextAttemptMs < 0 {
				t.Fatalf("%q: %+v", id, entry)
			}
		}
	})
}
