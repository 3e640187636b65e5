package fieldreport

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
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/internal/regularfile"
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

// What is written to a file that was removed is gone with the process, and nobody was told.
func TestLogWhoseFileIsGoneTakesNothingIn(t *testing.T) {
	path, published := logPath(t), new(bus)
	log := openLog(t, path, Config{Publish: published.publish})
	if err := log.Keep(t.Context(), fieldReport("before")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := log.Keep(t.Context(), fieldReport("gone")); !errors.Is(err, regularfile.ErrReplaced) {
		t.Errorf("keep: %v", err)
	}
	if err := log.InPlace(); !errors.Is(err, regularfile.ErrReplaced) {
		t.Errorf("in place: %v", err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(log.Keep(t.Context(), fieldReport("gone")), log.InPlace()); err != nil {
		t.Error(err)
	}
	if again := keptIDs(t, openLog(t, path, Config{})); len(again) != 2 {
		t.Errorf("%d reports after a restart, want 2", len(again))
	}
}

// The file that a compaction leaves is another one.
func TestCompactedLogIsInPlace(t *testing.T) {
	log := openLog(t, logPath(t), Config{Retention: time.Hour})
	for n := range compactAfter + 1 {
		old := fieldReport(fmt.Sprint(n))
		old.IssuedAt = timestamppb.New(time.Now().Add(-2 * time.Hour))
		if err := log.Keep(t.Context(), old); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(log.path); err != nil || info.Size() > 1<<10 {
		t.Fatalf("not compacted: %v, %v", info.Size(), err)
	}
	if err := log.InPlace(); err != nil {
		t.Error(err)
	}
}

func logPath(t testing.TB) string { return filepath.Join(t.TempDir(), "field_reports.log") }

func openLog(t testing.TB, path string, config Config) *Log {
	t.Helper()
	if config.Publish == nil {
		config.Publish = new(bus).publish
	}
	log, err := Open(t.Context(), path, config)
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

func keepAll(t testing.TB, log *Log, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := log.Keep(t.Context(), fieldReport(id)); err != nil {
			t.Fatal(err)
		}
	}
}

func keptIDs(t rapid.TB, log *Log) []string {
	t.Helper()
	all, err := log.All()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, report := range all {
		ids = append(ids, report.GetReportId())
	}
	return ids
}

// bus takes reports over, but those that refuse says.
type bus struct {
	refuse func(id string) bool
	sent   []string
}

func (b *bus) publish(_ context.Context, report *leyline.FieldReport) error {
	if b.refuse != nil && b.refuse(report.GetReportId()) {
		return errRefused
	}
	b.sent = append(b.sent, report.GetReportId())
	return nil
}

var errRefused = errors.New("no room")

func TestFieldReportLogHasThePrototypesBytes(t *testing.T) {
	path := logPath(t)
	log := openLog(t, path, Config{})
	if err := log.Keep(t.Context(), goldenReport()); err != nil {
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
	kept, err := openLog(t, path, Config{}).All()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*leyline.FieldReport{goldenReport()}, kept, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestScenario107_ReportsAreKeptForTheRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := logPath(t)
		log := openLog(t, path, Config{})
		keepAll(t, log, "old")
		time.Sleep(time.Hour)
		keepAll(t, log, "young")
		time.Sleep(23 * time.Hour)
		if got := keptIDs(t, openLog(t, path, Config{})); !slices.Equal(got, []string{"old", "young"}) {
			t.Errorf("kept %v", got)
		}
		time.Sleep(time.Minute)
		if got := keptIDs(t, openLog(t, path, Config{})); !slices.Equal(got, []string{"young"}) {
			t.Errorf("kept %v", got)
		}
		content, err := os.ReadFile(path)
		if err != nil || bytes.Contains(content, []byte("seed-old")) {
			t.Errorf("the old report is still in the file (%v)", err)
		}
	})
}

func TestLongLivedProcessShrinksItsLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := openLog(t, logPath(t), Config{Retention: time.Hour})
		for i := range compactAfter {
			keepAll(t, log, fmt.Sprint(i))
		}
		time.Sleep(2 * time.Hour)
		keepAll(t, log, "new")
		if got := keptIDs(t, log); !slices.Equal(got, []string{"new"}) {
			t.Errorf("kept %d reports, want 1", len(got))
		}
		keepAll(t, log, "after compaction")
		if got := keptIDs(t, openLog(t, log.path, Config{})); !slices.Equal(got, []string{"new", "after compaction"}) {
			t.Errorf("after a restart %v", got)
		}
	})
}

func TestAnOversizedReportDoesNotPoisonTheLog(t *testing.T) {
	log := openLog(t, logPath(t), Config{MaxRecord: 100})
	big := fieldReport("big")
	big.Notes = string(make([]byte, 200))
	if err := log.Keep(t.Context(), big); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if err := log.Keep(t.Context(), &leyline.FieldReport{}); !errors.Is(err, ErrNoReportID) {
		t.Errorf("got %v", err)
	}
	keepAll(t, log, "a")
	if got := keptIDs(t, openLog(t, log.path, Config{MaxRecord: 100})); !slices.Equal(got, []string{"a"}) {
		t.Errorf("kept %v", got)
	}
}

func TestReportKeptTwiceIsPublishedOnce(t *testing.T) {
	path := logPath(t)
	b := new(bus)
	log := openLog(t, path, Config{Publish: b.publish})
	keepAll(t, log, "a", "a")
	madeAgain := fieldReport("other")
	madeAgain.CommandId, madeAgain.SeedId = "", "seed-a"
	for _, l := range []*Log{log, openLog(t, path, Config{Publish: b.publish})} {
		if err := l.Keep(t.Context(), madeAgain); err != nil {
			t.Fatal(err)
		}
		if got := keptIDs(t, l); !slices.Equal(got, []string{"a"}) || !slices.Equal(b.sent, got) {
			t.Errorf("kept %v, published %v", got, b.sent)
		}
	}
}

func TestRefusedReportIsNotInTheLog(t *testing.T) {
	b := &bus{refuse: func(id string) bool { return id == "a" }}
	log := openLog(t, logPath(t), Config{Publish: b.publish})
	if err := log.Keep(t.Context(), fieldReport("a")); !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
	keepAll(t, log, "b")
	if got := keptIDs(t, log); !slices.Equal(got, []string{"b"}) || log.Published() != 1 {
		t.Errorf("kept %v, published %d", got, log.Published())
	}
}

// Where the log cannot be written, as on a full disk, what tries again must not
// have the report published each time.
func TestReportThatCouldNotBeWrittenIsPublishedOnce(t *testing.T) {
	b := new(bus)
	log := openLog(t, logPath(t), Config{Publish: b.publish})
	file := log.file
	log.file, _ = os.Open(log.path) // cannot be written
	for range 3 {
		if err := log.Keep(t.Context(), fieldReport("a")); err == nil {
			t.Error("kept on a disk that is full")
		}
	}
	if err := log.file.Close(); err != nil {
		t.Error(err)
	}
	log.file = file
	keepAll(t, log, "a")
	if got := keptIDs(t, log); !slices.Equal(got, []string{"a"}) || !slices.Equal(b.sent, got) {
		t.Errorf("kept %v, published %v", got, b.sent)
	}
}

// Refusals, kills at each point and torn tails, in any order: once Keep has returned
// nil, the report was published, and it is in the log. It is published twice at most
// where a kill fell between the two.
func TestScenario104_EveryKeptReportIsPublishedWhateverFails(t *testing.T) {
	root := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			rt.Fatal(err)
		}
		path := filepath.Join(dir, "field_reports.log")
		var want, published []string
		kills := 0
		for id := range rapid.IntRange(1, 8).Draw(rt, "reports") {
			want = append(want, fmt.Sprint(id))
			for kept := false; !kept; {
				kept = keepOnce(rt, path, want[id], &published, &kills)
			}
		}
		log, err := Open(t.Context(), path, Config{})
		if err != nil {
			rt.Fatal(err)
		}
		defer log.Close()
		if got := keptIDs(t, log); !slices.Equal(got, want) {
			rt.Fatalf("kept %v, want %v", got, want)
		}
		if got := slices.Compact(slices.Clone(published)); !slices.Equal(got, want) || len(published) > len(want)+kills {
			rt.Fatalf("published %v, want %v, after %d kills", published, want, kills)
		}
	})
}

// keepOnce is the life of a process that has one report to keep, and maybe ends
// before it has. It says whether the report was kept.
func keepOnce(rt *rapid.T, path, id string, published *[]string, kills *int) bool {
	end := rapid.SampledFrom([]string{"none", "refused", "killed before", "killed after", "torn"}).Draw(rt, "end")
	log, err := Open(context.Background(), path, Config{Publish: func(_ context.Context, report *leyline.FieldReport) error {
		if end == "refused" || end == "killed before" {
			return errRefused
		}
		*published = append(*published, report.GetReportId())
		if end == "killed after" || end == "torn" {
			*kills++
			return errRefused // nothing after this happens
		}
		return nil
	}})
	if err != nil {
		rt.Fatal(err)
	}
	err = errors.Join(log.Keep(context.Background(), fieldReport(id)), log.Close())
	if end == "torn" {
		record, _ := appendRecord(nil, fieldReport(id))
		content, _ := os.ReadFile(path)
		cut := rapid.IntRange(1, len(record)-1).Draw(rt, "written")
		if err := os.WriteFile(path, append(content, record[:cut]...), 0o600); err != nil {
			rt.Fatal(err)
		}
	}
	return err == nil
}
