package runstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestEachMessageCountsOnce(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		first := []runs.Message{report("run", 1), packet("weatherlight", 1), report("run", 2), report("run", 1)}
		if fresh := put(t, s, first...); !slices.Equal(fresh, []bool{true, true, true, false}) {
			t.Errorf("fresh are %v", fresh)
		}
		again := report("run", 2)
		again.Entry = "99-0" // published once more under its name
		if fresh := put(t, s, again, report("run", 3), packet("weatherlight", 1)); !slices.Equal(fresh, []bool{false, true, false}) {
			t.Errorf("fresh are %v", fresh)
		}
		run, err := s.Run(t.Context(), "run")
		if err != nil || run.Reports != 3 || run.Epoch != 3 || !run.FirstAt.Equal(at(1)) || !run.Reported.Equal(at(3)) {
			t.Errorf("%+v, %v", run, err)
		}
		sources, _, err := s.Sources(t.Context(), "", "", 10_000)
		if err != nil || len(sources) != 1 || sources[0].Packets != 1 || sources[0].Figures[0].Name != "m" {
			t.Errorf("%+v, %v", sources, err)
		}
	})
}

func TestRunIsReadBackAsItWasTold(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		put(t, s, report("run", 1), report("run", 2), seedPacket("run", "seed-1", "CULLED", 3))
		reports, err := s.Reports(t.Context(), "run", time.Time{}, 0)
		if err != nil || len(reports) != 2 {
			t.Fatalf("%+v, %v", reports, err)
		}
		r := reports[1]
		if r.Epoch != 2 || r.Step != 20 || r.Trainer != "t-1" || r.Number != 2 || r.Loss != 0.33333334 ||
			r.HostLoss != 0.6 || r.BaselineLoss != 0.9 || r.HostAccuracy.Known() || r.Metrics["lr"] != 0.1 || r.Seq == 0 {
			t.Errorf("%+v", r)
		}
		seed, err := s.Seed(t.Context(), "run", "seed-1")
		if err != nil || seed.Stage != "CULLED" || seed.Slot != "layer2" || seed.Kernel != "abc" || seed.Blueprint != "BP001" {
			t.Errorf("%+v, %v", seed, err)
		}
		points, err := s.Points(t.Context(), "run", "seed-1", 0)
		if err != nil || len(points) != 2 || points[0].Stage != "BLENDING" || points[0].Alpha != 0.25 {
			t.Errorf("%+v, %v", points, err)
		}
		events, err := s.Events(t.Context(), Filter{Run: "run", Seed: "seed-1", Kind: runs.KindGate, Most: 10})
		if err != nil || len(events) != 1 || events[0].Name != "G4_SYSTEM_IMPACT" || events[0].Details["reason"] != "impact not earned" {
			t.Errorf("%+v, %v", events, err)
		}
		events, err = s.Events(t.Context(), Filter{Run: "run", Most: 10})
		if err != nil || len(events) != 3 {
			t.Fatalf("%+v, %v", events, err)
		}
		if later, err := s.Events(t.Context(), Filter{After: events[2].Seq, Most: 10}); err != nil || len(later) != 2 || later[1].Seq != events[0].Seq {
			t.Errorf("%+v, %v", later, err)
		}
		if _, err := s.Run(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
		if _, err := s.Seed(t.Context(), "run", "nobody"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

func TestListHoldsTheRunsThatWereHeardOfLast(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		for n := range 5 {
			put(t, s, report(fmt.Sprint("run-", n), n+1))
		}
		put(t, s, report("run-1", 9))
		var ids []string
		before := time.Time{}
		for {
			page, err := s.Runs(t.Context(), before, "", 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, r := range page {
				ids = append(ids, r.ID)
				before = r.LastAt
			}
		}
		if got := fmt.Sprint(ids); got != "[run-1 run-4 run-3 run-2 run-0]" {
			t.Error(got)
		}
	})
}

// A stream of orders is read from its beginning by each process that starts: what was taken
// before is known also when its mark is forgotten.
func TestOrderCountsOnceWithoutItsMark(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		order := func(entry string) runs.Message {
			return runs.Message{Stream: trainer.Stream("run"), Entry: entry, At: at(5), Payload: trainer.Order{
				Kind: trainer.Judge, Run: "run", TrainerID: "t", Number: 3, Seed: "s"}.Command()}
		}
		put(t, s, order("99-2"), order("100-1"), order("100-9"), order("100-10"))
		if _, err := s.db.Exec("DELETE FROM nissa_seen"); err != nil {
			t.Fatal(err)
		}
		put(t, s, order("99-2"), order("100-1"), order("100-9"), order("100-10"), order("101-0"))
		if events, err := s.Events(t.Context(), Filter{Run: "run", Kind: runs.KindOrder, Most: 100}); err != nil || len(events) != 5 {
			t.Errorf("%d orders, %v", len(events), err)
		}
	})
}

// Several processes on one database share one truth: each has messages of its own, and
// some that others had before.
func TestReplicasShareOneTruth(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		const replicas, messages = 3, 120
		var group sync.WaitGroup
		var fresh [replicas]int
		for i := range replicas {
			s := open(t, Config{URL: url})
			group.Go(func() {
				order := rand.Perm(messages)
				for batch := range slices.Chunk(order, 7) {
					var told []runs.Message
					for _, n := range batch {
						told = append(told, report("run", n))
					}
					taken, err := s.Put(context.WithoutCancel(t.Context()), told)
					if err != nil {
						t.Error(err)
						return
					}
					for _, is := range taken {
						if is {
							fresh[i]++
						}
					}
				}
			})
		}
		group.Wait()
		s := open(t, Config{URL: url})
		run, err := s.Run(t.Context(), "run")
		if err != nil || run.Reports != messages || run.Epoch != messages-1 || fresh[0]+fresh[1]+fresh[2] != messages {
			t.Errorf("%+v, %v, fresh %v", run, err, fresh)
		}
		reports, err := s.Reports(t.Context(), "run", time.Time{}, 0)
		if err != nil || len(reports) != messages {
			t.Fatalf("%d reports, %v", len(reports), err)
		}
		seen := map[int64]bool{}
		for i, r := range reports {
			if r.Epoch != uint32(i) || seen[r.Seq] {
				t.Errorf("report %d is %+v", i, r)
			}
			seen[r.Seq] = true
		}
		size, err := s.Size(t.Context())
		if err != nil || size.Head < int64(messages) || size.Runs != 1 {
			t.Errorf("%+v, %v", size, err)
		}
	})
}

func TestExportReplaysIntoAnEqualStore(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		for n := range 20 {
			put(t, s, report("run", n), report("other", n), seedPacket("run", "seed-1", "SHADOWING", n+30), packet("weatherlight", n))
		}
		put(t, s, seedPacket("run", "seed-2", "GERMINATED", 60), seedPacket("run", "seed-1", "CULLED", 61))
		var first, second bytes.Buffer
		if err := s.Export(t.Context(), "run", &first); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(first.String(), `"other"`) || strings.Count(first.String(), `{"report"`) != 20 {
			t.Errorf("exported is\n%s", first.String())
		}
		onEachDatabase(t, func(t *testing.T, url string) {
			second.Reset()
			replayed := open(t, Config{URL: url})
			put(t, replayed, report("third", 1))
			ids, err := replayed.Import(t.Context(), bytes.NewReader(first.Bytes()), false)
			if err != nil || !slices.Equal(ids, []string{"run"}) {
				t.Fatalf("%v, %v", ids, err)
			}
			if err := replayed.Export(t.Context(), "run", &second); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first.String(), second.String()); diff != "" {
				t.Error(diff)
			}
			if _, err := replayed.Import(t.Context(), bytes.NewReader(first.Bytes()), false); !errors.Is(err, ErrExists) {
				t.Errorf("imported twice: %v", err)
			}
			if head, _ := replayed.Head(); head < 20 {
				t.Errorf("whoever follows the store is told up to %d", head)
			}
		})
		if err := s.Export(t.Context(), "nobody", &second); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

// TestDecisionsAreKeptAsTheyAre and are exported in their order, weigh on their run, and go
// with it.
func TestDecisionsAreKeptAsTheyAre(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url, Retention: 100 * time.Second})
		text := strings.Repeat("aB3+", 10_000)
		put(t, s, decision("run", 2, text+"2"), decision("run", 1, text+"1"), decision("run", 3, "no word"), decision("run", 2, text+"2"))
		put(t, s, decision("run", 4, strings.Repeat("x", 64<<10+1)), decision("run", 190, "last"))
		run, err := s.Run(t.Context(), "run")
		if err != nil || run.Bytes < int64(2*len(text)) {
			t.Errorf("%+v, %v", run, err)
		}
		exported := func() string {
			var out bytes.Buffer
			if err := s.Export(t.Context(), "run", &out); err != nil {
				t.Fatal(err)
			}
			return out.String()
		}
		whole := exported()
		first, second := strings.Index(whole, text+"1"), strings.Index(whole, text+"2")
		if strings.Count(whole, `{"decision"`) != 3 || first < 0 || second < first {
			t.Errorf("exported is %.200s", whole)
		}
		copied := open(t, Config{URL: "sqlite:///" + t.TempDir() + "/runs.db"})
		if _, err := copied.Import(t.Context(), strings.NewReader(whole), false); err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if err := copied.Export(t.Context(), "run", &again); err != nil || again.String() != whole {
			t.Errorf("imported it is %.200s, %v", again.String(), err)
		}
		if events, err := s.Events(t.Context(), Filter{Run: "run", Most: 10}); err != nil || len(events) > 0 {
			t.Errorf("the feed has %+v, %v", events, err)
		}
		if err := s.Tidy(t.Context(), at(200)); err != nil {
			t.Fatal(err)
		}
		if left := exported(); strings.Count(left, `{"decision"`) != 1 {
			t.Errorf("of what is too old is left %.200s", left)
		}
		if run, err := s.Run(t.Context(), "run"); err != nil || run.Bytes > 4<<10 {
			t.Errorf("%+v, %v", run, err)
		}
	})
}

func TestImportRefusesWhatIsNoExport(t *testing.T) {
	s := open(t, Config{URL: "sqlite:///" + t.TempDir() + "/runs.db"})
	for _, text := range []string{
		"no json", `{"report":{"run":"r"}}`, `{"run":{"id":"r"}}` + "\n" + `{"report":{"run":"s"}}`, `{"run":{"id":"r"}}` + "\n{}",
		strings.Repeat("x", maxLine+1),
	} {
		for _, parts := range []bool{false, true} {
			if _, err := s.Import(t.Context(), strings.NewReader(text), parts); err == nil {
				t.Errorf("imported %.40q", text)
			}
		}
	}
	if all, err := s.Runs(t.Context(), time.Time{}, "", 10); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// A file that broke off anywhere is no run, unless a part is asked for; one that holds nothing
// is none in any case.
func TestImportRefusesWhatWasCutOff(t *testing.T) {
	s := open(t, Config{URL: "sqlite:///" + t.TempDir() + "/runs.db"})
	put(t, s, report("run", 1), report("run", 2), report("other", 1))
	var out bytes.Buffer
	for _, run := range []string{"run", "other"} {
		if err := s.Export(t.Context(), run, &out); err != nil {
			t.Fatal(err)
		}
	}
	whole := out.String()
	first := strings.Index(whole, "\n") + 1
	importInto := func(text string, parts bool) ([]string, error) {
		store := open(t, Config{URL: "sqlite:///" + t.TempDir() + "/runs.db"})
		ids, err := store.Import(t.Context(), strings.NewReader(text), parts)
		if all, listErr := store.Runs(t.Context(), time.Time{}, "", 10); listErr != nil || len(all) != len(ids) {
			t.Errorf("%v, but the store has %v, %v", ids, all, listErr)
		}
		return ids, err
	}
	if ids, err := importInto(whole, false); err != nil || !slices.Equal(ids, []string{"run", "other"}) {
		t.Fatalf("%v, %v", ids, err)
	}
	end, report := strings.Index(whole, `{"end"`), strings.Index(whole, `{"report"`)
	for name, c := range map[string]struct {
		text  string
		parts int
	}{
		"nothing": {"", 0}, "half a line": {whole[:first/2], 0}, "the record alone": {whole[:first], 1},
		"no end": {whole[:end], 1}, "half an end": {whole[:end+5], 1}, "a line is missing": {whole[:first] + whole[report:], 2},
		"the end of the first is missing": {whole[:end] + whole[end+strings.Index(whole[end:], "\n")+1:], 2},
		"half a line in the second":       {whole[:len(whole)-60], 2},
	} {
		if ids, err := importInto(c.text, false); !errors.Is(err, ErrCut) {
			t.Errorf("%s: %v, %v", name, ids, err)
		}
		if ids, err := importInto(c.text, true); len(ids) != c.parts || (err == nil) != (c.parts > 0) {
			t.Errorf("%s, when parts are asked for: %v, %v", name, ids, err)
		}
	}
}

func TestWhatIsTooOldGoes(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url, Retention: 100 * time.Second})
		put(t, s, report("old", 10), packet("old", 10))
		for n := range 20 {
			put(t, s, report("long", 10*n))
		}
		if err := s.Tidy(t.Context(), at(200)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(t.Context(), "old"); !errors.Is(err, ErrNotFound) {
			t.Errorf("old run: %v", err)
		}
		long, err := s.Run(t.Context(), "long")
		if err != nil || !long.KeptFrom.Equal(at(100)) || !long.FirstAt.Equal(at(0)) || long.Reports != 20 {
			t.Errorf("%+v, %v", long, err)
		}
		reports, err := s.Reports(t.Context(), "long", time.Time{}, 0)
		if err != nil || len(reports) != 10 || reports[0].Epoch != 100 {
			t.Errorf("%d reports, %v", len(reports), err)
		}
		if sources, _, err := s.Sources(t.Context(), "", "", 10_000); err != nil || len(sources) != 0 {
			t.Errorf("%+v, %v", sources, err)
		}
		// What came to the bus before, and comes again now, does not come back.
		if fresh := put(t, s, report("long", 50)); fresh[0] {
			t.Error("a report that was removed is taken in again")
		}
	})
}

// A run that is told of all the time is not gone through each minute for one minute of it.
func TestRunIsShortenedNowAndThen(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url, Retention: 100 * time.Second})
		put(t, s, reports("long", 0, 250)...)
		for _, step := range []struct{ now, keptFrom int }{{200, 100}, {201, 100}, {202, 100}, {210, 110}} {
			if err := s.Tidy(t.Context(), at(step.now)); err != nil {
				t.Fatal(err)
			}
			if long, err := s.Run(t.Context(), "long"); err != nil || !long.KeptFrom.Equal(at(step.keptFrom)) {
				t.Errorf("at %d: %+v, %v", step.now, long, err)
			}
		}
	})
}

// A long removal is made of short ones: what fails, or is slow, undoes nothing of those before.
func TestLongRemovalIsMadeOfShortOnes(t *testing.T) {
	s := open(t, Config{URL: "sqlite:///" + t.TempDir() + "/runs.db", Retention: 100 * time.Second})
	put(t, s, report("run", 1))
	const rows = 25_000
	for _, statement := range []string{
		`INSERT INTO nissa_points (run, seed, at, epoch, step, stage, metrics) WITH RECURSIVE n(i) AS
			(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) SELECT 'run', 's', i, i + 0, i, '', 'null' FROM n`,
		`CREATE TRIGGER slow BEFORE DELETE ON nissa_points WHEN OLD.epoch = 15000 BEGIN SELECT RAISE(ABORT, 'too long'); END`,
	} {
		if _, err := s.db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	left := func() int64 {
		n, err := first(list(t.Context(), s.db, scanInteger, "SELECT COUNT(*) FROM nissa_points"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := s.Tidy(t.Context(), at(500)); err == nil || left() > rows-slice+1 {
		t.Errorf("%d rows are left, %v", left(), err)
	}
	if _, err := s.db.Exec("DROP TRIGGER slow"); err != nil {
		t.Fatal(err)
	}
	if err := s.Tidy(t.Context(), at(500)); err != nil || left() != 0 {
		t.Errorf("%d rows are left, %v", left(), err)
	}
	if _, err := s.Run(t.Context(), "run"); !errors.Is(err, ErrNotFound) {
		t.Errorf("run: %v", err)
	}
}

// That marks cannot be forgotten keeps nothing else from being removed, and what another
// process removed is removed.
func TestTidyGoesOnWhereItCan(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url, Retention: 100 * time.Second})
		put(t, s, report("old", 1))
		if err := s.shorten(t.Context(), "nobody", at(5)); err != nil {
			t.Error(err)
		}
		if _, err := s.db.Exec("DROP TABLE nissa_seen"); err != nil {
			t.Fatal(err)
		}
		if err := s.Tidy(t.Context(), at(500)); err == nil {
			t.Error("nothing is said of the marks")
		}
		if _, err := s.Run(t.Context(), "old"); !errors.Is(err, ErrNotFound) {
			t.Errorf("old run: %v", err)
		}
	})
}

func TestMarksAreForgottenByAgeAndNumber(t *testing.T) {
	now := at(0)
	ago := func(d time.Duration) int64 { return now.Add(-d).UnixMicro() }
	for name, test := range map[string]struct {
		beyond []int64
		want   int64
	}{
		"few":               {nil, ago(seenLife)},
		"many":              {[]int64{ago(time.Hour)}, ago(time.Hour) + 1},
		"many old ones":     {[]int64{ago(2 * seenLife)}, ago(seenLife)},
		"many at one time":  {[]int64{ago(time.Second)}, ago(seenLeast)},
		"of another's time": {[]int64{ago(-time.Hour)}, ago(seenLeast)},
	} {
		if got := forgetBefore(now, test.beyond); got != test.want {
			t.Errorf("%s: %s", name, timeOf(got))
		}
	}
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		put(t, s, reports("run", 0, 20)...)
		if err := s.Tidy(t.Context(), time.Now().Add(2*seenLife)); err != nil {
			t.Fatal(err)
		}
		if n, err := first(list(t.Context(), s.db, scanInteger, "SELECT COUNT(*) FROM nissa_seen")); err != nil || n != 0 {
			t.Errorf("%d marks, %v", n, err)
		}
	})
}

func TestTheStoreStaysWithinItsSize(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		const most = 200_000
		s := open(t, Config{URL: url, MostBytes: most})
		for n := range 10 {
			for batch := range slices.Chunk(reports(fmt.Sprint("run-", n), 1000*n, 100), 50) {
				put(t, s, batch...)
			}
		}
		before, err := s.Size(t.Context())
		if err != nil || before.Bytes <= most {
			t.Fatalf("nothing to do: %+v, %v", before, err)
		}
		if err := s.Tidy(t.Context(), at(9_100)); err != nil {
			t.Fatal(err)
		}
		after, err := s.Size(t.Context())
		if err != nil || after.Bytes > most || after.Runs == 0 {
			t.Errorf("%+v, %v", after, err)
		}
		if _, err := s.Run(t.Context(), "run-0"); !errors.Is(err, ErrNotFound) {
			t.Error("the oldest run did not make room")
		}
		if _, err := s.Run(t.Context(), "run-9"); err != nil {
			t.Errorf("the newest run: %v", err)
		}
	})
}

func TestOneRunThatIsTooLargeLosesItsOldestPart(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		const most = 100_000
		s := open(t, Config{URL: url, MostBytes: most})
		for batch := range slices.Chunk(reports("run", 0, 500), 100) {
			put(t, s, batch...)
		}
		if err := s.Tidy(t.Context(), at(500)); err != nil {
			t.Fatal(err)
		}
		kept, err := s.Reports(t.Context(), "run", time.Time{}, 0)
		if err != nil || len(kept) < 50 || kept[len(kept)-1].Epoch != 499 {
			t.Errorf("%d reports, %v", len(kept), err)
		}
		if size, err := s.Size(t.Context()); err != nil || size.Bytes > most {
			t.Errorf("%+v, %v", size, err)
		}
	})
}

// The size that is told is about that of the file.
func TestSizeIsAboutThatOfTheFile(t *testing.T) {
	file := t.TempDir() + "/runs.db"
	s := open(t, Config{URL: "sqlite:///" + file})
	for n := range 20 {
		for batch := range slices.Chunk(reports(fmt.Sprint("run-", n), 0, 300), 100) {
			put(t, s, batch...)
		}
	}
	if _, err := s.db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	size, err := s.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ratio := float64(info.Size()) / float64(size.Bytes); ratio < 0.5 || ratio > 1.2 {
		t.Errorf("the file has %d bytes, told are %d: %.2f", info.Size(), size.Bytes, ratio)
	}
}

func reports(run string, from, n int) (all []runs.Message) {
	for i := range n {
		all = append(all, report(run, from+i))
	}
	return all
}

func TestLongCurveIsThinned(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		all := reports("run", 0, 1000)
		all[567].Payload.(*leyline.SystemStatePacket).ValidationLoss = 40
		for batch := range slices.Chunk(all, 250) {
			put(t, s, batch...)
		}
		thin, err := s.Reports(t.Context(), "run", time.Time{}, 50)
		if err != nil || len(thin) > 51 || len(thin) < 25 {
			t.Fatalf("%d reports, %v", len(thin), err)
		}
		if !slices.ContainsFunc(thin, func(r runs.Report) bool { return r.Loss == 40 }) {
			t.Error("the peak is gone")
		}
		if thin[0].Epoch != 0 || thin[len(thin)-1].Epoch != 999 {
			t.Errorf("from %d to %d", thin[0].Epoch, thin[len(thin)-1].Epoch)
		}
		if points, err := s.Points(t.Context(), "run", "seed-1", 50); err != nil || len(points) > 51 {
			t.Errorf("%d points, %v", len(points), err)
		}
	})
}

// Whatever a sender writes is stored, cut to its bounds, and changes nobody else's records.
func TestHostileTextsAreStored(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		for i, text := range hostile {
			told := report(text, i+1)
			told.Payload.(*leyline.SystemStatePacket).PacketId = fmt.Sprint(i)
			told.Payload.(*leyline.SystemStatePacket).TrainingMetrics = map[string]float32{text: 1}
			told.Payload.(*leyline.SystemStatePacket).SeedStates[0].SeedId = text
			spoken := seedPacket(text, text, text, i+1)
			spoken.Payload.(*leyline.TelemetryPacket).SourceSubsystem = text
			spoken.Payload.(*leyline.TelemetryPacket).Events[1].Description = text
			spoken.Payload.(*leyline.TelemetryPacket).Events[1].Attributes[text] = text
			put(t, s, told, spoken, packet(text, i))
		}
		all, err := s.Runs(t.Context(), time.Time{}, "", 100)
		if err != nil || len(all) != len(hostile) {
			t.Fatalf("%d runs, %v", len(all), err)
		}
		for _, r := range all {
			if len(r.ID) > 128 || strings.ContainsAny(r.ID, "\n\x00") {
				t.Errorf("run %q", r.ID)
			}
			if r.Bytes > 16<<10 {
				t.Errorf("run %.20q takes %d bytes", r.ID, r.Bytes)
			}
			if err := s.Export(t.Context(), r.ID, new(bytes.Buffer)); err != nil {
				t.Error(err)
			}
		}
	})
}

// Numbers at the ends of what a message can say are stored too.
func TestHostileNumbersAreStored(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		for i, number := range []uint64{0, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
			told := report(fmt.Sprint("run-", i), i+1)
			state := told.Payload.(*leyline.SystemStatePacket)
			state.GlobalStep, state.TimestampNs, state.CurrentEpoch = number, number, math.MaxUint32
			state.TrainingMetrics = map[string]float32{"nan": float32(math.NaN()), "inf": float32(math.Inf(1)), "small": math.SmallestNonzeroFloat32}
			state.TrainingLoss, state.ValidationLoss = math.MaxFloat32, math.SmallestNonzeroFloat32
			told.Attributes = nil // of a trainer whose numbers have no other bounds
			put(t, s, told)
			reports, err := s.Reports(t.Context(), fmt.Sprint("run-", i), time.Time{}, 0)
			if err != nil || len(reports) != 1 || reports[0].Step != min(number, math.MaxInt64) {
				t.Errorf("%+v, %v", reports, err)
			}
		}
		for _, since := range []string{"1e300", "NaN", "-1e300"} {
			told := packet("weatherlight", 1)
			told.Payload.(*leyline.TelemetryPacket).PacketId = since
			told.Payload.(*leyline.TelemetryPacket).Events = []*leyline.TelemetryEvent{
				{Description: "alarm", Attributes: map[string]string{"alarm": "lag", "since": since}}}
			put(t, s, told)
			if alarms, err := s.Alarms(t.Context()); err != nil || len(alarms) != 1 || alarms[0].Name != "lag" {
				t.Errorf("since %s: %+v, %v", since, alarms, err)
			}
		}
	})
}

// A record that has no form is an error, and nothing is stored in its place.
func TestRecordThatCannotBeWrittenIsAnError(t *testing.T) {
	s := open(t, Config{URL: "sqlite:///" + t.TempDir() + "/runs.db"})
	err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		return putRows(ctx, tx, &alarmTable, s.each, [][]any{alarmRow(&runs.Alarm{Name: "lag", Since: time.Unix(1<<40, 0)})})
	})
	if err == nil {
		t.Error("stored")
	}
}

// hostile are names that a peer may use who means harm; no two of them are one.
var hostile = []string{
	strings.Repeat("x", 1<<20), strings.Repeat("x", 1<<20) + "y", "two\nlines", "zero\x00byte", "\xff\xfe broken \xc3", "'; DROP TABLE nissa_runs; --",
	`{"json":"[1,2]"}`, `<script>alert(1)</script>`, "\u202eright to left", "{}", "null", "[]", `"quoted"`, `\u0000`, "%s%d%v", "../..", "run/../other",
}

func TestSourcesAreBounded(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		for n := range 5 {
			var told []runs.Message
			for i := range 500 {
				told = append(told, packet(fmt.Sprint("source-", 500*n+i), 1))
			}
			put(t, s, told...)
		}
		put(t, s, packet("source-0", 2)) // one that is known is heard all the same
		sources, _, err := s.Sources(t.Context(), "", "", 10_000)
		if err != nil || len(sources) != mostSources {
			t.Fatalf("%d sources, %v", len(sources), err)
		}
	})
}

// Who tells of alarms names them: those that were told of last are kept.
func TestAlarmsAreBounded(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		for n := range 30 {
			var told []runs.Message
			for i := range 50 {
				m := packet("weatherlight", 50*n+i+1)
				m.Payload.(*leyline.TelemetryPacket).Events = []*leyline.TelemetryEvent{
					{Description: "alarm", Attributes: map[string]string{"alarm": fmt.Sprint("alarm-", 50*n+i)}}}
				told = append(told, m)
			}
			put(t, s, told...)
		}
		n, err := first(list(t.Context(), s.db, scanInteger, "SELECT COUNT(*) FROM nissa_alarms"))
		if err != nil || n != mostAlarms {
			t.Errorf("%d alarms, %v", n, err)
		}
		if alarms, err := s.Alarms(t.Context()); err != nil || alarms[0].Name != "alarm-1499" {
			t.Errorf("%+v, %v", alarms[0], err)
		}
	})
}

// What is remembered of messages is part of what a store keeps. However much it is, it takes
// no more than half of the room from the runs.
func TestMarksAreCounted(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		const most, packets = 50_000, 1000
		s := open(t, Config{URL: url, MostBytes: most, Retention: 100 * 365 * 24 * time.Hour})
		put(t, s, report("run", 1))
		before, err := s.Size(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var told []runs.Message
		for n := range packets {
			told = append(told, packet("source", n))
		}
		put(t, s, told...)
		after, err := s.Size(t.Context())
		if err != nil || after.Marks != before.Marks+packets || after.Bytes < before.Bytes+most {
			t.Errorf("%+v became %+v, %v", before, after, err)
		}
		if err := s.Tidy(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(t.Context(), "run"); err != nil {
			t.Errorf("a small run made room for marks: %v", err)
		}
	})
}

// What a source tells of a run changes nothing of its figures, nor does a packet that is late.
func TestFiguresOfASourceAreItsNewest(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		for _, m := range []runs.Message{packet("kasmina", 1), seedPacket("run", "s", "TRAINING", 9), packet("kasmina", 5), packet("kasmina", 3)} {
			put(t, s, m)
		}
		sources, _, err := s.Sources(t.Context(), "", "", 10_000)
		if err != nil || len(sources) != 1 {
			t.Fatalf("%+v, %v", sources, err)
		}
		if k := sources[0]; k.Figures[0].Value != 5 || !k.FiguresAt.Equal(at(5)) || !k.LastAt.Equal(at(9)) || k.Packets != 4 || !k.FirstAt.Equal(at(1)) {
			t.Errorf("%+v", k)
		}
	})
}

func TestStoreWhoseFileIsGoneTakesNothing(t *testing.T) {
	file := t.TempDir() + "/runs.db"
	s := open(t, Config{URL: "sqlite:///" + file})
	put(t, s, report("run", 1))
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), []runs.Message{report("run", 2)}); !errors.Is(err, regularfile.ErrReplaced) {
		t.Errorf("put: %v", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, regularfile.ErrReplaced) {
		t.Errorf("ping: %v", err)
	}
	if all, err := s.Runs(t.Context(), time.Time{}, "", 10); !errors.Is(err, regularfile.ErrReplaced) {
		t.Errorf("runs: %v, %v", all, err)
	}
	if all, err := s.Reports(t.Context(), "run", time.Time{}, 0); !errors.Is(err, regularfile.ErrReplaced) {
		t.Errorf("reports: %v, %v", all, err)
	}
	if err := s.Refresh(t.Context()); !errors.Is(err, regularfile.ErrReplaced) {
		t.Errorf("refresh: %v", err)
	}
	if err := s.Export(t.Context(), "run", new(bytes.Buffer)); !errors.Is(err, regularfile.ErrReplaced) {
		t.Errorf("export: %v", err)
	}
	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	if fresh := put(t, s, report("run", 2)); !fresh[0] {
		t.Error("what was not taken counts as taken")
	}
}

// What was stored before figures had a time of their own is shown on, until there is newer.
func TestFiguresOfAnOlderStoreAreKept(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		record := fmt.Sprintf(`{"name":"kasmina","first_at":%[1]q,"last_at":%[1]q,"packets":7,"health":"healthy","figures":[{"name":"m","value":5}]}`,
			at(5).Format(time.RFC3339Nano))
		for _, statement := range []string{
			"ALTER TABLE nissa_sources DROP COLUMN figures_at", "DELETE FROM nissa_schema_version WHERE version_id = 2",
			fmt.Sprintf("INSERT INTO nissa_sources VALUES ('kasmina', %d, %d, 7, '%s')", at(1).UnixMicro(), at(5).UnixMicro(), record),
		} {
			if _, err := s.db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		s = open(t, Config{URL: url})
		for _, step := range []struct {
			told runs.Message
			want runs.Number
		}{{seedPacket("run", "s", "TRAINING", 9), 5}, {packet("kasmina", 4), 5}, {packet("kasmina", 8), 8}} {
			put(t, s, step.told)
			sources, _, err := s.Sources(t.Context(), "", "", 10_000)
			if err != nil || len(sources) != 1 || sources[0].Figures[0].Value != step.want {
				t.Errorf("%+v, %v; want %v", sources, err, step.want)
			}
		}
	})
}

// A run of very many seeds makes room for itself: the others stay, and so does what it said last.
func TestARunOfVeryManySeedsMakesRoomForItself(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		const most = 4 << 20
		s := open(t, Config{URL: url, MostBytes: most})
		for n := range 5 {
			put(t, s, reports(fmt.Sprint("run-", n), 0, 20)...)
		}
		for n := range 20 {
			var told []runs.Message
			for i := range 500 {
				told = append(told, seedPacket("crowd", fmt.Sprint("seed-", 500*n+i), "GERMINATED", 3600+n))
			}
			put(t, s, told...)
		}
		if err := s.Tidy(t.Context(), at(3700)); err != nil {
			t.Fatal(err)
		}
		size, err := s.Size(t.Context())
		if err != nil || size.Bytes > most || size.Runs != 6 {
			t.Errorf("%+v, %v", size, err)
		}
		for n := range 5 {
			if r, err := s.Run(t.Context(), fmt.Sprint("run-", n)); err != nil || !r.KeptFrom.Equal(at(0)) {
				t.Errorf("run %d: %+v, %v", n, r, err)
			}
		}
		seeds, err := s.Seeds(t.Context(), "crowd", 100_000)
		if err != nil || len(seeds) == 0 || !seeds[len(seeds)-1].LastAt.Equal(at(3619)) {
			t.Errorf("%d seeds are left, %v", len(seeds), err)
		}
	})
}

// A clock that goes ahead by a year removes nothing that it would not have otherwise, also over a
// restart; when it stays there, it is right.
func TestAClockThatGoesFarAheadRemovesNothing(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		const retention = 1000 * time.Second
		s := open(t, Config{URL: url, Retention: retention})
		year := 365 * 24 * 3600
		kept := func(want string) {
			t.Helper()
			all, err := s.Runs(t.Context(), time.Time{}, "", 10)
			var names []string
			for _, r := range all {
				names = append(names, r.ID)
			}
			if got := strings.Join(names, " "); err != nil || got != want {
				t.Errorf("kept are %q, wanted %q, %v", got, want, err)
			}
		}
		tidy := func(now int, doubts bool) {
			t.Helper()
			if err := s.Tidy(t.Context(), at(now)); errors.Is(err, ErrClock) != doubts || !doubts && err != nil {
				t.Errorf("at %d: %v", now, err)
			}
		}
		put(t, s, report("old", 1), report("new", 950))
		tidy(1000, false)
		put(t, s, report("wrong", year))
		tidy(1000+year, true)
		kept("wrong new old")
		s = open(t, Config{URL: url, Retention: retention})
		tidy(1001+year, true)
		kept("wrong new old")
		if fresh := put(t, s, report("old", 1)); fresh[0] {
			t.Error("what was taken in is taken in again")
		}
		tidy(1100, false) // it is set right
		kept("wrong new")
		tidy(500+year, true)
		const third = 8 * 3600
		put(t, s, report("late", year+3*third))
		for n := range 3 { // or it was right, which is seen also by one that is started anew each night
			s = open(t, Config{URL: url, Retention: retention})
			tidy(500+year+n*third, true)
			s.looked = s.looked.Add(-third * time.Second)
			tidy(500+year+(n+1)*third, n < 2)
		}
		kept("late")
	})
}

// Sources that are silent do not keep a new one from being shown.
func TestSilentSourcesMakeRoomForNewOnes(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		var told []runs.Message
		for i := range mostSources {
			told = append(told, packet(fmt.Sprint("flood-", i), 1))
		}
		put(t, s, told...)
		put(t, s, packet("steady", 2), packet("flood-0", 890)) // there is no room yet
		late := int(silentSource.Seconds()) + 5
		put(t, s, packet("honest", late), packet("honest-2", late))
		sources, _, err := s.Sources(t.Context(), "", "", 10_000)
		names := map[string]bool{}
		for _, source := range sources {
			names[source.Name] = true
		}
		if err != nil || len(names) != mostSources || !names["honest"] || !names["honest-2"] || !names["flood-0"] || names["steady"] {
			t.Errorf("%d sources, honest %t %t, flood-0 %t, steady %t, %v",
				len(names), names["honest"], names["honest-2"], names["flood-0"], names["steady"], err)
		}
	})
}

// meanwhile is a reader of an export while whose first line comes something is told.
type meanwhile struct {
	bytes.Buffer

	told func()
}

func (m *meanwhile) Write(text []byte) (int, error) {
	if m.told != nil {
		m.told()
		m.told = nil
	}
	return m.Buffer.Write(text)
}

// A run that is exported while it trains is the run as it was at one moment.
func TestExportOfARunThatTrainsIsWhole(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		put(t, s, report("run", 1), report("run", 2))
		out := &meanwhile{told: func() { put(t, s, report("run", 3), seedPacket("run", "seed-2", "BLENDING", 4)) }}
		if err := s.Export(t.Context(), "run", out); err != nil {
			t.Fatal(err)
		}
		other := open(t, Config{URL: "sqlite:///" + t.TempDir() + "/other.db"})
		if _, err := other.Import(t.Context(), &out.Buffer, false); err != nil {
			t.Fatal(err)
		}
		run, err := other.Run(t.Context(), "run")
		if err != nil {
			t.Fatal(err)
		}
		reports, err := other.Reports(t.Context(), "run", time.Time{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		events, err := other.Events(t.Context(), Filter{Run: "run", Seed: "seed-2", Most: 10})
		if err != nil || run.Reports != 2 || len(reports) != 2 || len(events) != 0 {
			t.Errorf("the record has %d reports, there are %d, and %d events of a seed that is not there, %v", run.Reports, len(reports), len(events), err)
		}
		put(t, s, report("run", 5)) // and the store takes on what comes
	})
}

// A long run is imported in portions, so that others are not held up, and is there once all of it is: what a kill
// leaves is nobody's, and in nobody's way.
func TestALongRunIsImportedInPortions(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		const points = 35_000
		var export strings.Builder
		fmt.Fprintln(&export, `{"run":{"id":"long","first_at":"2026-01-01T00:00:00Z","last_at":"2026-01-02T00:00:00Z"}}`)
		for n := range points {
			fmt.Fprintf(&export, `{"point":{"run":"long","seed":"s","at":"2026-01-01T00:00:00Z","epoch":%d,"step":1,"stage":"","alpha":1}}`+"\n", n)
		}
		fmt.Fprintf(&export, `{"end":{"run":"long","lines":%d}}`+"\n", points+1)
		left := func() int64 {
			t.Helper()
			n, err := first(list(t.Context(), s.db, scanInteger, "SELECT COUNT(*) FROM nissa_points"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		batches, err := readExport(strings.NewReader(export.String()), false)
		if err != nil {
			t.Fatal(err)
		}
		killed := portions(batches[0])
		if len(killed) < 4 {
			t.Fatalf("%d portions", len(killed))
		}
		for _, portion := range killed[:2] {
			if err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) (err error) { _, err = s.save(ctx, tx, portion); return err }); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Run(t.Context(), "long"); !errors.Is(err, ErrNotFound) || left() == 0 {
			t.Errorf("a part is shown: %v", err)
		}
		if ids, err := s.Import(t.Context(), strings.NewReader(export.String()), false); err != nil || len(ids) != 1 || left() != points {
			t.Errorf("%v, %d points, %v", ids, left(), err)
		}
		if _, err := s.Import(t.Context(), strings.NewReader(export.String()), false); !errors.Is(err, ErrExists) || left() != points {
			t.Errorf("again: %d points, %v", left(), err)
		}
	})
}

// What a killed import leaves is not shown, and goes when it gave no sign of life for long.
func TestWhatAKilledImportLeavesGoes(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		put(t, s, seedPacket("run", "seed-1", "BLENDING", 1))
		known, err := s.Events(t.Context(), Filter{Most: 10})
		if err != nil {
			t.Fatal(err)
		}
		if err := beginImport(t.Context(), s, "killed", "x"); err != nil {
			t.Fatal(err)
		}
		portion := runs.NewBatch(nil)
		portion.Events = []runs.Event{{Run: "killed", At: begin, Kind: known[0].Kind, Name: "e"}}
		portion.Points = []runs.Point{{Run: "killed", Seed: "s", At: begin}}
		portion.Reports = []runs.Report{{Run: "killed", At: begin}}
		portion.Seeds[runs.SeedKey{Run: "killed", Seed: "s"}] = &runs.Seed{Run: "killed", ID: "s", FirstAt: begin, LastAt: begin}
		save := func() error {
			return s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
				if err := holdImport(ctx, tx, "killed", "x", false); err != nil {
					return err
				}
				_, err := s.save(ctx, tx, portion)
				return err
			})
		}
		left := func(want int64) {
			t.Helper()
			n, err := first(list(t.Context(), s.db, scanInteger, "SELECT (SELECT COUNT(*) FROM nissa_events WHERE run = 'killed') + "+
				"(SELECT COUNT(*) FROM nissa_points WHERE run = 'killed') + (SELECT COUNT(*) FROM nissa_imports) + "+
				"(SELECT COUNT(*) FROM nissa_seeds WHERE run = 'killed') + (SELECT COUNT(*) FROM nissa_reports WHERE run = 'killed')"))
			if err != nil || n != want {
				t.Errorf("%d rows are left of it, want %d, %v", n, want, err)
			}
			shown, err := s.Events(t.Context(), Filter{Most: 10})
			told, _, failed := s.Changes(t.Context(), 0, 1000)
			if len(shown) != len(known) || len(told) != len(known) || err != nil || failed != nil {
				t.Errorf("shown are %d and told %d events, want %d, %v, %v", len(shown), len(told), len(known), err, failed)
			}
			if seed, err := s.Seed(t.Context(), "killed", "s"); !errors.Is(err, ErrNotFound) {
				t.Errorf("a seed of it is shown: %v, %v", seed, err)
			}
			seeds, err := s.Seeds(t.Context(), "killed", 10)
			curve, failed := s.Points(t.Context(), "killed", "s", 10)
			reports, refused := s.Reports(t.Context(), "killed", time.Time{}, 10)
			if len(seeds)+len(curve)+len(reports) > 0 || err != nil || failed != nil || refused != nil {
				t.Errorf("%d seeds, %d points and %d reports of it are shown, %v, %v, %v", len(seeds), len(curve), len(reports), err, failed, refused)
			}
		}
		tidy := func(passed time.Duration) {
			t.Helper()
			for run, one := range s.begun {
				one.Since = one.Since.Add(-passed)
				s.begun[run] = one
			}
			if err := s.Tidy(t.Context(), at(10)); err != nil {
				t.Error(err)
			}
		}
		for range 2 { // it lives
			if err := save(); err != nil {
				t.Fatal(err)
			}
			tidy(abandoned)
		}
		left(8)
		tidy(abandoned)
		left(0)
		if err := save(); !errors.Is(err, errTakenOver) {
			t.Errorf("it goes on after it was taken for dead: %v", err)
		}
	})
}
