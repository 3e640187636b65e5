package runstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/regularfile"
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
		if some, err := s.Events(t.Context(), Filter{Names: []string{events[0].Name, events[2].Name, "' OR 1"}, Most: 10}); err != nil || len(some) != 2 {
			t.Errorf("%+v, %v", some, err)
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
