package delivery

import (
	"testing"
	"testing/synctest"
	"time"
)

func ids(outcomes []outcome) (ids string) {
	for _, o := range outcomes {
		ids += o.id
	}
	return ids
}

func TestWhatFinishesTogetherIsOneCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher()
		b.expect(3)
		go func() {
			b.finish(outcome{id: "a"})
			time.Sleep(gatherTime / 2)
			b.drop()
			b.finish(outcome{id: "b"})
		}()
		begun := time.Now()
		if got := ids(b.take(nil)); got != "ab" || time.Since(begun) != gatherTime/2 {
			t.Errorf("took %q after %s", got, time.Since(begun))
		}
		b.close()
		if left := b.take(nil); left != nil {
			t.Errorf("took %v from an empty batcher", left)
		}
	})
}

func TestSlowHandlerDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher()
		b.expect(2) // the second never ends
		begun := time.Now()
		for _, id := range []string{"a", "b"} {
			b.expect(1)
			b.finish(outcome{id: id})
			if got := ids(b.take(nil)); got != id {
				t.Errorf("took %q, want %q", got, id)
			}
		}
		if waited := time.Since(begun); waited != 2*gatherTime {
			t.Errorf("waited %s", waited)
		}
		b.expect(commitBatch)
		for range commitBatch {
			b.finish(outcome{id: "c"})
		}
		begun = time.Now()
		if got := b.take(nil); len(got) != commitBatch || time.Since(begun) != 0 {
			t.Errorf("a full batch of %d waited %s", len(got), time.Since(begun))
		}
		b.close()
	})
}

func TestRefusalsAreCommittedBesideRunningHandlers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher()
		b.add(outcome{id: "a"})
		b.expect(1) // before the committer has looked
		if got := ids(b.take(nil)); got != "a" {
			t.Errorf("took %q", got)
		}
		b.close()
	})
}
