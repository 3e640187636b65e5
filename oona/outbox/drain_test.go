package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

// A file that cannot be written any more, as on a full disk: the worker fails
// and is started again, and the bus must not get everything again each time.
func TestFullDiskDoesNotPublishAgainAndAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "outbox.db")
	box := open(t, outbox.Config{File: file})
	put(t, box, report("1"), report("2"))
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	const full = `CREATE TRIGGER disk BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, 'disk is full'); END`
	if _, err := db.ExecContext(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	bus := &fakeBus{}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := box.Run(ctx, bus); err == nil {
			t.Error("the failure of the file was not told")
		}
		cancel()
	}
	if _, err := db.ExecContext(t.Context(), "DROP TRIGGER disk"); err != nil {
		t.Fatal(err)
	}
	run(t, box, bus)
	eventually(t, "the file is emptied", drained(box))
	if got := bus.published(); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("published %v", got)
	}
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
