package oonatest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/oona"
)

// noon is a moment of the due index: it goes by the times it is told.
func noon() time.Time { return time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC) }

// at is so many seconds after noon.
func at(seconds int) time.Time { return noon().Add(time.Duration(seconds) * time.Second) }

func (b *bus) schedule(r *oona.Records, run string, when time.Time) {
	b.t.Helper()
	if err := r.Schedule(context.Background(), "kasmina", run, when); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bus) claim(r *oona.Records, now time.Time, limit int) []oona.DueRun {
	b.t.Helper()
	due, err := r.Due(context.Background(), "kasmina", now, limit, time.Minute)
	if err != nil {
		b.t.Fatal(err)
	}
	return due
}

func (b *bus) reschedule(r *oona.Records, claim oona.DueRun, when time.Time) {
	b.t.Helper()
	if err := r.Reschedule(context.Background(), "kasmina", claim, when); err != nil {
		b.t.Fatal(err)
	}
}

func names(due []oona.DueRun) []string {
	runs := make([]string, len(due))
	for i, one := range due {
		runs[i] = one.Run
	}
	return runs
}

func testDueRuns(t *testing.T, b *bus) {
	r := b.records(b.client(nil))
	for run, when := range map[string]time.Time{"c": at(3), "a": at(1), "b": at(2), "later": at(10), "never": {}} {
		b.schedule(r, run, when)
	}
	b.schedule(r, "c", at(9))     // no later
	b.schedule(r, "later", at(4)) // but earlier
	steps := []struct {
		now, limit int
		want       []string
	}{
		{0, 10, nil}, {3, 2, []string{"a", "b"}}, {3, 2, []string{"c"}}, {3, 0, nil}, {4, 10, []string{"later"}},
		{59, 10, nil}, {200, 10, []string{"a", "b", "c", "later"}}, // whose holders said nothing
	}
	for _, step := range steps {
		got := names(b.claim(r, at(step.now), step.limit))
		slices.Sort(got)
		if !slices.Equal(got, step.want) {
			t.Errorf("at %d s %v are due, want %v", step.now, got, step.want)
		}
	}
	if got := b.claim(r, at(999), 10); len(got) != 4 || got[0].At.Sub(at(1059)).Abs() > time.Millisecond {
		t.Errorf("claims of %v", got)
	}
}

func testClaimIsEndedByItsHolderOnly(t *testing.T, b *bus) {
	r := b.records(b.client(nil))
	b.schedule(r, "r", at(0))
	first := b.claim(r, at(0), 1)[0]
	b.reschedule(r, first, at(5))
	if due := b.claim(r, at(4), 1); len(due) != 0 {
		t.Errorf("%v is due before it was put off to", due)
	}
	second := b.claim(r, at(5), 1)
	if len(second) != 1 {
		t.Fatal("not due when it was put off to")
	}
	b.reschedule(r, first, time.Time{}) // a claim of old
	third := b.claim(r, at(100), 1)
	if len(third) != 1 {
		t.Fatal("a claim that no longer stands has removed the run")
	}
	b.reschedule(r, second[0], at(1000))
	b.reschedule(r, third[0], time.Time{})
	if due := b.claim(r, at(5000), 1); len(due) != 0 {
		t.Errorf("%v is due although it was let go", due)
	}
}

// A run that is scheduled while somebody holds a claim on it is not forgotten: its
// holder may have read the record before.
func testScheduledWhileClaimed(t *testing.T, b *bus) {
	r := b.records(b.client(nil))
	for name, test := range map[string]struct{ scheduled, wanted int }{
		"before the end of the claim": {30, 30}, "after it": {300, 60},
	} {
		for _, when := range []time.Time{{}, at(4000)} {
			b.must("DEL", "weatherlight:kasmina:due")
			b.schedule(r, "r", at(0))
			claim := b.claim(r, at(0), 1)[0]
			b.schedule(r, "r", at(test.scheduled))
			b.reschedule(r, claim, when)
			if due := b.claim(r, at(test.wanted-1), 1); len(due) != 0 {
				t.Errorf("%s: %v is due too early", name, due)
			}
			if due := b.claim(r, at(test.wanted+1), 1); len(due) != 1 {
				t.Errorf("%s: what was scheduled is forgotten when the holder says %v", name, when)
			}
		}
	}
}

func testDueRunsInARace(t *testing.T, b *bus) {
	const runs, workers = 100, 4
	setup := b.records(b.client(nil))
	for n := range runs {
		b.schedule(setup, fmt.Sprint("run-", n), at(n%7))
	}
	seen := newJournal()
	var running sync.WaitGroup
	for range workers {
		r := b.records(b.client(nil))
		running.Go(func() {
			for due := b.claim(r, at(7), 3); len(due) > 0; due = b.claim(r, at(7), 3) {
				for _, one := range due {
					seen.add(one.Run)
				}
			}
		})
	}
	running.Wait()
	for run, n := range seen.all() {
		if n != 1 {
			t.Errorf("%s was claimed %d times", run, n)
		}
	}
	if n := len(seen.all()); n != runs {
		t.Errorf("%d of %d runs were claimed", n, runs)
	}
}

func testRunIsDueWithItsRecord(t *testing.T, b *bus) {
	r := b.records(b.client(nil))
	version := b.save(r, oona.RecordWrite{Key: recordKey, Due: at(9)})
	b.save(r, oona.RecordWrite{Key: recordKey, Version: version, Due: at(20)})
	if got := names(b.claim(r, at(8), 9)); len(got) != 0 {
		t.Errorf("%v are due too early", got)
	}
	if got := names(b.claim(r, at(9), 9)); !slices.Equal(got, []string{"r"}) {
		t.Errorf("%v are due", got)
	}
}

func testRunsAreListedInPages(t *testing.T, b *bus) {
	r := b.records(b.client(nil))
	var want []string
	for n := range 300 {
		run := fmt.Sprintf("run-%03d", n*7%300)
		b.schedule(r, run, at(n))
		want = append(want, run)
	}
	slices.Sort(want)
	var got []string
	for after := ""; ; after = got[len(got)-1] {
		page, err := r.Runs(context.Background(), "kasmina", after, 70)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		if got = append(got, page...); len(page) > 70 {
			t.Fatalf("a page of %d", len(page))
		}
	}
	b.same("runs", want, got)
	if none, err := r.Runs(context.Background(), "tamiyo", "", 10); err != nil || len(none) != 0 {
		t.Errorf("runs of a part without any: %v, %v", none, err)
	}
}
