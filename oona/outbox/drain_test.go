package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/outbox"
)

func (f *fakeBus) published() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

func TestHeldMessageIsTriedAgainAlthoughAnotherIsHopeless(t *testing.T) {
	t.Parallel()
	box := open(t, outbox.Config{})
	held := report("held")
	held.Stream = "a"
	hopeless := report("hopeless")
	hopeless.Stream = "b"
	put(t, box, held, hopeless)
	tries := 0
	bus := &fakeBus{fail: func(id string) error {
		if id == "hopeless" {
			return fmt.Errorf("publish: %w", oona.ErrTooLarge)
		}
		if tries++; tries == 1 {
			return oona.ErrOverloaded
		}
		return nil
	}}
	run(t, box, bus)
	eventually(t, "the held one is published", drained(box))
}

func TestHopelessMessageKeepsNeitherNameNorRoom(t *testing.T) {
	t.Parallel()
	box := open(t, outbox.Config{Capacity: 1})
	large := true
	bus := &fakeBus{fail: func(string) error {
		if large {
			return fmt.Errorf("publish: %w", oona.ErrTooLarge)
		}
		return nil
	}}
	first := report("first")
	first.Once = "name"
	put(t, box, first)
	stop := run(t, box, bus)
	eventually(t, "it is set aside", drained(box))
	stop()
	large = false
	second := report("second")
	second.Once = "name"
	put(t, box, second)
	run(t, box, bus)
	eventually(t, "it is drained", drained(box))
	if got := bus.published(); !slices.Equal(got, []string{"second"}) {
		t.Errorf("published %v", got)
	}
}

// full makes a file that nothing can be removed from, as on a full disk, until there is room.
func full(t *testing.T, file string) (room func()) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	do := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(context.Background(), statement); err != nil {
			t.Fatal(err)
		}
	}
	do(`CREATE TRIGGER disk BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, 'disk is full'); END`)
	return func() { do("DROP TRIGGER disk") }
}

// What lies in a file on a full disk goes out all the same, once.
func TestFullDiskHoldsNothingUpAndDoesNotPublishAgainAndAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "outbox.db")
	box := open(t, outbox.Config{File: file})
	var want []string
	for n := range 250 {
		want = append(want, fmt.Sprint(n))
		put(t, box, report(want[n]))
	}
	room := full(t, file)
	bus := &fakeBus{}
	run(t, box, bus)
	eventually(t, "all is published", func() bool { return len(bus.published()) == len(want) })
	eventually(t, "the failure of the file is told", func() bool {
		since, err := box.Oldest(t.Context())
		return err != nil && strings.Contains(err.Error(), "disk is full") && !since.IsZero()
	})
	put(t, box, report("later"))
	eventually(t, "what came later is published", func() bool { return len(bus.published()) > len(want) })
	room()
	eventually(t, "the file is emptied", drained(box))
	if diff := cmp.Diff(append(want, "later"), bus.published()); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	eventually(t, "nothing is told any more", func() bool {
		since, err := box.Oldest(t.Context())
		return err == nil && since.IsZero()
	})
}

// However long a disk was full, what is put once there is room goes out within 2 s.
func TestOutboxGoesOnSoonAfterALongOutageOfItsDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		file := filepath.Join(t.TempDir(), "outbox.db")
		box, err := outbox.Open(t.Context(), outbox.Config{File: file, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = box.Close() })
		put(t, box, report("before"))
		room := full(t, file)
		bus := &fakeBus{}
		stop := run(t, box, bus)
		time.Sleep(time.Hour)
		room()
		put(t, box, report("after"))
		synctest.Wait()
		if got := bus.published(); !slices.Equal(got, []string{"before", "after"}) {
			t.Errorf("published %v when there was room", got)
		}
		time.Sleep(2 * time.Second)
		if waiting, _, err := box.Waiting(t.Context()); waiting != 0 || err != nil {
			t.Errorf("%d wait 2 s after there was room, %v", waiting, err)
		}
		stop()
		if lines := strings.Count(log.String(), "\n"); lines != 2 {
			t.Errorf("an outage is told of in %d lines:\n%s", lines, log.String())
		}
	})
}

func TestOldestTellsForHowLongTheOutboxStandsStill(t *testing.T) {
	t.Parallel()
	box := open(t, outbox.Config{})
	oldest := func() time.Time {
		t.Helper()
		since, err := box.Oldest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return since
	}
	if since := oldest(); !since.IsZero() {
		t.Errorf("nothing waits, since %v", since)
	}
	put(t, box, report("first"), report("second"))
	waits := oldest()
	if waits.IsZero() {
		t.Fatal("what waits is not told")
	}
	held := func(id string) error {
		if id == "second" {
			return oona.ErrOverloaded
		}
		return nil
	}
	run(t, box, &fakeBus{fail: held})
	eventually(t, "the first has left: it stands still since then", func() bool { return oldest().After(waits) })
}

func TestStreamThatMayNotBeWrittenToHoldsNoOtherUp(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := operator(t, server.URL)
	admin("ACL", "SETUSER", "service", "on", ">pw", "~*", "&*", "+@all")
	c := connect(t, strings.Replace(server.URL, "redis://", "redis://service:pw@", 1))
	box := open(t, outbox.Config{})
	shut, free := report("shut"), report("free")
	shut.Stream, free.Stream = "shut", "free"
	put(t, box, shut, free)
	admin("ACL", "SETUSER", "service", "resetkeys", "~free*", "~oona*")
	run(t, box, c)
	eventually(t, "the other is published", func() bool { return admin("XLEN", "free") == "1" })
	if n, refused, err := box.Waiting(t.Context()); n != 1 || refused != 0 || err != nil {
		t.Errorf("%d wait, %d are refused, %v", n, refused, err)
	}
	admin("ACL", "SETUSER", "service", "~shut*")
	eventually(t, "the one that waited is published", drained(box))
}

// operator is somebody else at the server; what it returns runs a command there.
func operator(t *testing.T, url string) func(words ...string) string {
	t.Helper()
	option, err := rueidis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	option.DisableCache = true
	client, err := rueidis.NewClient(option)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return func(words ...string) string {
		t.Helper()
		answer, err := client.Do(context.Background(), client.B().Arbitrary(words...).Build()).ToAny()
		if err != nil {
			t.Fatalf("%v: %v", words, err)
		}
		return fmt.Sprint(answer)
	}
}

func TestOutboxWhoseFileIsGoneTakesNothingIn(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "outbox.db")
	box := open(t, outbox.Config{File: file})
	put(t, box, report("before"))
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	if err := box.Put(t.Context(), report("gone")); !errors.Is(err, regularfile.ErrReplaced) {
		t.Errorf("put: %v", err)
	}
	if err := box.InPlace(); !errors.Is(err, regularfile.ErrReplaced) {
		t.Errorf("in place: %v", err)
	}
	bus := &fakeBus{}
	run(t, box, bus)
	eventually(t, "what was there is published", func() bool { return slices.Equal(bus.published(), []string{"before"}) })
	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	put(t, box, report("after"))
	eventually(t, "it goes on", drained(box))
}
