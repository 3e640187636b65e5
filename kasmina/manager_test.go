package kasmina

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/supervise/supervisetest"
)

func TestCallersWaitForTheManagerOnlyAsLongAsTheyLike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		manager, err := NewManager(Config{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		calls := map[string]func() error{
			"command": func() error { return manager.HandleCommand(ctx, nil) },
			"ready":   func() error { return manager.HandleReady(ctx, nil) },
			"error":   func() error { return manager.HandleError(ctx, nil) },
			"host":    func() error { return manager.RegisterHost(ctx, NewGraft(nil, 1)) },
			"observe": func() error { return manager.Observe(ctx, 1, "s", nil) },
			"step":    func() error { return manager.Finalize(ctx, 1) },
		}
		for name, call := range calls {
			if err := call(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(manager.SeedStates()) != 0 || manager.Metrics()["kasmina.seeds.active"] != 0 {
			t.Error("readers see nothing before Run")
		}
	})
}

func TestManagerStartsAndStopsUnderStress(t *testing.T) {
	t.Parallel()
	supervisetest.Stress(t, func() supervise.Worker {
		manager, err := NewManager(Config{LedgerPath: filepath.Join(t.TempDir(), "nonces")})
		if err != nil {
			t.Fatal(err)
		}
		return manager
	})
}

func TestManagerRunsOnceAtATime(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		if err := w.manager.Run(w.ctx); !errors.Is(err, ErrRunning) {
			t.Errorf("got %v", err)
		}
	})
}

func TestSeedsOutliveARestartOfTheWorker(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nonces")
	inWorld(t, func(c *Config) { c.LedgerPath = path }, func(w *world) {
		w.plant("s")
		w.do(opGerminate, "waiting")
		late := w.ready(w.lastRequest())
		w.stop()
		w.start()
		w.answer(late)
		w.wantStage("s", stageTraining)
		w.wantStage("waiting", stageTraining)
		w.do(opCull, "s")
		w.wantStage("s", stageEmbargoed)
	})
}

func TestUnusableLedgerIsToldAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "nonces")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := NewManager(Config{LedgerPath: path}); err == nil {
		t.Error("a folder was taken for a ledger")
	}
}

func TestCommandWhoseNonceCannotBeRecordedIsWorthARetry(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "state", "nonces")
		w := newWorld(t, func(c *Config) { c.LedgerPath = path })
		if err := os.RemoveAll(filepath.Dir(path)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil { // a file where the folder was
			t.Fatal(err)
		}
		command := w.command(opGerminate, "s")
		err := w.manager.HandleCommand(w.ctx, command)
		var rejected *RejectedError
		if err == nil || errors.As(err, &rejected) {
			t.Fatalf("got %v", err)
		}
		w.wantStage("s", stageUnknown)
		if err := os.Remove(filepath.Dir(path)); err != nil {
			t.Fatal(err)
		}
		if err := w.manager.HandleCommand(w.ctx, command); err != nil {
			t.Errorf("the retry: %v", err)
		}
		settle()
	})
}

// slowHost is asked about its seeds for each snapshot, and takes its time.
type slowHost struct{ *Graft }

func (h slowHost) Schedule() AlphaSchedule {
	time.Sleep(time.Second)
	return h.Graft.Schedule()
}

// Whoever has been told a result finds it in what readers see.
func TestResultIsNotToldBeforeReadersSeeIt(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		if err := w.manager.RegisterHost(w.ctx, slowHost{w.graft}); err != nil {
			t.Fatal(err)
		}
		if err := w.manager.HandleCommand(w.ctx, w.command(opGerminate, "s")); err != nil {
			t.Fatal(err)
		}
		if states := w.manager.SeedStates(); len(states) != 1 || states[0].GetStage() != stageGerminated {
			t.Errorf("after the command readers see %v", states)
		}
		settle() // the request is published in a task of its own
		refusal := &leyline.KernelArtifactError{RequestId: w.lastRequest().GetRequestId(), BlueprintId: "BP001"}
		if err := w.manager.HandleError(w.ctx, refusal); err != nil {
			t.Fatal(err)
		}
		if states := w.manager.SeedStates(); len(states) != 1 || states[0].GetStage() != stageEmbargoed {
			t.Errorf("after the refusal readers see %v", states)
		}
	})
}

// Everything at once, for the race detector.
func TestManagerServesEveryoneAtOnce(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("a")
		w.plant("b")
		ready := w.ready(w.lastRequest())
		var everyone sync.WaitGroup
		for worker := range 4 {
			everyone.Go(func() {
				for epoch := range uint32(30) {
					_ = w.graft.Observe(w.ctx, epoch, "a", goodEvidence())
					w.graft.AdvanceAlpha("b")
					_ = w.manager.HandleReady(w.ctx, ready)
					_ = w.manager.Finalize(w.ctx, int64(worker))
					w.manager.SeedStates()
					w.manager.Metrics()
					w.manager.Health()
					w.manager.BlendingSeeds()
					w.graft.Seeds()
				}
			})
		}
		everyone.Wait()
	})
}

func TestHostThatIsNoneIsRefused(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		if err := w.manager.RegisterHost(w.ctx, nil); err == nil {
			t.Error("no host was registered")
		}
		w.plant("s")
		if err := w.manager.RegisterHost(w.ctx, w.graft); err != nil {
			t.Error(err)
		}
		w.wantStage("s", stageTraining) // the same host again changes nothing
	})
}

func TestGerminationWithoutAHostFailsItsGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		if err := w.manager.ask(w.ctx, hostRequest{nil}); err != nil {
			t.Fatal(err)
		}
		w.plant("s")
		w.wantStage("s", stageEmbargoed)
		if told := events(w.emitted(), "gate_failure"); told[0].GetAttributes()["reason"] != "host model not registered" {
			t.Errorf("events %v", told)
		}
	})
}
