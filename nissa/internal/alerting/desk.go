// Package alerting puts the parts of alerting together. A [Desk] looks at each packet by the rules
// of a file, follows the alerts, tells the receivers, and keeps all that over restarts.
package alerting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/evaluate"
	"github.com/esper-lite/weatherlight/nissa/internal/grouping"
	"github.com/esper-lite/weatherlight/nissa/internal/notify"
	"github.com/esper-lite/weatherlight/nissa/internal/objectives"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
)

// self is the source of what Nissa looks at by itself. Nobody else's packets may have it.
const self = "nissa"

// Config is what a Desk works with.
type Config struct {
	// Read is the text of the rules and the folder of the files that it names.
	Read func() (text []byte, folder string, err error)
	// Name is that of this desk among those that share a store.
	Name string
	// Now is the time by a clock that all desks share, as that of the bus; default: this machine's.
	Now func() time.Time
	// Probe asks the bus for a sign of life, for the metric nissa.bus.up; nil: nobody asks.
	Probe func(context.Context) error
	// Reach tells how far the streams of what is judged are written and read, by name; nil: all that was
	// said is heard at once.
	Reach func(context.Context) (map[string]Reach, error)
	// Tell puts on the bus what happened to alerts and who asked for it; nil: it is only logged.
	Tell   func(context.Context, *leyline.TelemetryPacket) error
	Logger *slog.Logger
}

// Desk follows the alerts. Its methods may be called at any time, Share before Run.
type Desk struct {
	config  Config
	logger  *slog.Logger
	changed chan struct{} // there may be something to tell
	urgent  chan struct{} // there is something to write
	words   chan *leyline.TelemetryPacket
	figures *figures

	seat    *seat // among those that share a store; nil: there is none
	looksAt atomic.Pointer[interest]

	mu sync.Mutex
	*books
	file    *rules.File
	byName  map[string]*rules.Rule
	senders map[string]notify.Sender
	latest  time.Time // by which something was judged
	ears    ears
}

// books are what is known of the alerts, and what outlives a restart.
type books struct {
	engine     *evaluate.Engine
	tracker    *alert.Tracker
	planner    *grouping.Planner
	objectives *objectives.Keeper
	silences   alert.Silences
	unsaved    bool
	shapes     map[string]string // of the rules by which the alerts are, by name; see rules.Rule.Shape
}

func newBooks() *books {
	return &books{
		engine: evaluate.New(new(rules.File)), tracker: alert.NewTracker(alert.Limits{}),
		planner: grouping.New(grouping.Times{}, nil), objectives: objectives.New(nil),
	}
}

// New reads the rules. It is an error when they are not in order.
func New(config Config) (*Desk, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	d := &Desk{
		config: config, logger: cmp.Or(config.Logger, slog.New(slog.DiscardHandler)),
		changed: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
		words: make(chan *leyline.TelemetryPacket, maxWords), figures: newFigures(), books: newBooks(),
	}
	file, senders, err := d.read()
	if err != nil {
		return nil, err
	}
	d.use(file, senders)
	return d, nil
}

func (d *Desk) read() (*rules.File, map[string]notify.Sender, error) {
	text, folder, err := d.config.Read()
	if err != nil {
		return nil, nil, fmt.Errorf("read the rules: %w", err)
	}
	file, err := rules.Parse(text, folder)
	if err != nil {
		return nil, nil, fmt.Errorf("the rules are not in order: %w", err)
	}
	senders := make(map[string]notify.Sender)
	var failed []error
	for _, receiver := range file.Receivers {
		sender, err := notify.New(receiver)
		if failed = append(failed, err); sender != nil {
			senders[receiver.Name] = sender
		}
	}
	return file, senders, errors.Join(failed...)
}

// use takes over a file.
func (d *Desk) use(file *rules.File, senders map[string]notify.Sender) {
	d.file, d.senders, d.byName = file, senders, map[string]*rules.Rule{}
	for i := range file.Rules {
		d.byName[file.Rules[i].Name] = &file.Rules[i]
	}
	d.looksAt.Store(interestOf(file))
	d.bind(d.books)
	if d.seat == nil || d.seat.token != 0 {
		d.settle(d.now())
	}
	d.figures.rules.Set(float64(len(file.Rules)))
}

// bind has books go by the file.
func (d *Desk) bind(b *books) {
	engine := evaluate.New(d.file)
	engine.Restore(b.engine.Kept())
	b.engine = engine
	b.objectives.Use(d.file.Objectives)
	receivers := map[string]grouping.Receiver{}
	for _, r := range d.file.Receivers {
		sender := d.senders[r.Name]
		if sender == nil {
			continue
		}
		wants := grouping.Receiver{PerMinute: r.PerMinute}
		if sender.Program() {
			wants = grouping.Receiver{PerMinute: max(r.PerMinute, leastOfProgram), Keepalive: notify.Keepalive}
		}
		receivers[r.Name] = wants
	}
	b.planner.Use(grouping.Times(d.file.Grouping), receivers)
}

// leastOfProgram is how many notifications in a minute a program bears.
const leastOfProgram = 6000

// Reload reads the rules again. When they are not in order, the old ones stay.
func (d *Desk) Reload(ctx context.Context) error {
	file, senders, err := d.read()
	if err != nil {
		d.figures.reloads.WithLabelValues("failed").Inc()
		return errors.Join(fmt.Errorf("the rules stay as they were: %w", err), closeAll(ctx, senders))
	}
	d.mu.Lock()
	before := d.senders
	d.use(file, senders)
	d.mu.Unlock()
	d.figures.reloads.WithLabelValues("succeeded").Inc()
	nudge(d.changed)
	if err := closeAll(ctx, before); err != nil {
		d.logger.Warn("a delivery to a receiver of the old rules goes on", "error", err)
	}
	return nil
}

func closeAll(ctx context.Context, senders map[string]notify.Sender) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var failed []error
	for name, sender := range senders {
		if err := sender.Close(ctx); err != nil {
			failed = append(failed, fmt.Errorf("receiver %s: %w", name, err))
		}
	}
	return errors.Join(failed...)
}

// Observe looks at a packet of the bus.
func (d *Desk) Observe(packet *leyline.TelemetryPacket) {
	if packet.GetSourceSubsystem() != self { // what we said comes back
		d.look(packet)
	}
}

// look looks at a packet, unless another desk judges.
func (d *Desk) look(packet *leyline.TelemetryPacket) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.judges() {
		d.judge(packet, d.now())
	}
}

func (d *Desk) judge(packet *leyline.TelemetryPacket, now time.Time) {
	for _, found := range d.engine.Observe(packet, now) {
		r := found.Rule
		meaning := alert.Meaning{Severity: r.Severity, Summary: r.Summary, Runbook: r.Runbook}
		subjects := []alert.Subject{found.Subject}
		if found.OfAllAlike {
			subjects = d.tracker.Alike(found.Subject, r.By)
			for _, over := range subjects { // or what is told once more would make it hold again
				d.engine.Forget(over.ID())
			}
		}
		for _, subject := range subjects {
			if changed := d.tracker.Observe(subject, meaning, termsOf(r), found.Observation); changed != nil {
				d.note(*changed, now)
			}
		}
	}
	d.objectives.Observe(packet, now)
}

func termsOf(r *rules.Rule) alert.Terms {
	return alert.Terms{Count: r.Count, For: r.For, Linger: r.Linger, Quiet: r.Quiet, Absent: r.Absent}
}

// note passes on that an alert has begun to fire, or has ended.
func (d *Desk) note(a alert.Alert, now time.Time) {
	d.unsaved = true
	for _, name := range d.receiversOf(a) {
		d.planner.Note(name, a, now, view{d, now})
	}
	d.figures.changes.WithLabelValues(string(a.State)).Inc()
	log := d.logger.With("rule", a.Rule, "source", a.Source, "labels", a.Labels, "alert", a.ID)
	if a.State == alert.Firing {
		log.Warn("alert fires", "severity", a.Severity, "since", a.Since, "detail", a.Detail)
	} else {
		log.Info("alert has ended", "reason", a.Reason, "lasted", a.Ended.Sub(a.Since).Round(time.Millisecond))
	}
	d.say(alertPacket(a))
	nudge(d.changed)
	nudge(d.urgent)
}

// receiversOf are those who are told of an alert that fires; of one that has ended all, of whom
// those are told who heard of it.
func (d *Desk) receiversOf(a alert.Alert) (names []string) {
	if a.State == alert.Firing {
		return d.receiversOfRule(a.Rule)
	}
	for _, receiver := range d.file.Receivers {
		names = append(names, receiver.Name)
	}
	return names
}

func (d *Desk) receiversOfRule(name string) []string {
	if rule := d.byName[name]; rule != nil {
		return rule.Receivers
	}
	for _, o := range d.file.Objectives {
		if o.Name == name {
			return o.Receivers
		}
	}
	return nil
}

// nudge lets who waits look again.
func nudge(who chan<- struct{}) {
	select {
	case who <- struct{}{}:
	default: // it will
	}
}
