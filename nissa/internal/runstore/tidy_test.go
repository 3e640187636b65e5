package runstore

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

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
