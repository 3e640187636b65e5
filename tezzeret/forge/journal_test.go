package forge_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
)

// restarted makes a forge of a new process over the library and journal of an
// earlier one.
func restarted(t *testing.T, blueprints []*leyline.BlueprintDescriptor, path string, library *memoryLibrary,
	adjust func(*forge.Config)) *bench {
	t.Helper()
	b := newBench(t, blueprints, func(c *forge.Config) {
		c.JournalPath, c.Library, c.Stored = path, library, library.stored
		if adjust != nil {
			adjust(c)
		}
	})
	b.library = library
	return b
}

func newLibrary() *memoryLibrary { return &memoryLibrary{failFor: make(map[string]error)} }

func journalPath(t *testing.T) string { return filepath.Join(t.TempDir(), "forge", "journal") }

func TestPoisonStaysParkedAcrossARestartAndIsTriedAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, library := journalPath(t), newLibrary()
		poison := func(c *forge.Config) { c.ParkFor = time.Hour }
		first := restarted(t, compilable()[:3], path, library, poison)
		first.compiler.script["BP001"] = always(errPoison)
		if err := first.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		second := restarted(t, compilable()[:3], path, library, poison)
		if err := second.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, "parked", jobIDs(second.Result().Parked), "BP001")
		err := second.Result().Parked[0].Err
		if !errors.Is(err, forge.ErrParked) || !strings.Contains(err.Error(), "poison") {
			t.Errorf("parked for %v", err)
		}
		if len(second.compiler.calls) != 0 || second.Stats().Jobs.Parked != 1 {
			t.Errorf("compiled %v, metrics %v", second.compiler.calls, second.Stats())
		}
		time.Sleep(time.Hour)
		third := restarted(t, compilable()[:3], path, library, poison)
		if err := third.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, "compiled", jobIDs(third.Result().Compiled), "BP001")
	})
}

func TestEachFailureParksLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, library := journalPath(t), newLibrary()
		b := restarted(t, compilable()[:1], path, library, func(c *forge.Config) {
			c.ParkFor, c.Failures = time.Minute, 1000
		})
		b.compiler.script["BP001"] = always(errPoison)
		for _, wait := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
			if err := b.Run(t.Context()); err != nil || len(b.Result().Failed) != 1 {
				t.Fatalf("%v, %+v", err, b.Result())
			}
			time.Sleep(wait - time.Second)
			if err := b.Run(t.Context()); err != nil || len(b.Result().Parked) != 1 {
				t.Fatalf("after %v: %v, %+v", wait-time.Second, err, b.Result())
			}
			time.Sleep(time.Second)
		}
	})
}

func TestAChangedRequestIsNoLongerParked(t *testing.T) {
	path, library := journalPath(t), newLibrary()
	first := restarted(t, compilable()[:1], path, library, nil)
	first.compiler.script["BP001"] = always(errPoison)
	if err := first.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := restarted(t, compilable()[:1], path, library, func(c *forge.Config) {
		c.Compiler = approvedCompiler(48)
	})
	if err := second.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "compiled", jobIDs(second.Result().Compiled), "BP001")
}

func TestUnannouncedKernelIsAnnouncedByTheNextProcess(t *testing.T) {
	path, library := journalPath(t), newLibrary()
	first := restarted(t, compilable()[:4], path, library, nil)
	first.busError = errors.New("redis away")
	if err := first.Run(t.Context()); err == nil {
		t.Error("the pass is over although four kernels are unannounced")
	}
	second := restarted(t, compilable()[:4], path, library, nil)
	if err := second.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "announced", second.announcedIDs(), "BP001", "BP002", "BP003", "BP004")
	if ref := second.announced[0].GetArtifactRef(); !strings.HasPrefix(ref, "/library/") {
		t.Errorf("announced with reference %q", ref)
	}
	if len(second.compiler.calls) != 0 {
		t.Errorf("compiled again: %v", second.compiler.calls)
	}
	third := restarted(t, compilable()[:4], path, library, nil)
	if err := third.Run(t.Context()); err != nil || len(third.announced) != 0 {
		t.Errorf("%v, announced again %v", err, third.announced)
	}
}

// A save that ended with the process, before the journal could tell of it.
func TestKernelWhoseSaveOutlivedTheProcessIsAnnouncedWithoutCompilingAgain(t *testing.T) {
	path, library := journalPath(t), newLibrary()
	whole := restarted(t, compilable()[:2], path, library, nil)
	if err := whole.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	cutAfter(t, path, `"op":"saving"`, 2)
	second := restarted(t, compilable()[:2], path, library, nil)
	if err := second.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "announced", second.announcedIDs(), "BP002")
	if len(second.compiler.calls) != 0 {
		t.Errorf("compiled again: %v", second.compiler.calls)
	}

	// Without a look into the library it must be stored again to be sure.
	cutAfter(t, path, `"op":"saving"`, 2)
	blind := restarted(t, compilable()[:2], path, library, func(c *forge.Config) { c.Stored = nil })
	if err := blind.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "announced", blind.announcedIDs(), "BP002")
}

// cutAfter keeps the journal up to the nth line that holds text.
func cutAfter(t *testing.T, path, text string, n int) {
	t.Helper()
	journal, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kept := ""
	for line := range strings.Lines(string(journal)) {
		if kept += line; strings.Contains(line, text) {
			if n--; n == 0 {
				break
			}
		}
	}
	if err := os.WriteFile(path, []byte(kept), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTornTailAndForeignLinesDoNotStopTheForge(t *testing.T) {
	path, library := journalPath(t), newLibrary()
	first := restarted(t, compilable()[:2], path, library, nil)
	first.busError = errors.New("redis away")
	_ = first.Run(t.Context())
	journal, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	foreign := "[1,2]\nnot json\n{\"op\":\"started\"}\n\"text\"\n{\"op\":\"stored\",\"blueprint\":\"BP009\",\"update\":7}\n" +
		"{\"op\":\"from a later release\",\"blueprint\":\"BP001\"}\n"
	torn := `{"op":"announced","blueprint":"BP001","checks`
	if err := os.WriteFile(path, []byte(foreign+string(journal)+torn), 0o600); err != nil {
		t.Fatal(err)
	}
	second := restarted(t, compilable()[:2], path, library, nil)
	if err := second.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "announced", second.announcedIDs(), "BP001", "BP002")
	if rest, err := os.ReadFile(path); err != nil || strings.Contains(string(rest), `"checks{`) {
		t.Errorf("%v; the torn tail was written on: %s", err, rest)
	}
}

func TestTwoProcessesDoNotForgeWithOneJournal(t *testing.T) {
	path, library := journalPath(t), newLibrary()
	b := restarted(t, compilable()[:1], path, library, nil)
	b.compiler.script["BP001"] = func(ctx context.Context) error {
		other := restarted(t, compilable()[:1], path, library, nil)
		if err := other.Run(ctx); !errors.Is(err, forge.ErrJournalBusy) {
			t.Errorf("got %v", err)
		}
		return nil
	}
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestBlueprintThatEndsTheProcessIsParkedWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, library := journalPath(t), newLibrary()
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		digest := approvedCompiler(32).BuildDigest(compilable()[0])
		now := time.Now().UTC().Format(time.RFC3339Nano)
		line := `{"op":"started","blueprint":"BP001","digest":"` + digest + `","time":"` + now + `"}` + "\n"
		if err := os.WriteFile(path, []byte(strings.Repeat(line, 3)), 0o600); err != nil {
			t.Fatal(err)
		}
		b := restarted(t, compilable()[:2], path, library, nil)
		if err := b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, "parked", jobIDs(b.Result().Parked), "BP001")
		wantIDs(t, "compiled", jobIDs(b.Result().Compiled), "BP002")
		if err := b.Result().Parked[0].Err; !strings.Contains(err.Error(), "ended 3 times while it was compiled") {
			t.Error(err)
		}
		time.Sleep(10 * time.Minute)
		if err := b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, "compiled", jobIDs(b.Result().Compiled), "BP001")
	})
}

func TestOnlyWhatChangedIsCompiledAgain(t *testing.T) {
	for _, look := range []bool{true, false} {
		path, library := journalPath(t), newLibrary()
		pass := func(features int) *bench {
			b := restarted(t, compilable()[:3], path, library, func(c *forge.Config) {
				c.Compiler = approvedCompiler(features)
				if !look {
					c.Stored = nil
				}
			})
			if err := b.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			return b
		}
		pass(32)
		if again := pass(32).Result(); len(again.Present) != 3 {
			t.Errorf("look %t, same slot: %+v", look, again)
		}
		wider := pass(64)
		wantIDs(t, "compiled for the wider slot", jobIDs(wider.Result().Compiled), "BP001", "BP002", "BP003")
		wantIDs(t, "announced", wider.announcedIDs(), "BP001", "BP002", "BP003")
	}
}

func TestKernelOfAnotherMakerIsNotReplaced(t *testing.T) {
	library := newLibrary()
	library.saved = []string{"BP001"} // no extras: imported, or the prototype's
	b := restarted(t, compilable()[:2], journalPath(t), library, nil)
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "present", jobIDs(b.Result().Present), "BP001")
	wantIDs(t, "compiled", jobIDs(b.Result().Compiled), "BP002")
}

func TestJournalDoesNotGrowForEver(t *testing.T) {
	path, library := journalPath(t), newLibrary()
	for round := range 60 {
		b := restarted(t, compilable()[:12], path, library, func(c *forge.Config) {
			c.Compiler = approvedCompiler(4 + 4*(round%2))
		})
		if err := b.Run(t.Context()); err != nil || len(b.Result().Compiled) != 12 {
			t.Fatalf("round %d: %v, %+v", round, err, b.Result())
		}
	}
	journal, err := os.ReadFile(path)
	if lines := strings.Count(string(journal), "\n"); err != nil || lines > 1100 {
		t.Errorf("%v, %d lines after 60 rounds", err, lines)
	}
}

// What is written to a journal that was removed is gone with the process: the pass is to be
// run again.
func TestPassWhoseJournalIsGoneIsRunAgain(t *testing.T) {
	for _, lost := range []string{"", ".lock"} {
		path, library := journalPath(t), newLibrary()
		b := restarted(t, compilable()[:2], path, library, func(c *forge.Config) { c.Parallel = 1 })
		var during error
		b.compiler.script["BP001"] = func(context.Context) error {
			err := os.Rename(path+lost, path+lost+".away")
			during = b.InPlace()
			return err
		}
		if err := b.Run(t.Context()); !errors.Is(err, regularfile.ErrReplaced) || !errors.Is(during, regularfile.ErrReplaced) {
			t.Errorf("without the journal%s: %v, the forge says %v", lost, err, during)
		}
		delete(b.compiler.script, "BP001")
		if err := errors.Join(b.InPlace(), b.Run(t.Context())); err != nil {
			t.Error(err)
		}
		wantIDs(t, "announced", slices.Sorted(slices.Values(b.announcedIDs())), "BP001", "BP002")
	}
}
