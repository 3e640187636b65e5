package selection

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/urza"
)

// open selects from the catalogue for a library without kernels.
func open(t *testing.T) (*Selection, *urza.Library) {
	t.Helper()
	folder := t.TempDir()
	library, err := urza.Open(t.Context(), urza.Config{
		DatabaseURL: "sqlite:///" + filepath.Join(folder, "catalog.db"), ArtifactDir: filepath.Join(folder, "artifacts"),
	})
	if err != nil {
		t.Fatal(err)
	}
	catalog, compiler := karn.NewCatalog(), tezzeret.NewCompiler(tezzeret.Config{})
	selection := New(Config{
		Catalog: catalog, Compiler: compiler, Library: library,
		OwnSlot: []int{32}, Offer: func(*leyline.TelemetryPacket) {},
	})
	t.Cleanup(func() {
		selection.Close()
		if err := library.Close(); err != nil {
			t.Error(err)
		}
	})
	return selection, library
}

func TestNobodyWaitsLongerThanItsStepForAList(t *testing.T) {
	selection, _ := open(t)
	step, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-step.Done()
	if _, err := selection.Candidates(step, "run", []int{16}); !errors.Is(err, errUnderWay) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("out of time: %v", err)
	}
	// It is made meanwhile, and stands in for a later one.
	for _, ctx := range []context.Context{t.Context(), step} {
		if candidates, err := selection.Candidates(ctx, "run", []int{16}); err != nil || len(candidates) == 0 {
			t.Errorf("%d candidates, %v", len(candidates), err)
		}
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := selection.Candidates(gone, "run", []int{17}); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if candidates, err := selection.Candidates(t.Context(), "run", []int{1, 2, 3, 4, 5}); err != nil || len(candidates) > 0 {
		t.Errorf("no slot: %v, %v", candidates, err)
	}
}

func TestCandidatesCarryTheirEvidence(t *testing.T) {
	selection, library := open(t)
	store := library.Evidence()
	judged := &leyline.BSDS{BlueprintId: "BP009", RiskScore: 0.6}
	ended := &leyline.FieldReport{
		ReportId: "r", BlueprintId: "BP009", Outcome: leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS,
		Metrics: map[string]float32{"loss_delta": -1, "validation_loss": 1},
	}
	if err := errors.Join(store.Judge(t.Context(), judged, time.Now()), store.Ended(t.Context(), ended)); err != nil {
		t.Fatal(err)
	}
	selection.Prepare("run", [][]int{{32}})
	candidates, err := selection.Candidates(t.Context(), "run", []int{32})
	if err != nil {
		t.Fatal(err)
	}
	of := func(id string) tamiyo.Candidate {
		i := slices.IndexFunc(candidates, func(c tamiyo.Candidate) bool { return c.BlueprintID == id })
		if i < 0 {
			t.Fatalf("%s is no candidate", id)
		}
		return candidates[i]
	}
	residual, spatial := of("BP009"), of("BP018")
	want := tamiyo.Earned{Tried: 1, Kept: 1, Gain: 0.5}
	if residual.Name != "residual_block" || residual.BSDS.GetRiskScore() != 0.6 || residual.Earned != want || residual.Misfit || residual.MultiplyAdds != 6144 {
		t.Errorf("BP009: %+v", residual)
	}
	if spatial.BSDS != nil || spatial.Earned != (tamiyo.Earned{}) || !spatial.Misfit {
		t.Errorf("BP018: %+v", spatial)
	}
	for id, there := range map[string]bool{"BP009": true, "BP045": true, "nobody": false} {
		if _, known, err := selection.Blueprint(t.Context(), id); known != there || err != nil {
			t.Errorf("%s is known: %v, %v", id, known, err)
		}
	}
}

// A list may be a minute old when a blueprint of it is chosen.
func TestWhatWasJudgedMeanwhileIsNotBegun(t *testing.T) {
	selection, library := open(t)
	for name, sheet := range map[string]*leyline.BSDS{
		"quarantined": {HandlingClass: leyline.HandlingClass_HANDLING_CLASS_QUARANTINE},
		"hazardous":   {HazardBand: leyline.HazardBand_HAZARD_BAND_CRITICAL},
		"risky":       {RiskScore: 0.9},
	} {
		if err := selection.Permit(t.Context(), "BP009"); err != nil {
			t.Fatalf("before: %v", err)
		}
		sheet.BlueprintId = "BP009"
		if err := library.Evidence().Judge(t.Context(), sheet, time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := selection.Permit(t.Context(), "BP009"); err == nil {
			t.Errorf("%s: it is begun", name)
		}
		if err := selection.Permit(t.Context(), "BP010"); err != nil {
			t.Errorf("%s: another is not: %v", name, err)
		}
		if err := library.Evidence().Judge(t.Context(), &leyline.BSDS{BlueprintId: "BP009"}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}
