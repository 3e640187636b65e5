package alerting

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/grouping"
	"github.com/esper-lite/weatherlight/nissa/internal/notify"
	"github.com/esper-lite/weatherlight/nissa/internal/objectives"
	"github.com/esper-lite/weatherlight/telemetry"
)

const (
	// tick is the pause between two looks at what time alone does, and probePause between two
	// questions to the bus and at objectives.
	tick         = 100 * time.Millisecond
	probePause   = time.Second
	probeTimeout = time.Second
	stopTimeout  = 2 * time.Second
	maxWords     = 256
)

// failedInARow is the metric of how often in a row a receiver could not be told.
const failedInARow = "nissa.notifications.failed_in_a_row"

// Run tells the receivers until ctx ends, and then keeps the state.
func (d *Desk) Run(ctx context.Context) error {
	var beside, sending sync.WaitGroup
	beside.Go(func() { d.probe(ctx) })
	beside.Go(func() { d.speak(ctx) })
	if d.seat != nil {
		beside.Go(func() { d.seat.attend(ctx) })
	}
	deliver, cancel := context.WithCancel(context.WithoutCancel(ctx)) // what is under way may end
	defer cancel()
	d.loop(ctx, deliver, &sending)
	beside.Wait()
	time.AfterFunc(stopTimeout, cancel)
	sending.Wait()
	d.mu.Lock()
	senders := d.senders
	d.mu.Unlock()
	if d.seat != nil {
		d.seat.leave(context.WithoutCancel(ctx)) // it has a bound of its own
	}
	return closeAll(deliver, senders)
}

func (d *Desk) loop(ctx, deliver context.Context, sending *sync.WaitGroup) {
	beat := time.NewTicker(tick)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.changed:
		case <-beat.C:
		}
		for _, n := range d.due() {
			sending.Go(func() { d.send(deliver, n) })
		}
	}
}

// delivery is a notification with who delivers it.
type delivery struct {
	grouping.Notification

	sender  notify.Sender
	planner *grouping.Planner
}

// due lets time pass, and returns what is to be told, unless another desk judges.
func (d *Desk) due() (due []delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.judges() {
		return nil
	}
	now := d.now()
	heard := d.ears.heard
	if d.seat != nil && d.seat.behind {
		heard.Until = heard.Since // what waits to be judged may be what is missed
	}
	for _, changed := range d.tracker.Tick(now, heard, d.terms) {
		d.note(changed, now)
	}
	for _, n := range d.planner.Due(now, view{d, now}) {
		due = append(due, delivery{n, d.senders[n.Receiver], d.planner})
	}
	return due
}

func (d *Desk) terms(name string) (alert.Terms, bool) {
	if rule := d.byName[name]; rule != nil {
		return termsOf(rule), true
	}
	for _, o := range d.file.Objectives {
		if o.Name == name {
			return alert.Terms{Count: 1}, true
		}
	}
	return alert.Terms{}, false
}

// view is what the planner wants to know of alerts.
type view struct {
	desk *Desk
	now  time.Time
}

func (v view) Silenced(a alert.Alert) bool { return len(v.desk.silences.Of(a.Subject, v.now)) > 0 }

func (v view) Firing(id string) (alert.Alert, bool) {
	a, known := v.desk.tracker.Get(id)
	return a, known && a.State == alert.Firing
}

func (d *Desk) send(ctx context.Context, n delivery) {
	ctx, cancel := context.WithTimeout(ctx, notify.Patience)
	defer cancel()
	started := time.Now()
	err := n.sender.Send(ctx, n.Notification)
	took := time.Since(started).Round(time.Millisecond)
	d.mu.Lock()
	now := d.now()
	n.planner.Done(n.Notification, err, now) // of another desk's books by now, nobody looks at it any more
	failures := n.planner.Failures()[n.Receiver]
	d.unsaved = true
	d.mu.Unlock()
	d.figures.delivered(n.Notification, err, now)
	if err != nil {
		d.logger.Warn("a receiver could not be told", "receiver", n.Receiver, "rule", n.Rule, "in_a_row", failures, "error", err)
	} else {
		d.logger.Info("a receiver was told", "receiver", n.Receiver, "rule", n.Rule, "firing", len(n.Firing), "resolved", len(n.Resolved),
			"unnamed", n.Passed, "took", took)
	}
	d.look(telemetry.New(self, self).Metric(failedInARow, float64(failures), "count", "receiver", n.Receiver).Build())
	nudge(d.changed)
}

// probe asks the bus once a second, and looks at how fast the budgets burn.
func (d *Desk) probe(ctx context.Context) {
	beat := time.NewTicker(probePause)
	defer beat.Stop()
	for {
		if d.config.Probe != nil {
			d.look(telemetry.New(self, self).Metric("nissa.bus.up", answers(ctx, d.config.Probe), "bool").Build())
		}
		d.listen(ctx)
		d.burn()
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
	}
}

func answers(ctx context.Context, probe func(context.Context) error) float64 {
	asked, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := probe(asked); err != nil && ctx.Err() == nil {
		return 0
	}
	return 1
}

// listen asks how far what was said is heard.
func (d *Desk) listen(ctx context.Context) {
	asked, streams := d.Now(), map[string]Reach(nil)
	if d.config.Reach != nil {
		var err error
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		if streams, err = d.config.Reach(ctx); err != nil {
			return // whether the bus answers is asked for elsewhere
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ears.listen(streams, asked)
}

// burn looks at the budgets.
func (d *Desk) burn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.judges() {
		return
	}
	now := d.now()
	for _, status := range d.objectives.Statuses(now) {
		if !status.Known {
			continue
		}
		for _, speed := range []string{objectives.Fast, objectives.Slow} {
			o := status.Objective
			subject := alert.Subject{Rule: o.Name, Source: self, Labels: map[string]string{"burn": speed}}
			seen := alert.Observation{At: now, Holds: status.Burning[speed], Value: status.Left, Detail: burning(status)}
			meaning := alert.Meaning{Severity: severityOf(speed), Summary: o.Summary, Runbook: o.Runbook}
			if changed := d.tracker.Observe(subject, meaning, alert.Terms{Count: 1}, seen); changed != nil {
				d.note(*changed, now)
			}
		}
	}
}

func severityOf(speed string) string {
	if speed == objectives.Fast {
		return "critical"
	}
	return "warning"
}

func burning(s objectives.Status) string {
	worst := objectives.Burn{}
	for _, burn := range s.Burns {
		if burn.Rate > worst.Rate {
			worst = burn
		}
	}
	return fmt.Sprintf("%.1f %% of the error budget is left, it burns up to %.1f times too fast (over %s)",
		100*s.Left, worst.Rate, model.Duration(worst.Window))
}

// speak puts on the bus what happened.
func (d *Desk) speak(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case packet := <-d.words:
			if d.config.Tell == nil {
				continue
			}
			if err := d.config.Tell(ctx, packet); err != nil && ctx.Err() == nil {
				d.figures.unsaid.Inc()
				d.logger.Debug("the bus does not hear of an alert", "error", err)
			}
		}
	}
}

// say hands a packet to speak. While the bus takes none, those that find no room are lost and
// counted: the alerts themselves are kept.
func (d *Desk) say(packet *leyline.TelemetryPacket) {
	select {
	case d.words <- packet:
	default:
		d.figures.unsaid.Inc()
	}
}
