package delivery

import (
	"testing"

	"github.com/esper-lite/weatherlight/oona/internal/verify"
)

func TestMarkOfAnotherEntryIsAReplayOnceItIsDone(t *testing.T) {
	t.Parallel()
	s := &consumer{c: New(Config{Recent: verify.NewRecent(10)}), sub: Subscription{AnswersOnly: true}}
	s.c.remember([]outcome{{mark: "done", id: "1-0"}, {mark: "lost", id: "2-0"}}, []int64{commitDone, commitLost})
	for _, test := range []struct {
		mark, id string
		refused  bool
	}{
		{"done", "3-0", true},
		{"done", "1-0", false}, // the entry itself
		{"lost", "3-0", false},
		{"never seen", "3-0", false},
	} {
		s.inflight = newInflight(1)
		task := &Task{Mark: test.mark, id: test.id}
		s.refuseReplays(t.Context(), []*Task{task})
		if refused := task.Refusal != nil; refused != test.refused {
			t.Errorf("mark %q of entry %s: refused is %v", test.mark, test.id, refused)
		}
	}
}
