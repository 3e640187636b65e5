package trainer_test

import (
	"errors"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/trainer"
)

// wholeReport has every attribute.
func wholeReport() trainer.Report {
	return trainer.Report{
		TrainerID: "t-1", Resumes: "t-0", Number: 7, OrderRead: 12,
		Grafts: map[string]trainer.Graft{
			"seed-1": {Slot: "layer2", Blueprint: "BP001", Checksum: strings.Repeat("ab", 32), Order: 4},
		},
		Accepts:      []string{"optimizer", "rollback"},
		HostLayers:   []string{"layer1", "layer2"},
		Slots:        map[string][]int{"layer2": {64, 7, 7}, "head": {32}},
		KernelAccess: []string{"path", "http"},
	}
}

func TestReportIsReadAsItWasWritten(t *testing.T) {
	for _, want := range []trainer.Report{wholeReport(), {TrainerID: "t", Number: 1}} {
		got, err := trainer.ReadReport(want.Attributes())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestSlotsAreUsedInTheOrderOfTheirNames(t *testing.T) {
	if got := wholeReport().SlotNames(); !cmp.Equal(got, []string{"head", "layer2"}) {
		t.Errorf("slots are used as %v", got)
	}
}

func TestReportThatIsNotUnderstoodIsRefusedByItsAttribute(t *testing.T) {
	many := strings.Repeat(`"n",`, 200)
	for name, tests := range map[string][]string{
		trainer.AttributeProtocol:  {"", "2", "1 ", strings.Repeat("9", 1000)},
		trainer.AttributeTrainerID: {"", strings.Repeat("x", 129)},
		trainer.AttributeResumes:   {strings.Repeat("x", 129)},
		trainer.AttributeReport:    {"", "x", "-1", "1.5", "9007199254740993", strings.Repeat("9", 1000)},
		trainer.AttributeOrderRead: {"x", "-1", "8388609", "99999999999999999999"},
		trainer.AttributeGrafts: {
			"[]", "{", `{"s":1}`, `{"":{}}`, `{"s":{"slot":"` + strings.Repeat("x", 129) + `"}}`,
			`{"s":{"order":-1}}`, `{"s":{"order":9007199254740993}}`,
		},
		trainer.AttributeAccepts:      {`{}`, `[1]`, `[""]`, `["` + strings.Repeat("x", 129) + `"]`, "[" + many + `"n"]`},
		trainer.AttributeHostLayers:   {"layer1", `[null]`},
		trainer.AttributeKernelAccess: {"path,http"},
		trainer.AttributeSlots: {
			`[]`, `{"":[1]}`, `{"a":[]}`, `{"a":[1,2,3,4,5]}`, `{"a":[0]}`, `{"a":[-3]}`, `{"a":[1048577]}`,
			`{"a":[1.5]}`, `{"a":["8"]}`, `{"a":null}`,
		},
	} {
		for _, text := range tests {
			attributes := wholeReport().Attributes()
			attributes[name] = text
			_, err := trainer.ReadReport(attributes)
			var field *trainer.FieldError
			if !errors.As(err, &field) || field.Name != name {
				t.Errorf("%s = %.40q: %v", name, text, err)
			} else if len(err.Error()) > 400 {
				t.Errorf("%s = %.40q: an error of %d bytes", name, text, len(err.Error()))
			}
		}
	}
}

func TestReportMayRememberOnlySoMuch(t *testing.T) {
	grafts, slots := map[string]trainer.Graft{}, map[string][]int{}
	for i := range 65 {
		grafts[string(rune('A'+i))] = trainer.Graft{}
		slots[string(rune('A'+i))] = []int{1}
	}
	for name, report := range map[string]trainer.Report{
		trainer.AttributeGrafts: {TrainerID: "t", Number: 1, Grafts: grafts},
		trainer.AttributeSlots:  {TrainerID: "t", Number: 1, Slots: slots},
	} {
		_, err := trainer.ReadReport(report.Attributes())
		var field *trainer.FieldError
		if !errors.As(err, &field) || field.Name != name {
			t.Errorf("%s of 65: %v", name, err)
		}
	}
}

func TestPacketWithoutTheProtocolIsOfATrainerThatOnlyReports(t *testing.T) {
	attributes := wholeReport().Attributes()
	delete(attributes, trainer.AttributeProtocol)
	for _, attributes := range []map[string]string{nil, {}, {"attempt": "1"}, attributes} {
		if _, err := trainer.ReadReport(attributes); !errors.Is(err, trainer.ErrNoProtocol) {
			t.Errorf("%v: %v", attributes, err)
		}
	}
}

func TestUnknownAttributesOfAReportAreIgnored(t *testing.T) {
	attributes := wholeReport().Attributes()
	attributes["stream"], attributes["weather"] = "oona.normal", "light"
	if got, err := trainer.ReadReport(attributes); err != nil || !cmp.Equal(got, wholeReport()) {
		t.Errorf("%+v, %v", got, err)
	}
}

// words draws texts as they may stand in a report, up to a length in bytes.
func words(least int) *rapid.Generator[string] {
	return rapid.StringN(least, 30, 128)
}

func reports() *rapid.Generator[trainer.Report] {
	graft := rapid.Custom(func(t *rapid.T) trainer.Graft {
		return trainer.Graft{
			Slot: words(0).Draw(t, "slot"), Blueprint: words(0).Draw(t, "blueprint"),
			Checksum: words(0).Draw(t, "checksum"), Order: rapid.Uint64Range(0, 1<<53).Draw(t, "order"),
		}
	})
	shape := rapid.SliceOfN(rapid.IntRange(1, 1<<20), 1, 4)
	names := rapid.SliceOfN(words(1), 0, 5)
	return rapid.Custom(func(t *rapid.T) trainer.Report {
		return trainer.Report{
			TrainerID:    words(1).Draw(t, "trainer"),
			Resumes:      words(0).Draw(t, "resumes"),
			Number:       rapid.Uint64Range(0, 1<<53).Draw(t, "number"),
			OrderRead:    rapid.Uint64Range(0, 1<<23).Draw(t, "read"),
			Grafts:       rapid.MapOfN(words(1), graft, 0, 5).Draw(t, "grafts"),
			Accepts:      names.Draw(t, "accepts"),
			HostLayers:   names.Draw(t, "layers"),
			Slots:        rapid.MapOfN(words(1), shape, 0, 5).Draw(t, "slots"),
			KernelAccess: names.Draw(t, "access"),
		}
	})
}

func TestEveryReportIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := reports().Draw(t, "report")
		got, err := trainer.ReadReport(want.Attributes())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func FuzzReadReport(f *testing.F) {
	whole := wholeReport().Attributes()
	f.Add("1", "t", "r", "7", "9", whole[trainer.AttributeGrafts], whole[trainer.AttributeAccepts], whole[trainer.AttributeSlots])
	f.Add("1", "", "", "-1", "1e3", "null", "[null]", `{"a":[9999999999999999999]}`)
	f.Fuzz(func(t *testing.T, protocol, id, resumes, number, read, grafts, names, slots string) {
		attributes := map[string]string{
			trainer.AttributeProtocol: protocol, trainer.AttributeTrainerID: id, trainer.AttributeResumes: resumes,
			trainer.AttributeReport: number, trainer.AttributeOrderRead: read, trainer.AttributeGrafts: grafts,
			trainer.AttributeAccepts: names, trainer.AttributeHostLayers: names, trainer.AttributeKernelAccess: names,
			trainer.AttributeSlots: slots,
		}
		given := maps.Clone(attributes)
		report, err := trainer.ReadReport(attributes)
		if !maps.Equal(given, attributes) {
			t.Error("the attributes were changed")
		}
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if len(report.Grafts) > 64 || len(report.Slots) > 64 || len(report.Accepts) > 128 || report.Number > 1<<53 {
			t.Errorf("unbounded report %+v", report)
		}
		again, err := trainer.ReadReport(report.Attributes())
		if err != nil || !cmp.Equal(report, again, cmpopts.EquateEmpty()) {
			t.Errorf("read again: %v\n%s", err, cmp.Diff(report, again))
		}
	})
}

func TestFailuresOfAnAttachHaveNamesAndOnlySomeSpeakAgainstTheBlueprint(t *testing.T) {
	seen := map[string]bool{}
	against := 0
	for failure := trainer.AttachUnspecified; failure <= trainer.AttachNoRoom; failure++ {
		if reason := failure.Reason(); reason == "" || seen[reason] {
			t.Errorf("%d is called %q", failure, reason)
		}
		seen[failure.Reason()] = true
		if failure.OfKernel() {
			against++
		}
	}
	if against != 3 {
		t.Errorf("%d failures are the kernel's own", against)
	}
	for _, unknown := range []trainer.AttachFailure{-1, 9, math.MaxInt} {
		if unknown.Reason() != "attach_failed" || unknown.OfKernel() {
			t.Errorf("%d is %q, of the kernel: %v", unknown, unknown.Reason(), unknown.OfKernel())
		}
	}
}
