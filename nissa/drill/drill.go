// Package drill raises and clears every rule of a file and every objective, end to end: packets go
// over a bus of their own to a Nissa of their own, and notifications to a receiver that stands for
// all. Nobody outside hears of it.
package drill

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/signing"
)

// Config is what is drilled.
type Config struct {
	Rules  []byte // the file
	Folder string // of the files that it names
	// Patience is how long an alert may take to arrive; default 20 s.
	Patience time.Duration
	Logger   *slog.Logger
}

// Result is what came of one rule, or objective.
type Result struct {
	Rule      string
	Receivers []string // at which it arrived, and its end
	Raised    time.Duration
	Cleared   time.Duration
	Fault     string // why it has not arrived, or not ended; empty: it has
}

// run is a drill under way.
type run struct {
	config Config
	broker *embedded.Broker
	hook   *hook
	bus    *oona.Client
}

// Run drills, and returns what came of each rule in the order of the file.
func Run(ctx context.Context, config Config) (results []Result, err error) {
	config.Patience = cmp.Or(max(config.Patience, 0), 20*time.Second)
	config.Logger = cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	r := &run{config: config}
	if r.hook, err = listen(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.hook.close()) }()
	text, err := rules.Rehearsal(config.Rules, config.Folder, r.hook.urlOf)
	if err != nil {
		return nil, err
	}
	file, err := rules.Parse(text, "")
	if err != nil {
		return nil, fmt.Errorf("the rehearsal: %w", err)
	}
	if r.broker, err = embedded.Start(embedded.Config{}); err != nil {
		return nil, err
	}
	defer func() { r.broker.Close() }()
	secret := rand.Text()
	if r.bus, err = r.connect(ctx, secret, "drill"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.bus.Close()) }()
	err = r.beside(ctx, secret, text, func(ctx context.Context) { results = r.all(ctx, file) })
	return results, err
}

func (r *run) connect(ctx context.Context, secret, group string) (*oona.Client, error) {
	keys, err := signing.NewKeyring(secret)
	if err != nil {
		return nil, err
	}
	return oona.Connect(ctx, oona.Config{URL: r.broker.URL(), Group: group, Consumer: "drill", Keyring: keys, Logger: r.config.Logger})
}

// beside does something while a Nissa runs.
func (r *run) beside(ctx context.Context, secret string, text []byte, do func(context.Context)) error {
	bus, err := r.connect(ctx, secret, "nissa-service")
	if err != nil {
		return err
	}
	service, err := nissa.New(nissa.Config{
		Bus: bus, HTTP: nissa.HTTP{Addr: "127.0.0.1:0"}, Logger: r.config.Logger,
		Alerts: &nissa.Alerts{Rules: func() ([]byte, string, error) { return text, "", nil }},
	})
	if err != nil {
		return errors.Join(err, bus.Close())
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan error, 1)
	go func() {
		err := service.Run(ctx)
		stop(err) // what is done beside it ends with it
		ended <- err
	}()
	do(ctx)
	stop(nil)
	return errors.Join(<-ended, bus.Close())
}

// all drills those that packets raise at once, and then those that need an outage.
func (r *run) all(ctx context.Context, file *rules.File) []Result {
	now := time.Now()
	var scripts []script
	for i := range file.Rules {
		if rule := &file.Rules[i]; rule.Name != rules.Refused {
			scripts = append(scripts, scriptOf(rule, now))
		}
	}
	for i := range file.Objectives {
		scripts = append(scripts, ofObjective(&file.Objectives[i], now))
	}
	results := make([]Result, len(scripts))
	raised := make([]time.Time, len(scripts))
	for i, s := range scripts {
		results[i] = Result{Rule: s.name, Receivers: s.receivers, Fault: s.fault}
		if s.fault == "" && !s.outage && !s.refusal {
			raised[i] = r.publish(ctx, []*leyline.TelemetryPacket{s.raise}, &results[i])
		}
	}
	for i, s := range scripts {
		if !raised[i].IsZero() {
			r.arrives(ctx, s, raised[i], &results[i])
		}
	}
	for i, s := range scripts {
		if s.refusal {
			r.refusal(ctx, s, &results[i])
		}
	}
	for i, s := range scripts { // without a bus there is no other drill
		if s.outage {
			r.outage(ctx, s, &results[i])
		}
	}
	return results
}

// publish returns when the last packet was on the bus.
func (r *run) publish(ctx context.Context, packets []*leyline.TelemetryPacket, result *Result) time.Time {
	for _, packet := range packets {
		if err := r.bus.PublishTelemetry(ctx, packet, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL); err != nil {
			result.Fault = "it could not be published: " + err.Error()
			return time.Time{}
		}
	}
	return time.Now()
}

// arrives waits until an alert is where it belongs, clears it, and waits for its end.
func (r *run) arrives(ctx context.Context, s script, raised time.Time, result *Result) {
	if result.Raised = r.await(ctx, s, "firing", raised, result); result.Fault != "" {
		return
	}
	cleared := time.Now()
	if s.clear != nil {
		if cleared = r.publish(ctx, s.clear(time.Now()), result); result.Fault != "" {
			return
		}
	}
	result.Cleared = r.await(ctx, s, "resolved", cleared, result)
}

func (r *run) await(ctx context.Context, s script, status string, since time.Time, result *Result) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, r.config.Patience)
	defer cancel()
	var wanted []arrival
	for _, receiver := range s.receivers {
		wanted = append(wanted, arrival{receiver, s.name, s.mark, status})
	}
	last, missing := r.hook.await(ctx, wanted)
	if len(missing) > 0 {
		var names []string
		for _, one := range missing {
			names = append(names, one.receiver)
		}
		result.Fault = fmt.Sprintf("not %s at %s", status, strings.Join(names, ", "))
		return 0
	}
	return max(last.Sub(since), 0)
}

// refusal lets a receiver refuse for a while.
func (r *run) refusal(ctx context.Context, s script, result *Result) {
	r.hook.refuse(rules.Refused, true)
	p := play{rule: &rules.Rule{Event: rules.Refused, Count: 1}, mark: "drill-refused", level: levels[0]}
	since := r.publish(ctx, []*leyline.TelemetryPacket{p.events(0, time.Now(), rules.Refused, 1)}, result)
	if result.Fault == "" {
		result.Raised = r.await(ctx, s, "firing", since, result)
	}
	r.hook.refuse(rules.Refused, false)
	if result.Fault == "" {
		result.Cleared = r.await(ctx, s, "resolved", time.Now(), result)
	}
}

// outage takes the bus away for a while.
func (r *run) outage(ctx context.Context, s script, result *Result) {
	port := r.broker.Port()
	since := time.Now()
	r.broker.Close()
	result.Raised = r.await(ctx, s, "firing", since, result)
	again, err := embedded.Start(embedded.Config{Port: port})
	if err != nil {
		result.Fault = err.Error()
		return
	}
	r.broker = again
	if result.Fault == "" {
		result.Cleared = r.await(ctx, s, "resolved", time.Now(), result)
	}
}
