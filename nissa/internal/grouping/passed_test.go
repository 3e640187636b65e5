package grouping_test

import (
	"fmt"
	"testing"
	"time"
)

// What came and went while a receiver was away needs no more room than its number.
func TestAlertsThatCameAndWentAreBounded(t *testing.T) {
	d := newDesk(times, 60)
	d.down = true
	for i := range 10_000 {
		d.fire("r", fmt.Sprint(i))
		d.resolve("r", fmt.Sprint(i))
	}
	if kept := d.planner.Kept()[0]; len(kept.Pending) != 0 || len(kept.Passed) != 200 || kept.More != 9800 {
		t.Errorf("%d wait, %d came and went, and %d more", len(kept.Pending), len(kept.Passed), kept.More)
	}
	if d.planner.Waiting() != 10_000 || d.planner.Unnamed() != 9800 {
		t.Errorf("%d wait, %d of them unnamed", d.planner.Waiting(), d.planner.Unnamed())
	}
	d.now = d.now.Add(time.Second)
	due := d.planner.Due(d.now, d)
	if len(due) != 1 || due[0].Named().Unnamed != 9980 {
		t.Fatalf("due %+v", due)
	}
	d.planner.Done(due[0], nil, d.now)
	if d.planner.Waiting() != 0 {
		t.Errorf("%d wait", d.planner.Waiting())
	}
}

// burst has many come and go at once.
func (d *desk) burst(from, to int) {
	for i := from; i < to; i++ {
		d.fire("r", fmt.Sprint(i))
		d.resolve("r", fmt.Sprint(i))
	}
}

// told is how many alerts what is told then stands for, named or not.
func (d *desk) told(t *testing.T) (alerts int) {
	t.Helper()
	for range 100 {
		d.now = d.now.Add(time.Second)
		for _, n := range d.planner.Due(d.now, d) {
			alerts += len(n.Firing) + len(n.Resolved) + n.Passed
			d.planner.Done(n, nil, d.now)
		}
	}
	if waiting := d.planner.Waiting(); waiting != 0 {
		t.Errorf("%d wait for good", waiting)
	}
	return alerts
}

// More came and went in silence than are named: nobody hears of their number.
func TestWhatComesAndGoesInSilenceIsNotCounted(t *testing.T) {
	d := newDesk(times, 60)
	for i := range 500 {
		d.silenced[fmt.Sprint(i)] = true
	}
	d.burst(0, 500)
	if waiting, unnamed := d.planner.Waiting(), d.planner.Unnamed(); waiting+unnamed != 0 {
		t.Errorf("%d wait, and of %d the number", waiting, unnamed)
	}
	d.fire("r", "loud")
	d.pass(time.Second)
	d.resolve("r", "loud")
	if told := d.told(t); told != 1 {
		t.Errorf("its end is told as %d alerts", told)
	}
}

// The silence comes behind them, and before anybody could be told.
func TestWhatIsSilencedBeforeItIsToldIsNotCounted(t *testing.T) {
	d := newDesk(times, 60)
	d.burst(0, 500)
	for i := range 500 {
		d.silenced[fmt.Sprint(i)] = true
	}
	if told := d.told(t); told != 0 {
		t.Errorf("%d are told", told)
	}
}

// More come and go while others are being told than are named: their number waits for no other alert.
func TestWhatComesAndGoesDuringADeliveryIsTold(t *testing.T) {
	for what, err := range map[string]error{"delivered": nil, "failed": errDown} {
		d := newDesk(times, 60)
		d.burst(0, 300)
		d.now = d.now.Add(time.Second)
		due := d.planner.Due(d.now, d)
		if len(due) != 1 || len(due[0].Resolved)+due[0].Passed != 300 {
			t.Fatalf("%s: due %+v", what, due)
		}
		d.burst(300, 550)
		if kept := d.planner.Kept()[0]; len(kept.Passed)+kept.More != 550 {
			t.Errorf("%s: a kill now would leave %d and %d more", what, len(kept.Passed), kept.More)
		}
		d.planner.Done(due[0], err, d.now)
		d.now = d.now.Add(time.Hour)
		want := 250
		if err != nil {
			want += 300
		}
		if told := d.told(t); told != want {
			t.Errorf("%s: %d are told, wanted %d", what, told, want)
		}
	}
}
