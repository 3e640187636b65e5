package karn_test

import (
	"encoding/csv"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
)

// goldenDescriptors reads the catalogue as the prototype's facts tabulate it.
func goldenDescriptors(t *testing.T) []*leyline.BlueprintDescriptor {
	t.Helper()
	file, err := os.Open("testdata/blueprints.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	reader := csv.NewReader(file)
	reader.Comma, reader.Comment, reader.LazyQuotes = '\t', '#', true
	rows, err := reader.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var golden []*leyline.BlueprintDescriptor
	for _, row := range rows {
		golden = append(golden, goldenDescriptor(t, row))
	}
	return golden
}

func goldenDescriptor(t *testing.T, row []string) *leyline.BlueprintDescriptor {
	t.Helper()
	risk, err := strconv.ParseFloat(row[3], 32)
	if err != nil {
		t.Fatal(err)
	}
	stage, err := strconv.ParseUint(row[4], 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &leyline.BlueprintDescriptor{
		BlueprintId: row[0], Name: row[1],
		Tier: leyline.BlueprintTier(leyline.BlueprintTier_value[row[2]]),
		Risk: float32(risk), Stage: uint32(stage),
		QuarantineOnly: row[5] == "yes", ApprovalRequired: row[6] == "yes",
		AllowedParameters: goldenBounds(t, row[7]), Description: row[8],
	}
}

func goldenBounds(t *testing.T, column string) map[string]*leyline.BlueprintParameterBounds {
	t.Helper()
	var bounds map[string]*leyline.BlueprintParameterBounds
	for field := range strings.FieldsSeq(column) {
		name, limits, _ := strings.Cut(field, "=")
		low, high, _ := strings.Cut(limits, ":")
		lowest, errLow := strconv.ParseFloat(low, 64)
		highest, errHigh := strconv.ParseFloat(high, 64)
		if err := errors.Join(errLow, errHigh); err != nil {
			t.Fatal(err)
		}
		if bounds == nil {
			bounds = make(map[string]*leyline.BlueprintParameterBounds)
		}
		bounds[name] = &leyline.BlueprintParameterBounds{MinValue: lowest, MaxValue: highest}
	}
	return bounds
}

func TestCatalogIsTheFiftyDescriptorsFieldByField(t *testing.T) {
	golden := goldenDescriptors(t)
	if len(golden) != 50 {
		t.Fatalf("golden table has %d rows", len(golden))
	}
	if diff := cmp.Diff(golden, karn.NewCatalog().List(), protocmp.Transform()); diff != "" {
		t.Errorf("catalogue differs from the golden table (-want +got):\n%s", diff)
	}
}

func TestListTierKeepsRegistrationOrder(t *testing.T) {
	catalog := karn.NewCatalog()
	cases := map[leyline.BlueprintTier]struct {
		count       int
		first, last string
	}{
		leyline.BlueprintTier_BLUEPRINT_TIER_UNSPECIFIED:  {50, "BP001", "BP050"},
		leyline.BlueprintTier_BLUEPRINT_TIER_SAFE:         {35, "BP001", "BP035"},
		leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL: {7, "BP036", "BP042"},
		leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK:    {8, "BP043", "BP050"},
	}
	for tier, want := range cases {
		list := catalog.ListTier(tier)
		if len(list) != want.count {
			t.Errorf("%s: %d descriptors, want %d", tier, len(list), want.count)
			continue
		}
		if first, last := list[0].BlueprintId, list[len(list)-1].BlueprintId; first != want.first || last != want.last {
			t.Errorf("%s: %s..%s, want %s..%s", tier, first, last, want.first, want.last)
		}
	}
}

func TestChangingAReturnedDescriptorChangesNothingElse(t *testing.T) {
	catalog := karn.NewCatalog()
	deface := func(d *leyline.BlueprintDescriptor, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		d.Name, d.ApprovalRequired, d.QuarantineOnly = "defaced", false, false
		for _, bounds := range d.AllowedParameters {
			bounds.MaxValue = 1e9
		}
	}
	deface(catalog.Get("BP036"))
	deface(catalog.Select(t.Context(), karn.Request{Query: karn.Query{Context: "control-run"}}))
	deface(catalog.Select(t.Context(), karn.Request{BlueprintID: "BP001"}))
	for _, d := range catalog.List() {
		deface(d, nil)
	}
	if diff := cmp.Diff(goldenDescriptors(t), catalog.List(), protocmp.Transform()); diff != "" {
		t.Errorf("catalogue was changed from outside:\n%s", diff)
	}
}

func TestGetUnknownBlueprint(t *testing.T) {
	if _, err := karn.NewCatalog().Get("BP051"); !errors.Is(err, karn.ErrUnknownBlueprint) {
		t.Errorf("got %v", err)
	}
}

func TestMidpoints(t *testing.T) {
	catalog := karn.NewCatalog()
	cases := map[string]map[string]float64{
		"BP001": {},
		"BP002": {"scale": 1.25},
		"BP014": {"gate_bias": 0},
		"BP036": {"experts": 6, "capacity": 1.5},
	}
	for id, want := range cases {
		d, err := catalog.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, karn.Midpoints(d)); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
}
