package urza

import (
	"testing"
	"time"
)

func TestAnswersThatTakeLongAreCounted(t *testing.T) {
	p := NewPrefetcher(nil, PrefetchConfig{})
	for _, after := range []time.Duration{time.Millisecond, 50 * time.Millisecond, 51 * time.Millisecond, time.Second, 0} {
		p.answered(after)
	}
	if got := p.Stats(); got.Answers != 5 || got.Late != 2 {
		t.Errorf("%d answers, %d of them late", got.Answers, got.Late)
	}
}
