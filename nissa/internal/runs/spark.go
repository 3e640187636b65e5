package runs

import "slices"

// sparkPoints bounds the losses of a Spark.
const sparkPoints = 48

// Spark is a run's loss in few points: each stride-th one, and the stride doubles when
// there is no more room.
type Spark struct {
	Loss   []Number `json:"loss"`
	Stride int64    `json:"stride"`
	Seen   int64    `json:"seen"` // losses that it stands for
}

func (s Spark) with(loss Number) Spark {
	if !loss.Known() {
		return s
	}
	s.Stride = max(s.Stride, 1)
	if s.Seen%s.Stride == 0 {
		s.Loss = append(slices.Clip(s.Loss), loss)
	}
	s.Seen++
	if len(s.Loss) < sparkPoints {
		return s
	}
	half := make([]Number, 0, sparkPoints)
	for i := 0; i < len(s.Loss); i += 2 {
		half = append(half, s.Loss[i])
	}
	s.Loss, s.Stride = half, 2*s.Stride
	return s
}
