package fieldreport

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// fill writes a log of at least so many bytes, as a process would that never looked at its size.
func fill(t *testing.T, path string, least int) (reports int) {
	t.Helper()
	var content []byte
	for ; len(content) < least; reports++ {
		report := fieldReport(fmt.Sprint(reports))
		report.Notes = strings.Repeat("considered ", 1000)
		content, _ = appendRecord(content, report)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".published", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return reports
}

// What an instance wrote in a day is what its next start reads.
func TestLogOfAnySizeIsReadAtTheStart(t *testing.T) {
	path := logPath(t)
	reports := fill(t, path, 129<<20)
	if err := Check(path); err != nil {
		t.Errorf("preflight: %v", err)
	}
	log := openLog(t, path, Config{})
	ids := keptIDs(t, log)
	if len(ids) == 0 || ids[len(ids)-1] != fmt.Sprint(reports-1) {
		t.Errorf("%d reports, of which the last one is not the last of %d", len(ids), reports)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > log.config.MaxBytes {
		t.Errorf("%d bytes are left, %v", info.Size(), err)
	}
}

// Reports that an earlier release had not published go to the bus, however many they are.
func TestInheritedReportsBeyondTheBoundArePublished(t *testing.T) {
	path := logPath(t)
	reports := fill(t, path, 1<<20)
	if err := os.Remove(path + ".published"); err != nil {
		t.Fatal(err)
	}
	b := new(bus)
	log := openLog(t, path, Config{Publish: b.publish, MaxBytes: 100 << 10})
	if len(b.sent) != reports {
		t.Errorf("published %d of %d", len(b.sent), reports)
	}
	if got := keptIDs(t, log); len(got) >= reports || !slices.Equal(got, b.sent[reports-len(got):]) {
		t.Errorf("kept %v", got)
	}
}

// A log that takes more than its bound lets the oldest go, says so, and publishes all.
func TestFullLogLetsItsOldestGo(t *testing.T) {
	path, b, said := logPath(t), new(bus), new(strings.Builder)
	config := Config{Publish: b.publish, MaxBytes: 16 << 10, Logger: slog.New(slog.NewTextHandler(said, nil))}
	log := openLog(t, path, config)
	const reports = 800
	for i := range reports {
		keepAll(t, log, fmt.Sprint(i))
		if info, err := os.Stat(path); err != nil || info.Size() > 3*config.MaxBytes+1<<10 {
			t.Fatalf("%d bytes after %d reports, %v", info.Size(), i, err)
		}
	}
	got := keptIDs(t, log)
	if len(b.sent) != reports || len(got) < 100 || !slices.Equal(got, b.sent[reports-len(got):]) {
		t.Errorf("published %d, kept %v", len(b.sent), got)
	}
	if strings.Count(said.String(), "field-report log is full") != 1 {
		t.Errorf("said:\n%s", said)
	}
	keepAll(t, log, fmt.Sprint(reports-1))
	if again := keptIDs(t, openLog(t, path, config)); len(b.sent) != reports || !slices.Equal(again, got) {
		t.Errorf("published %d; after a restart %d reports are kept, want %d", len(b.sent), len(again), len(got))
	}
}

// A report takes as long among many as among few.
func BenchmarkKeepAmong(b *testing.B) {
	for _, reports := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(reports), func(b *testing.B) {
			log := openLog(b, logPath(b), Config{})
			for i := range reports {
				report := fieldReport(fmt.Sprint(i))
				log.kept.add(report, 0)
			}
			for i := 0; b.Loop(); i++ {
				report := fieldReport(fmt.Sprint("kept-", i))
				report.IssuedAt = timestamppb.New(time.Now())
				if err := log.Keep(b.Context(), report); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
