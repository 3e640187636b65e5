package urza

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
)

func sheet(id string, risk float32, at int64) *leyline.BSDS {
	return &leyline.BSDS{
		Version: 1, BlueprintId: id, RiskScore: risk, HazardBand: leyline.HazardBand_HAZARD_BAND_HIGH,
		HandlingClass:   leyline.HandlingClass_HANDLING_CLASS_RESTRICTED,
		ResourceProfile: leyline.ResourceProfile_RESOURCE_PROFILE_MIXED,
		Provenance:      leyline.Provenance_PROVENANCE_URABRASK, IssuedAt: timestamppb.New(time.Unix(at, 0)),
	}
}

func known(t *testing.T, library *Library, id string) Evidence {
	t.Helper()
	evidence, err := library.Evidence().Of(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return evidence
}

func TestScenario127_JudgementsAreKeptWithTheirBlueprint(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		cfg := config(t.TempDir())
		library, other := openTest(t, cfg), openTest(t, cfg)
		if got := known(t, library, "BP001"); got.BSDS != nil || got.Failed != nil {
			t.Fatalf("before anything was told: %+v", got)
		}
		now := time.Unix(1_800_000_100, 0)
		newer := sheet("BP001", 0.7, 1_800_000_000)
		for _, judged := range []*leyline.BSDS{newer, sheet("BP001", 0.1, 1_700_000_000)} {
			if err := library.Evidence().Judge(t.Context(), judged, now); err != nil {
				t.Fatal(err)
			}
		}
		save(t, library, "BP001", "kernel") // which leaves it alone
		for name, of := range map[string]*Library{"here": library, "in another process": other} {
			if diff := cmp.Diff(newer, known(t, of, "BP001").BSDS, protocmp.Transform()); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		undated := sheet("BP002", 0.3, 0)
		undated.IssuedAt = nil
		if err := library.Evidence().Judge(t.Context(), undated, now); err != nil {
			t.Fatal(err)
		}
		if got := known(t, library, "BP002").BSDS.GetIssuedAt().AsTime(); !got.Equal(now) {
			t.Errorf("what has no time of its own is dated %v", got)
		}
	})
}

func TestAFailedJudgementLeavesTheLastOne(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	store := library.Evidence()
	judged := sheet("BP001", 0.7, 1_800_000_000)
	if err := store.Judge(t.Context(), judged, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		at   int64
		told bool
	}{{1_700_000_000, false}, {1_800_000_001, true}} {
		if err := store.JudgementFailed(t.Context(), "BP001", "timeout", time.Unix(row.at, 0)); err != nil {
			t.Fatal(err)
		}
		got := known(t, library, "BP001")
		if (got.Failed != nil) != row.told || got.BSDS.GetRiskScore() != 0.7 {
			t.Errorf("failed at %d: %+v", row.at, got)
		}
	}
}

func TestWhatIsNoEvidenceIsRefused(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	store := library.Evidence()
	profile := func(p50 float32) *leyline.BlueprintBenchmark {
		return &leyline.BlueprintBenchmark{BlueprintId: "BP001", Profiles: []*leyline.BlueprintBenchmarkProfile{{P50LatencyMs: p50}}}
	}
	wide := &leyline.BlueprintBenchmark{BlueprintId: "BP001"}
	for range maxProfiles + 1 {
		wide.Profiles = append(wide.Profiles, &leyline.BlueprintBenchmarkProfile{})
	}
	for name, err := range map[string]error{
		"no judgement":   store.Judge(t.Context(), nil, time.Now()),
		"no blueprint":   store.Judge(t.Context(), sheet("", 0.5, 1), time.Now()),
		"a long name":    store.Judge(t.Context(), sheet(strings.Repeat("B", 129), 0.5, 1), time.Now()),
		"a zero byte":    store.Judge(t.Context(), sheet("B\x00", 0.5, 1), time.Now()),
		"risk NaN":       store.Judge(t.Context(), sheet("BP001", float32(math.NaN()), 1), time.Now()),
		"risk 2":         store.Judge(t.Context(), sheet("BP001", 2, 1), time.Now()),
		"risk -1":        store.Judge(t.Context(), sheet("BP001", -1, 1), time.Now()),
		"latency NaN":    store.Measured(t.Context(), profile(float32(math.NaN()))),
		"latency Inf":    store.Measured(t.Context(), profile(float32(math.Inf(1)))),
		"latency -1":     store.Measured(t.Context(), profile(-1)),
		"65 profiles":    store.Measured(t.Context(), wide),
		"failed nothing": store.JudgementFailed(t.Context(), "", "timeout", time.Now()),
	} {
		if !errors.Is(err, ErrEvidence) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBenchmarksAreKeptByDevice(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	store := library.Evidence()
	measure := func(device string, p50 float32) error {
		return store.Measured(t.Context(), &leyline.BlueprintBenchmark{
			BlueprintId: "BP001", Device: device,
			Profiles: []*leyline.BlueprintBenchmarkProfile{{Name: "batch_1", P50LatencyMs: p50}},
		})
	}
	for i := range maxDevices {
		if err := measure(fmt.Sprint("gpu ", i), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := measure("one more", 1); !errors.Is(err, ErrEvidence) {
		t.Errorf("one device too many: %v", err)
	}
	if err := measure("GPU 3", 2); err != nil {
		t.Fatal(err)
	}
	got := known(t, library, "BP001").Benchmarks
	if len(got) != maxDevices {
		t.Fatalf("%d benchmarks", len(got))
	}
	for _, benchmark := range got {
		if again := benchmark.GetDevice() == "GPU 3"; again != (benchmark.GetProfiles()[0].GetP50LatencyMs() == 2) {
			t.Errorf("%v", benchmark)
		}
	}
}

func TestOutcomesCountOnce(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		library := openTest(t, config(t.TempDir()))
		const (
			success    = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS
			regression = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION
			neutral    = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL
			aborted    = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_ABORTED
		)
		measured := map[string]float32{"loss_delta": -0.25, "validation_loss": 0.75}
		reports := []*leyline.FieldReport{
			{ReportId: "kept", BlueprintId: "BP001", Outcome: success, Metrics: measured},
			{ReportId: "kept, not measured", CommandId: "c", BlueprintId: "BP001", Outcome: success},
			{ReportId: "kept, the loss not told", CommandId: "c", BlueprintId: "BP003", Outcome: success, Metrics: map[string]float32{"loss_delta": -0.25}},
			{ReportId: "kept, the fall not told", CommandId: "c", BlueprintId: "BP003", Outcome: success, Metrics: map[string]float32{"validation_loss": 0.5}},
			{ReportId: "kept, and nothing was left", BlueprintId: "BP004", Outcome: success, Metrics: map[string]float32{"loss_delta": -0.25, "validation_loss": 0}},
			{ReportId: "worse", BlueprintId: "BP001", Outcome: regression},
			{ReportId: "no use", BlueprintId: "BP001", Outcome: neutral, Metrics: measured},
			{ReportId: "restarted", BlueprintId: "BP001", Outcome: neutral},
			{ReportId: "never came", BlueprintId: "BP001", Outcome: aborted, Metrics: measured},
			{ReportId: "observed", BlueprintId: "BP001", Outcome: success, Metrics: map[string]float32{"loss_delta_total": -1}},
			{ReportId: "of nothing", Outcome: success, Metrics: measured},
		}
		var group sync.WaitGroup
		for range 3 {
			for _, report := range reports {
				group.Go(func() {
					if err := library.Evidence().Ended(t.Context(), report); err != nil {
						t.Error(err)
					}
				})
			}
		}
		group.Wait()
		if got := known(t, library, "BP003").Outcomes; got.Kept != 2 || got.Gain != 0 {
			t.Errorf("outcomes of which nobody told the gain: %+v", got)
		}
		if got := known(t, library, "BP004").Outcomes; got.Kept != 1 || got.Gain != 1 {
			t.Errorf("outcomes of one that left no loss: %+v", got)
		}
		got := known(t, library, "BP001").Outcomes
		if got.Tried != 4 || got.Kept != 2 || math.Abs(got.MeanGain()-0.25) > 1e-9 {
			t.Errorf("outcomes %+v", got)
		}
	})
}

// Whoever lost the record of a run reports its seeds again, under other names of reports.
func TestSeedCountsOnceWhoeverReportsIt(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		library := openTest(t, config(t.TempDir()))
		count := func(id, command, run, seed string, metrics map[string]float32) {
			t.Helper()
			if err := library.Evidence().Ended(t.Context(), &leyline.FieldReport{
				ReportId: id, CommandId: command, TrainingRunId: run, SeedId: seed, BlueprintId: "BP002",
				Outcome: leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS, Metrics: metrics,
			}); err != nil {
				t.Fatal(err)
			}
		}
		told := map[string]float32{"loss_delta": -0.1, "validation_loss": 0.9}
		count("a", "c1", "run-1", "s1", told)
		count("b", "c1", "run-1", "s1", told)
		count("c", "", "run-1", "s1", map[string]float32{"validation_loss": 0.9})
		count("d", "", "run-1", "forgotten", map[string]float32{"validation_loss": 0.9})
		count("e", "c2", "run-2", "s1", told)
		count("f", "c3", "run-1", "s2", nil)
		got := known(t, library, "BP002").Outcomes
		if got.Tried != 3 || got.Kept != 3 || got.Untold != 1 || math.Abs(got.MeanGain()-0.1) > 1e-6 {
			t.Errorf("outcomes %+v, mean gain %v", got, got.MeanGain())
		}
	})
}

// What an earlier release counted has the names of its reports.
func TestReportThatAnEarlierReleaseCountedCountsOnce(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	store := library.Evidence()
	report := &leyline.FieldReport{
		ReportId: "a", CommandId: "c", TrainingRunId: "run-1", SeedId: "s1", BlueprintId: "BP001",
		Outcome: leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION,
	}
	err := store.amend(t.Context(), "test", "BP001", noteOutcomes, "", func(string) (string, error) {
		return `{"tried":2,"kept":1,"gain":0.5,"known":["a","b"]}`, nil
	})
	if err := errors.Join(err, store.Ended(t.Context(), report)); err != nil {
		t.Fatal(err)
	}
	if got := known(t, library, "BP001").Outcomes; got.Tried != 2 || got.MeanGain() != 0.5 {
		t.Errorf("outcomes %+v", got)
	}
}

func TestSheetOfThePrototypeIsRead(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	for id, sheet := range map[string]any{
		"BP001": map[string]any{
			"risk_score": 0.7, "hazard_band": "CRITICAL", "handling_class": "quarantine", "resource_profile": "mixed",
			"provenance": "HEURISTIC", "issued_at": "2025-01-01T00:00:00Z",
		},
		"BP002": `{"hazard_band":"LOW"}`, "BP003": "no JSON", "BP004": []any{1},
	} {
		if _, err := library.Save(t.Context(), descriptor(id), []byte("kernel "+id), nil, map[string]any{"bsds": sheet}); err != nil {
			t.Fatal(err)
		}
	}
	want := sheet("BP001", 0.7, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
	want.Version, want.HazardBand = 0, leyline.HazardBand_HAZARD_BAND_CRITICAL
	want.HandlingClass, want.Provenance = leyline.HandlingClass_HANDLING_CLASS_QUARANTINE, leyline.Provenance_PROVENANCE_HEURISTIC
	if diff := cmp.Diff(want, known(t, library, "BP001").BSDS, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if got := known(t, library, "BP002").BSDS; got.GetHazardBand() != leyline.HazardBand_HAZARD_BAND_LOW || got.GetRiskScore() != 0 {
		t.Errorf("a sheet as text: %v", got)
	}
	for _, id := range []string{"BP003", "BP004"} {
		if got := known(t, library, id).BSDS; got != nil {
			t.Errorf("%s: %v", id, got)
		}
	}
	if err := library.Evidence().Judge(t.Context(), sheet("BP001", 0.2, 1_800_000_000), time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := known(t, library, "BP001").BSDS.GetRiskScore(); got != 0.2 {
		t.Errorf("a later judgement does not hold: risk %v", got)
	}
}

func TestASheetThatCannotBeAskedForIsNotNone(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		cfg := testConfig(t.TempDir())
		written := openTest(t, cfg)
		extras := map[string]any{"bsds": map[string]any{"hazard_band": "CRITICAL"}}
		if _, err := written.Save(t.Context(), descriptor("BP001"), []byte("kernel"), nil, extras); err != nil {
			t.Fatal(err)
		}
		library := openTest(t, cfg)
		known(t, library, "BP002") // what is kept of blueprints was read
		if err := library.catalogue.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := library.Evidence().Of(t.Context(), "BP001"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("known of it: %+v, %v", got, err)
		}
	})
}
