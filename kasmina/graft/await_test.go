package graft_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/trainer"
)

func TestAwaitedAttachHasItsKernelAtTheNextApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, 2)
	for _, seed := range []string{"a", "b", "c"} {
		order := w.attachOrder(seed, scaling(t, 2, 2), trainer.Blend{})
		w.bus.send(w.signed(order))
		if err := w.graft.Await(t.Context(), order.Number); err != nil {
			t.Fatal(err)
		}
		if changes := w.graft.Apply(); len(changes) != 1 || changes[0].Kind != trainer.Attach || changes[0].Err != nil {
			t.Errorf("Apply behind Await changed %+v", changes)
		}
	}
	if err := w.graft.Await(t.Context(), 0); err != nil {
		t.Errorf("nothing to wait for: %v", err)
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := idleWorld(t, nil, 2)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := w.graft.Await(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Await = %v", err)
	}
}
