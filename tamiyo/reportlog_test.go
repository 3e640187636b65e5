package tamiyo

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
)

const goldenRecord = "210000000801120272311a026331380242110a0a6c6f73735f64656c7461150000003f4801"

func goldenReport() *leyline.FieldReport {
	return &leyline.FieldReport{
		Version: 1, ReportId: "r1", CommandId: "c1",
		Outcome:                 leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL,
		Metrics:                 map[string]float32{"loss_delta": 0.5},
		ObservationWindowEpochs: 1,
	}
}

func fieldReport(id string) *leyline.FieldReport {
	return &leyline.FieldReport{
		Version: 1, ReportId: id, CommandId: "command-" + id, TrainingRunId: "run-1", SeedId: "seed-" + id,
		BlueprintId: "BP001", IssuedAt: timestamppb.Now(),
	}
}

func logPath(t testing.TB) string { return filepath.Join(t.TempDir(), "field_reports.log") }

func openLog(t testing.TB, path string, config ReportConfig) *ReportLog {
	t.Helper()
	log, err := NewReportLog(path, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

func appendAll(t testing.TB, log *ReportLog, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := log.Append(fieldReport(id)); err != nil {
			t.Fatal(err)
		}
	}
}

func pendingIDs(log *ReportLog) []string {
	var ids []string
	for _, report := range log.Pending() {
		ids = append(ids, report.GetReportId())
	}
	return ids
}

// bus is a publisher that refuses what refuse says.
type bus struct {
	refuse func(id string) error
	sent   []string
}

func (b *bus) PublishFieldReport(_ context.Context, report *leyline.FieldReport) error {
	if b.refuse != nil {
		if err := b.refuse(report.GetReportId()); err != nil {
			return err
		}
	}
	b.sent = append(b.sent, report.GetReportId())
	return nil
}

var errBusDown = errors.New("bus down")

func down(string) error { return errBusDown }

func TestFieldReportLogHasThePrototypesBytes(t *testing.T) {
	path := logPath(t)
	log := openLog(t, path, ReportConfig{})
	if err := log.Append(goldenReport()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil || hex.EncodeToString(content) != goldenRecord {
		t.Fatalf("file holds %x, %v", content, err)
	}
}

func TestFieldReportLogReadsThePrototypesBytes(t *testing.T) {
	path := logPath(t)
	golden, _ := hex.DecodeString(goldenRecord)
	if err := os.WriteFile(path, golden, 0o600); err != nil {
		t.Fatal(err)
	}
	pending := openLog(t, path, ReportConfig{}).Pending()
	if diff := cmp.Diff([]*leyline.FieldReport{goldenReport()}, pending, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestUnsentReportIsNotPurgedByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := logPath(t)
		log := openLog(t, path, ReportConfig{})
		appendAll(t, log, "unsent", "sent")
		if err := log.MarkSent("sent"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour)
		reopened := openLog(t, path, ReportConfig{})
		if got := pendingIDs(reopened); !slices.Equal(got, []string{"unsent"}) {
			t.Errorf("pending %v", got)
		}
		content, err := os.ReadFile(path)
		if err != nil || bytes.Contains(content, []byte("seed-sent")) {
			t.Errorf("the sent report is still in the log (%v)", err)
		}
		index, err := os.ReadFile(reopened.indexPath())
		if err != nil || string(index) != "{}" {
			t.Errorf("index not pruned with the log: %s, %v", index, err)
		}
	})
}

func TestLongLivedProcessShrinksItsLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := openLog(t, logPath(t), ReportConfig{Retention: time.Hour})
		for i := range compactAfter {
			appendAll(t, log, fmt.Sprint(i))
			log.index[fmt.Sprint(i)] = delivery{Published: true}
		}
		time.Sleep(2 * time.Hour)
		appendAll(t, log, "new")
		if got := len(log.reports); got != 1 {
			t.Errorf("%d reports kept, want 1", got)
		}
		appendAll(t, log, "after compaction")
		if got := pendingIDs(openLog(t, log.path, ReportConfig{})); !slices.Equal(got, []string{"new", "after compaction"}) {
			t.Errorf("after restart pending %v", got)
		}
	})
}

func TestCrashInTheMiddleOfAnAppendLosesNothingElse(t *testing.T) {
	torn, _ := hex.DecodeString(goldenRecord)
	huge := []byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3}
	tails := map[string][]byte{
		"half a length": torn[:2],
		"half a record": torn[:len(torn)-1],
		"impossible":    huge,
		"not a report":  {2, 0, 0, 0, 0xff, 0xff},
		"only a length": torn[:4],
		"zeros":         make([]byte, 64),
	}
	for name, tail := range tails {
		t.Run(name, func(t *testing.T) {
			path := logPath(t)
			log := openLog(t, path, ReportConfig{})
			appendAll(t, log, "a")
			appendTo(t, path, tail)
			reopened := openLog(t, path, ReportConfig{})
			appendAll(t, reopened, "b")
			if got := pendingIDs(openLog(t, path, ReportConfig{})); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("pending %v", got)
			}
			aside, err := os.ReadFile(path + ".torn-1")
			if err != nil || !bytes.Equal(aside, tail) {
				t.Errorf("set aside %x, %v", aside, err)
			}
		})
	}
}

func TestSecondTornTailDoesNotReplaceTheFirst(t *testing.T) {
	path := logPath(t)
	for n := range 2 {
		appendTo(t, path, []byte{byte(n)})
		openLog(t, path, ReportConfig{})
	}
	for n := range 2 {
		aside, err := os.ReadFile(fmt.Sprintf("%s.torn-%d", path, n+1))
		if err != nil || !bytes.Equal(aside, []byte{byte(n)}) {
			t.Errorf("torn-%d holds %v, %v", n+1, aside, err)
		}
	}
}

func appendTo(t *testing.T, path string, tail []byte) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(tail); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnOversizedReportDoesNotPoisonTheLog(t *testing.T) {
	log := openLog(t, logPath(t), ReportConfig{MaxRecord: 100})
	big := fieldReport("big")
	big.Notes = string(make([]byte, 200))
	if err := log.Append(big); !errors.Is(err, ErrRecordTooLarge) {
		t.Errorf("got %v", err)
	}
	if err := log.Append(&leyline.FieldReport{}); !errors.Is(err, ErrNoReportID) {
		t.Errorf("got %v", err)
	}
	appendAll(t, log, "a")
	if got := pendingIDs(openLog(t, log.path, ReportConfig{MaxRecord: 100})); !slices.Equal(got, []string{"a"}) {
		t.Errorf("pending %v", got)
	}
}

func TestReportAppendedTwiceIsSentOnce(t *testing.T) {
	path := logPath(t)
	log := openLog(t, path, ReportConfig{})
	appendAll(t, log, "a", "a")
	madeAgain := fieldReport("other")
	madeAgain.CommandId, madeAgain.SeedId = "", "seed-a"
	for _, l := range []*ReportLog{log, openLog(t, path, ReportConfig{})} {
		if err := l.Append(madeAgain); err != nil {
			t.Fatal(err)
		}
		if got := pendingIDs(l); !slices.Equal(got, []string{"a"}) {
			t.Errorf("pending %v", got)
		}
	}
}

func FuzzReportRecords(f *testing.F) {
	golden, _ := hex.DecodeString(goldenRecord)
	f.Add(golden)
	f.Add(append(golden, golden[:9]...))
	f.Add([]byte{0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, content []byte) {
		reports, used, err := readRecords(content, 1<<16)
		if used > len(content) || err == nil && used != len(content) {
			t.Fatalf("used %d of %d, %v", used, len(content), err)
		}
		again, usedAgain, err := readRecords(content[:used], 1<<16)
		if err != nil || usedAgain != used || len(again) != len(reports) {
			t.Fatalf("the good part is not readable by itself: %v", err)
		}
		for i := range reports {
			if !proto.Equal(reports[i], again[i]) && !hasNaN(reports[i]) {
				t.Fatalf("record %d reads differently", i)
			}
		}
	})
}

func hasNaN(report *leyline.FieldReport) bool {
	for _, value := range report.GetMetrics() {
		if value != value {
			return true
		}
	}
	return false
}
