package settings_test

import (
	"slices"
	"strings"
	"testing"
)

func TestShapeOfTheHostLayerAndPermissions(t *testing.T) {
	for text, want := range map[string][]int{
		"TEZZERET_FEATURES=64": {64}, "TEZZERET_SLOT=48": {48}, "TEZZERET_SLOT= 12X32 ": {12, 32},
		"TEZZERET_SLOT=8 x 16 x 16": {8, 16, 16}, "TEZZERET_SLOT=": {32},
	} {
		if got := mustLoad(t, "", text).Tezzeret.SlotSizes(); !slices.Equal(got, want) {
			t.Errorf("%s: slot %v, want %v", text, got, want)
		}
	}
	s := mustLoad(t, "", "KARN_APPROVED=BP036, BP038", "KARN_QUARANTINED=BP001", "KARN_QUARANTINE_GRANT=BP043,BP001")
	got := slices.Concat(s.Karn.Approved, []string{"|"}, s.Karn.Quarantined, []string{"|"}, s.Karn.QuarantineGrant)
	if want := "BP036 BP038 | BP001 | BP043 BP001"; strings.Join(got, " ") != want {
		t.Errorf("permissions %v, want %s", got, want)
	}
}
