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
	"pgregory.net/rapid"

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

func TestReportsAfterTheFirstPublishAreStillSent(t *testing.T) {
	log := openLog(t, logPath(t), ReportConfig{})
	b := new(bus)
	for _, id := range []string{"a", "b", "c"} {
		appendAll(t, log, id)
		if sent, err := log.PublishPending(t.Context(), b); sent != 1 || err != nil {
			t.Fatalf("published %d, %v", sent, err)
		}
	}
	if !slices.Equal(b.sent, []string{"a", "b", "c"}) {
		t.Errorf("sent %v", b.sent)
	}
}

func TestRefusedReportIsNotMarkedSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := logPath(t)
		var heard emitted
		log := openLog(t, path, ReportConfig{Emit: heard.emit})
		appendAll(t, log, "a", "b")
		b := &bus{refuse: func(id string) error {
			if id == "a" {
				return errBusDown
			}
			return nil
		}}
		sent, err := log.PublishPending(t.Context(), b)
		if sent != 1 || !errors.Is(err, errBusDown) {
			t.Fatalf("published %d, %v", sent, err)
		}
		if got := pendingIDs(log); !slices.Equal(got, []string{"a"}) {
			t.Errorf("pending %v", got)
		}
		if event, attributes := heard.last(t); event != "field_report_retry" || attributes["report_id"] != "a" {
			t.Errorf("emitted %s %v", event, attributes)
		}
		if got := pendingIDs(openLog(t, path, ReportConfig{})); !slices.Equal(got, []string{"a"}) {
			t.Errorf("pending after restart %v", got)
		}
	})
}

func TestRefusedReportWaitsLongerEachTimeAndIsNeverGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := openLog(t, logPath(t), ReportConfig{MaxRetries: 2})
		appendAll(t, log, "a")
		b := &bus{refuse: down}
		for _, wait := range []time.Duration{2 * time.Second, 4 * time.Second, 4 * time.Second, 4 * time.Second} {
			if _, err := log.PublishPending(t.Context(), b); !errors.Is(err, errBusDown) {
				t.Fatalf("attempt: %v", err)
			}
			time.Sleep(wait - time.Millisecond)
			if _, err := log.PublishPending(t.Context(), b); err != nil {
				t.Fatalf("attempted again before %s: %v", wait, err)
			}
			time.Sleep(time.Millisecond)
		}
		b.refuse = nil
		if sent, err := log.PublishPending(t.Context(), b); sent != 1 || err != nil {
			t.Fatalf("after the outage %d sent, %v", sent, err)
		}
	})
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

func TestCrashBetweenTwoPublishesSendsNoReportTwice(t *testing.T) {
	path := logPath(t)
	log := openLog(t, path, ReportConfig{})
	appendAll(t, log, "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	b := new(bus)
	b.refuse = func(id string) error {
		if id == "b" {
			cancel() // the process is told to leave
			return ctx.Err()
		}
		return nil
	}
	if sent, err := log.PublishPending(ctx, b); sent != 1 || !errors.Is(err, context.Canceled) {
		t.Fatalf("published %d, %v", sent, err)
	}
	b.refuse = nil
	if sent, err := openLog(t, path, ReportConfig{}).PublishPending(t.Context(), b); sent != 1 || err != nil {
		t.Fatalf("after restart %d sent, %v", sent, err)
	}
	if !slices.Equal(b.sent, []string{"a", "b"}) {
		t.Errorf("sent %v", b.sent)
	}
}

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

// TestEveryReportIsSentWhateverFails: reports, refusals and restarts in any
// order; once the bus accepts, each report went out, and only once.
func TestEveryReportIsSentWhateverFails(t *testing.T) {
	root := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			rt.Fatal(err)
		}
		path := filepath.Join(dir, "field_reports.log")
		config := ReportConfig{Backoff: time.Nanosecond}
		log, err := NewReportLog(path, config)
		if err != nil {
			rt.Fatal(err)
		}
		b := new(bus)
		var want []string
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0:
				id := fmt.Sprint(len(want))
				want = append(want, id)
				if err := log.Append(fieldReport(id)); err != nil {
					rt.Fatal(err)
				}
			case 1:
				b.refuse = func(string) error {
					if rapid.Bool().Draw(rt, "refused") {
						return errBusDown
					}
					return nil
				}
				_, _ = log.PublishPending(t.Context(), b)
			case 2:
				_ = log.Close()
				if log, err = NewReportLog(path, config); err != nil {
					rt.Fatal(err)
				}
			case 3:
				_ = log.Close()
				appendRaw(rt, path, rapid.SliceOfN(rapid.Byte(), 1, 3).Draw(rt, "torn"))
				if log, err = NewReportLog(path, config); err != nil {
					rt.Fatal(err)
				}
			}
		}
		b.refuse = nil
		for len(log.Pending()) > 0 {
			if _, err := log.PublishPending(t.Context(), b); err != nil {
				rt.Fatal(err)
			}
		}
		_ = log.Close()
		slices.Sort(b.sent)
		slices.Sort(want)
		if !slices.Equal(b.sent, want) {
			rt.Fatalf("sent %v, want %v", b.sent, want)
		}
	})
}

func appendRaw(t *rapid.T, path string, tail []byte) {
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(content, tail...), 0o600); err != nil {
		t.Fatal(err)
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
