package delivery

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
)

func TestReaderWaitsWhileTooMuchIsHeldBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newOrdering()
		jobs := make([]*Task, heldBack+1)
		for i := range jobs {
			jobs[i] = &Task{id: strconv.Itoa(i) + "-0", Key: "seed"}
		}
		if ran := l.enter(jobs); len(ran) != 1 || ran[0].id != "0-0" {
			t.Fatalf("%d jobs of one key may run", len(ran))
		}
		roomy := make(chan struct{})
		go func() {
			l.awaitRoom(context.Background())
			close(roomy)
		}()
		synctest.Wait()
		select {
		case <-roomy:
			t.Fatal("the reader goes on")
		default:
		}
		l.leave("0-0")
		if next := l.next(context.Background()); len(next) != 1 || next[0].id != "1-0" {
			t.Errorf("next = %v", next)
		}
		<-roomy
	})
}

func TestNothingIsLeftOfAFinishedKey(t *testing.T) {
	t.Parallel()
	l := newOrdering()
	for i := range 100 {
		id := strconv.Itoa(i) + "-0"
		l.enter([]*Task{{id: id, Key: id}})
		l.leave(id)
	}
	if len(l.byKey)+len(l.holders)+l.held != 0 {
		t.Errorf("%d keys, %d holders, %d held", len(l.byKey), len(l.holders), l.held)
	}
}
