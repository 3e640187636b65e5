package runs

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSparkKeepsTheShapeInFewPoints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 2000).Draw(t, "n")
		var s Spark
		for i := range n {
			before := slices.Clone(s.Loss)
			next := s.with(Number(i))
			if !slices.Equal(before, s.Loss) {
				t.Fatal("changes what it was made of")
			}
			s = next
		}
		for i, loss := range s.Loss {
			if int64(loss) != int64(i)*s.Stride {
				t.Fatalf("point %d of %d is %v at a stride of %d", i, len(s.Loss), loss, s.Stride)
			}
		}
		if len(s.Loss) > sparkPoints || s.Seen != int64(n) || n > 0 && int64(len(s.Loss)) != (int64(n)+s.Stride-1)/s.Stride {
			t.Fatalf("%d points of %d at a stride of %d", len(s.Loss), n, s.Stride)
		}
	})
}

func TestThinnerKeepsPeaksAndTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.Float64Range(-10, 10), 1, 500).Draw(t, "rows")
		most := rapid.IntRange(2, 60).Draw(t, "most")
		thinner := NewThinner(int64(len(rows)), most, func(x *float64) Number { return Number(*x) })
		for _, row := range rows {
			thinner.Add(row)
		}
		thin := thinner.Rows()
		if len(thin) > most+1 || slices.Max(thin) != slices.Max(rows) || slices.Min(thin) != slices.Min(rows) || thin[len(thin)-1] != rows[len(rows)-1] {
			t.Fatalf("%v became %v", rows, thin)
		}
	})
}
