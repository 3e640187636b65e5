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

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
)

var errPoison = errors.New("poison")

func TestOnePoisonBlueprintDoesNotBlockTheOthers(t *testing.T) {
	b := newBench(t, compilable(), nil)
	b.compiler.script["BP001"] = always(errPoison)
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "failed", jobIDs(b.Result().Failed), "BP001")
	wantIDs(t, "saved", b.library.ids(), blueprintIDs(compilable())[1:]...)
	if err := b.Result().Failed[0].Err; !errors.Is(err, errPoison) {
		t.Errorf("failed with %v", err)
	}
	if metrics := b.Stats(); metrics.Attempts.Failed != 2 || metrics.Jobs.Failed != 1 {
		t.Errorf("metrics: %v", metrics)
	}
}

func TestASecondAttemptMendsAPassingFailure(t *testing.T) {
	b := newBench(t, compilable()[:2], nil)
	attempts := 0
	b.compiler.script["BP001"] = func(context.Context) error {
		if attempts++; attempts == 1 {
			return errPoison
		}
		return nil
	}
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "saved", b.library.ids(), "BP001", "BP002")
	if metrics := b.Stats(); metrics.Jobs.Retried != 1 || metrics.Jobs.Failed != 0 ||
		metrics.Attempts.Failed != 1 || metrics.Attempts.Ended != 3 {
		t.Errorf("metrics: %v", metrics)
	}
}

func TestTimedOutCompileEndsAtItsTimeAndStoresNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, compilable()[:2], func(c *forge.Config) {
			c.JobTimeout, c.Attempts, c.Parallel = time.Second, 1, 1
		})
		// It comes to an end only because its time is over, and then claims success.
		b.compiler.script["BP001"] = func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		}
		start := time.Now()
		if err := b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("a limit of 1 s took %v", took)
		}
		wantIDs(t, "saved", b.library.ids(), "BP002")
		wantReason(t, b.Packet(), "timeout")
	})
}

// A compiler that has the artifact ready just after its time must not have it
// stored: the job was given up.
func TestLateArtifactIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, compilable()[:1], func(c *forge.Config) {
			c.JobTimeout, c.Attempts = time.Second, 1
			c.Compiler = lateCompiler{approvedCompiler(32)}
		})
		start := time.Now()
		if err := b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took >= 2*time.Second {
			t.Errorf("a limit of 1 s took %v, as long as the compilation", took)
		}
		if running := b.Stats().Running; running != 1 {
			t.Errorf("%v compilations run", running)
		}
		b.Wait()
		wantIDs(t, "saved", b.library.ids())
		wantIDs(t, "failed", jobIDs(b.Result().Failed), "BP001")
	})
}

// lateCompiler ignores its context for two seconds.
type lateCompiler struct{ forge.Compiler }

func (l lateCompiler) Compile(_ context.Context, d *leyline.BlueprintDescriptor, conservative bool) (*forge.Kernel, error) {
	time.Sleep(2 * time.Second)
	return l.Compiler.Compile(context.Background(), d, conservative)
}

func TestPanicInACompilationIsAFailureOfThatBlueprint(t *testing.T) {
	b := newBench(t, compilable()[:3], nil)
	b.compiler.script["BP002"] = func(context.Context) error { panic("index out of range") }
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "saved", b.library.ids(), "BP001", "BP003")
	if err := b.Result().Failed[0].Err; !strings.Contains(err.Error(), "index out of range") {
		t.Errorf("failed with %v", err)
	}
	wantReason(t, b.Packet(), "panic")
}

func wantReason(t *testing.T, packet *leyline.TelemetryPacket, reason string) {
	t.Helper()
	for _, e := range packet.GetEvents() {
		if e.GetDescription() == "tezzeret.compile_failed" {
			if e.GetAttributes()["reason"] != reason || e.GetLevel() != leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING {
				t.Errorf("event: %v", e)
			}
			return
		}
	}
	t.Error("no compile_failed event")
}

func TestCircuitOpensAfterFailuresInARowAndClosesAfterATrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, compilable(), func(c *forge.Config) { c.OpenFor, c.Parallel = 10*time.Second, 1 })
		for _, id := range []string{"BP001", "BP002", "BP003"} {
			b.compiler.script[id] = always(errPoison)
		}
		if err := b.Run(t.Context()); !errors.Is(err, forge.ErrCircuitOpen) {
			t.Fatalf("got %v", err)
		}
		wantState(t, b, leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN, true)
		wantIDs(t, "failed", jobIDs(b.Result().Failed), "BP001", "BP002", "BP003")
		wantIDs(t, "skipped", jobIDs(b.Result().Skipped), blueprintIDs(compilable())[3:]...)

		time.Sleep(11 * time.Second)
		wantState(t, b, leyline.CircuitBreakerState_CIRCUIT_STATE_HALF_OPEN, true)
		clear(b.compiler.script)
		if err := b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantState(t, b, leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED, false)
		// What failed before has its turn after what has not been tried.
		wantIDs(t, "saved", b.library.ids(), append(blueprintIDs(compilable())[3:], "BP001", "BP002", "BP003")...)
	})
}

func wantState(t *testing.T, b *bench, state leyline.CircuitBreakerState, conservative bool) {
	t.Helper()
	metrics := b.Stats()
	if metrics.Circuit != state {
		t.Errorf("breaker gauge %v, want %v", metrics.Circuit, state)
	}
	if metrics.Conservative != conservative {
		t.Errorf("conservative gauge %v, want %v", metrics.Conservative, conservative)
	}
}

func TestPoisonThatKeepsTheCircuitOpenDoesNotStarveTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, compilable(), func(c *forge.Config) { c.Failures, c.Parallel = 1, 1 })
		for _, id := range []string{"BP001", "BP002", "BP003", "BP004"} {
			b.compiler.script[id] = always(errPoison)
		}
		for range 10 {
			if err := b.Run(t.Context()); err == nil {
				break
			}
			time.Sleep(2 * time.Minute)
		}
		wantIDs(t, "saved", b.library.ids(), blueprintIDs(compilable())[4:]...)
	})
}

func TestOneLuckySuccessDoesNotEndConservativeMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, compilable(), func(c *forge.Config) { c.Failures, c.Recovery = 1, 3 })
		b.compiler.script["BP001"] = always(errPoison)
		if err := b.Run(t.Context()); !errors.Is(err, forge.ErrCircuitOpen) {
			t.Fatalf("got %v", err)
		}
		time.Sleep(2 * time.Minute)
		clear(b.compiler.script)
		before := len(b.compiler.calls)
		if err := b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		var conservative []string
		for _, call := range b.compiler.calls[before:] {
			if id, found := strings.CutSuffix(call, " conservative"); found {
				conservative = append(conservative, id)
			}
		}
		slices.Sort(conservative)
		if len(conservative) != 3 {
			t.Errorf("compiled conservatively: %v, want three before the mode ends", conservative)
		}
		wantState(t, b, leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED, false)
		if strategy := b.library.extras[conservative[0]]["compile_strategy"]; strategy != "conservative" {
			t.Errorf("recorded strategy %v", strategy)
		}
	})
}

func TestJournalThatCannotBeOpenedFailsThePass(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := restarted(t, compilable()[:1], filepath.Join(file, "journal"), newLibrary(), nil)
	if err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "forge journal") {
		t.Errorf("got %v", err)
	}
}
