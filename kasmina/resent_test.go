package kasmina

import (
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestLostOrderIsSentAgainUnderItsNumber(t *testing.T) {
	t.Parallel()
	w := announced(t)
	lost := w.orders[0]
	w.orders = nil
	w.report()
	if len(w.orders) != 1 || w.orders[0].Number != lost.Number || w.orders[0].Kind != trainer.Attach {
		t.Fatalf("orders %+v", w.orders)
	}
	w.report()
	w.wantStage("s", lifecycle.Training)
}

func TestReportThatCannotKnowOfAnOrderRepeatsNothing(t *testing.T) {
	t.Parallel()
	w := announced(t)
	w.now = w.now.Add(20 * time.Millisecond)
	if d := w.decide(w.trainer.report(w.now)); len(d.Orders) != 0 {
		t.Errorf("orders %+v", d.Orders)
	}
}

func TestOrderWithoutEffectIsSentAnewAndThenEndsItsSeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Training)
	deaf := func() {
		w.now = w.now.Add(5 * time.Second)
		w.trainer.read = w.record.LastOrder
		w.decide(w.trainer.report(w.now))
	}
	for range 60 {
		deaf()
		if w.stage("s") == lifecycle.Embargoed {
			break
		}
	}
	w.wantStage("s", lifecycle.Embargoed)
	var numbers []uint64
	for _, order := range w.orders {
		if order.Kind == trainer.BlendIn {
			numbers = append(numbers, order.Number)
		}
	}
	if len(numbers) != 1+maxRenewals || !slices.IsSorted(numbers) || len(slices.Compact(numbers)) != len(numbers) {
		t.Errorf("blend was ordered under %v", numbers)
	}
	w.wantTold("gate_failure", "order_without_effect")
}

func TestDropIsRepeatedUntilTheSeedIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.do(opCull, "s")
	drops := func() (count int) {
		for _, kind := range w.kinds() {
			if kind == "drop:s" {
				count++
			}
		}
		return count
	}
	for range 40 {
		w.now = w.now.Add(time.Minute)
		w.trainer.read = w.record.LastOrder
		w.decide(w.trainer.report(w.now))
	}
	if drops() < 10 {
		t.Errorf("%d drops", drops())
	}
	w.report()
	w.report()
	w.wantGrafted()
	if len(w.record.Pending) != 0 {
		t.Errorf("pending %+v", w.record.Pending)
	}
}

func TestTakeoverAsksTheNewTrainerUnderNewNumbers(t *testing.T) {
	t.Parallel()
	w := announced(t)
	first := w.orders[0]
	w.trainer = newFakeTrainer("trainer-2")
	w.trainer.resumes = "trainer-1"
	w.report()
	last := w.orders[len(w.orders)-1]
	if last.Kind != trainer.Attach || last.Number <= first.Number || last.TrainerID != "trainer-2" {
		t.Errorf("order %+v", last)
	}
	w.report()
	w.wantStage("s", lifecycle.Training)
}
