package simrun

import (
	"slices"
	"testing"
	"time"
)

func TestSeedsOfARun(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		seeds  int
		seed   uint64
		within time.Duration
		want   []uint64
	}{
		{"without flags", 0, 0, time.Hour, []uint64{1, 2, 3}},
		{"without flags and time", 0, 0, -time.Hour, nil},
		{"a number", 5, 0, -time.Hour, []uint64{1, 2, 3, 4, 5}},
		{"one seed", 0, 17, -time.Hour, []uint64{17}},
		{"a number from one on", 2, 17, -time.Hour, []uint64{17, 18}},
	} {
		run := (&Runner{most: 3, within: row.within, seeds: row.seeds, seed: row.seed}).begin()
		var got []uint64
		for seed, more := run.take(); more; seed, more = run.take() {
			got = append(got, seed)
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}
