package chaos_test

import (
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/internal/chaos"
)

func TestHistorySeesEveryBrokenPromise(t *testing.T) {
	t.Parallel()
	h := chaos.NewHistory()
	for _, id := range []string{"lost", "twice", "a1", "a2", "b1"} {
		h.Acknowledge(id)
	}
	for _, m := range []chaos.Message{
		{ID: "a2", Key: "a", Number: 2}, {ID: "b1", Key: "b", Number: 1}, {ID: "a1", Key: "a", Number: 1},
		{ID: "twice", Key: "c", Number: 7}, {ID: "c8", Key: "c", Number: 8}, {ID: "twice", Key: "c", Number: 7},
	} {
		h.Effect(m)
	}
	if got := h.Lost(); !slices.Equal(got, []string{"lost"}) {
		t.Errorf("lost = %v", got)
	}
	want := chaos.Verdict{Acknowledged: 5, Lost: 1, Twice: 1, Reordered: 1, Unpublished: 1}
	if got := h.Verdict(); got != want {
		t.Errorf("verdict = %+v, want %+v", got, want)
	}
}

func TestHistoryWithoutFaultIsClean(t *testing.T) {
	t.Parallel()
	h := chaos.NewHistory()
	h.Acknowledge("a")
	if n := h.Effect(chaos.Message{ID: "a"}); n != 1 {
		t.Errorf("first effect is number %d", n)
	}
	if got := h.Verdict(); got != (chaos.Verdict{Acknowledged: 1}) {
		t.Errorf("verdict = %+v", got)
	}
}
