package forge_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
)

func TestForgeCompilesStoresAndAnnouncesInCatalogueOrder(t *testing.T) {
	blueprints := compilable()
	b := newBench(t, blueprints, nil)
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := blueprintIDs(blueprints)
	wantIDs(t, "saved", b.library.ids(), want...)
	wantIDs(t, "announced", b.announcedIDs(), want...)
	wantIDs(t, "result", jobIDs(b.Result().Compiled), want...)
	for i, u := range b.announced {
		job := b.Result().Compiled[i]
		if u.GetArtifactRef() != "/library/"+u.GetChecksum() || job.ArtifactRef != u.GetArtifactRef() ||
			job.Checksum != u.GetChecksum() || u.GetGuardDigest() == "" {
			t.Errorf("announced %v, result %+v", u, job)
		}
	}
	if extras := b.library.extras["BP002"]; extras["compile_strategy"] != "standard" || extras["graph_metadata"] == nil {
		t.Errorf("extras: %v", extras)
	}
}

func TestASecondPassCompilesOnlyWhatIsMissing(t *testing.T) {
	b := newBench(t, compilable(), nil)
	b.library.saved = []string{"BP001", "BP005"}
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "present", jobIDs(b.Result().Present), "BP001", "BP005")
	compiled := len(b.compiler.calls)
	if compiled != len(compilable())-2 {
		t.Errorf("%d compilations", compiled)
	}
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := len(b.compiler.calls) - compiled; again != 0 || len(b.Result().Present) != len(compilable()) {
		t.Errorf("second pass compiled %d", again)
	}
}

func TestRefusedBlueprintIsNotReplacedByAnotherNetwork(t *testing.T) {
	blueprints := []*leyline.BlueprintDescriptor{
		blueprint("BP048", "deadlock_pattern"),
		find(t, "relu_activation"),
		{BlueprintId: "BP051", Name: "nan_injection", QuarantineOnly: true},
	}
	b := newBench(t, blueprints, nil)
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "saved", b.library.ids(), "BP005")
	wantIDs(t, "refused", jobIDs(b.Result().Refused), "BP048", "BP051")
	for _, job := range b.Result().Refused {
		var refused *tezzeret.NotCompilableError
		if !errors.As(job.Err, &refused) || refused.Name != job.Name {
			t.Errorf("refused %+v", job)
		}
	}
}

func TestProgressTellsEachStep(t *testing.T) {
	blueprints := []*leyline.BlueprintDescriptor{
		find(t, "identity_passthrough"), blueprint("BP048", "deadlock_pattern"),
		find(t, "relu_activation"), find(t, "gelu_activation"),
	}
	b := newBench(t, blueprints, func(c *forge.Config) { c.Parallel, c.Attempts = 1, 1 })
	b.library.saved = []string{"BP001"}
	b.compiler.script["BP011"] = always(errors.New("no luck"))
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	type entry struct {
		ID           string
		State        forge.State
		Index, Total int
		Failed       bool
	}
	var got []entry
	for _, p := range b.progress {
		got = append(got, entry{p.BlueprintID, p.State, p.Index, p.Total, p.Err != nil})
	}
	want := []entry{
		{"BP001", forge.StatePresent, 1, 4, false},
		{"BP048", forge.StateRefused, 2, 4, true},
		{"BP005", forge.StateCompiling, 3, 4, false},
		{"BP005", forge.StateCompiled, 3, 4, false},
		{"BP011", forge.StateCompiling, 4, 4, false},
		{"BP011", forge.StateFailed, 4, 4, true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestForgeStopsBetweenJobs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := newBench(t, compilable(), func(c *forge.Config) {
		c.Parallel = 1
		report := c.Progress
		c.Progress = func(p forge.Progress) {
			report(p)
			if p.BlueprintID == "BP003" && p.State == forge.StateCompiled {
				cancel()
			}
		}
	})
	if err := b.Run(ctx); err != nil {
		t.Errorf("a pass that was asked to stop failed: %v", err)
	}
	wantIDs(t, "saved", b.library.ids(), "BP001", "BP002", "BP003")
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(b.library.ids()); got != len(compilable()) {
		t.Errorf("the next pass brought the library to %d kernels", got)
	}
}

// The stop arrives while a kernel is compiled: it is stored and announced, or
// neither.
func TestStoppedForgeLeavesNoKernelUnannounced(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := newBench(t, compilable(), nil)
	b.compiler.script["BP004"] = func(context.Context) error { cancel(); return nil }
	if err := b.Run(ctx); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "announced", b.announcedIDs(), b.library.ids()...)
	if metrics := b.Stats(); metrics.Jobs.Failed != 0 || metrics.Circuit != 1 {
		t.Errorf("a stop counts as a failure: %v", metrics)
	}
}

func TestLibraryThatCannotBeReachedFailsThePass(t *testing.T) {
	away := errors.New("database away")
	b := newBench(t, compilable(), nil)
	b.library.failHas = away
	if err := b.Run(t.Context()); !errors.Is(err, away) {
		t.Errorf("look-up: got %v", err)
	}
	b.library.failHas, b.library.failFor["BP003"] = nil, away
	if err := b.Run(t.Context()); !errors.Is(err, away) {
		t.Errorf("save: got %v", err)
	}
	wantIDs(t, "saved", b.library.ids(), "BP001", "BP002")
	delete(b.library.failFor, "BP003")
	if err := b.Run(t.Context()); err != nil {
		t.Error(err)
	}
	wantIDs(t, "announced", b.announcedIDs(), blueprintIDs(compilable())...)
}

func TestKernelStoredWhileTheBusWasAwayIsAnnouncedLater(t *testing.T) {
	b := newBench(t, compilable()[:4], nil)
	b.busError = errors.New("redis away")
	if err := b.Run(t.Context()); err == nil {
		t.Error("the pass is over although four kernels are unannounced")
	}
	wantIDs(t, "saved", b.library.ids(), "BP001", "BP002", "BP003", "BP004")
	b.busError = nil
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "announced", b.announcedIDs(), "BP001", "BP002", "BP003", "BP004")
}

func TestTwoPassesAtOnceAreRefused(t *testing.T) {
	b := newBench(t, compilable()[:1], nil)
	b.compiler.script["BP001"] = func(ctx context.Context) error {
		if err := b.Run(ctx); !errors.Is(err, forge.ErrBusy) {
			t.Errorf("got %v", err)
		}
		return nil
	}
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
