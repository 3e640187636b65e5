package tezzeret

import (
	"slices"
	"testing"
)

func TestGuardDigestGolden(t *testing.T) {
	cases := []struct {
		digest, summary string
		shapes          [][]int
	}{
		{"c0e3ed3adc7800b37bf6f90a7156046c87111dcef83232afad8a9e0addde055f", "float32[8x32]", [][]int{{8, 32}}},
		{"b2fd2f05c3298470835b454526892d28cae85e9c429091891d8b2429bfddf46a", "float32[8x8x16x16]",
			[][]int{{8, 8, 16, 16}}},
		{"d64cb10e87388fed4f956ee91b78f16765af7279423e9a3227e5fc7cdeeed8dc", "float32[8x12x32]",
			[][]int{{8, 12, 32}, {8, 12, 32}, {8, 12, 32}}},
	}
	for _, c := range cases {
		spec := guardSpec(c.shapes...)
		if digest := guardDigest(spec); digest != c.digest {
			t.Errorf("%v: digest %s, want %s", c.shapes, digest, c.digest)
		}
		if summary := guardSummary(spec); len(summary) != len(c.shapes) || summary[0] != c.summary {
			t.Errorf("%v: summary %v", c.shapes, summary)
		}
	}
}

func TestGuardOfAScalar(t *testing.T) {
	if summary := guardSummary(guardSpec([]int{})); !slices.Equal(summary, []string{"float32[scalar]"}) {
		t.Errorf("got %v", summary)
	}
}
