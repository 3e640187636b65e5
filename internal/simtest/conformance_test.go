package simtest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/oona/oonatest"
	"github.com/esper-lite/weatherlight/supervise"
)

// TestBusPassesTheSuite holds the simulation's bus to what every bus must do for package oona, through package oona's own
// client.
func TestBusPassesTheSuite(t *testing.T) {
	oonatest.Run(t, oonatest.Features{AnswersOnce: true}, func(t *testing.T) oonatest.Server {
		bus := emptyBus(t)
		ctx, stop := context.WithCancel(context.Background())
		var clock sync.WaitGroup
		clock.Go(func() { _ = bus.broker.Run(ctx) })
		t.Cleanup(clock.Wait)
		t.Cleanup(stop)
		return oonatest.Server{URL: bus.broker.URL()}
	})
}

// rows are the rows of the suite that are about groups, retries, claims, replays, crashes and stops: what the consumers
// of the simulation, which are not package oona's client, must do as well.
var rows = []struct {
	name string
	run  func(*testing.T, *rig)
}{
	{"WhatWasPublishedBeforeTheFirstStartIsDelivered", rowHistory},
	{"ReadyAfterErrorOfTheSameRequestIsStillAnAnswer", rowSpaces},
	{"ReplayIsRefusedAlsoAfterRestart", rowReplay},
	{"SameRequestTwiceInOneBatchIsAnsweredOnce", rowSameBatch},
	{"RetriedRequestIsNotItsOwnReplay", rowRetryIsNoReplay},
	{"RetryInOneGroupIsInvisibleToAnother", rowGroupsApart},
	{"RetriesWaitBetweenAttempts", rowBackoff},
	{"ExhaustedAndPermanentFailuresAreKept", rowGivingUp},
	{"WorkOfACrashedConsumerIsTakenOver", rowClaim},
	{"OwnPendingEntriesComeFirstAfterARestart", rowOwnPending},
	{"EntryThatKillsItsProcessIsGivenUp", rowCrashLoop},
	{"EntryOwnedTwiceIsAnsweredOnce", rowOwnedTwice},
	{"AbandonedHandlerAnswersOnce", rowAbandoned},
	{"StopFinishesWhatWasRead", rowDrain},
	{"StopIsPromptWhileABlockedReadWaits", rowPromptStop},
	{"ConsumerHealsAfterFlush", rowHeals},
}

func TestConsumerConforms(t *testing.T) {
	source, err := os.ReadFile("../../oona/oonatest/oonatest.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if !strings.Contains(string(source), `"`+row.name+`"`) {
				t.Errorf("package oonatest has no row of that name any more")
			}
			bus := emptyBus(t)
			synctest.Test(t, func(t *testing.T) { row.run(t, &rig{t: t, bus: bus}) })
		})
	}
}

// rig is a bus with consumers of the stream "s".
type rig struct {
	t   *testing.T
	bus *Bus

	mu   sync.Mutex
	seen []string // "name attempt", in order
}

// began and the methods after it make a rig the witness of its consumers.
func (r *rig) began(string)                {}
func (r *rig) ended(string)                {}
func (r *rig) deaf(string, time.Time)      {}
func (r *rig) lingers(string)              {}
func (r *rig) acknowledged(string, string) {}

func (r *rig) body(consumer string, handler func(Entry) error) *body {
	b := &body{
		conn:   &conn{bus: r.bus, session: newSession(), rng: newRand(1, consumer)},
		stream: "s", group: "g", consumer: consumer, answerTo: []string{"answers"}, witness: r, strays: &sync.WaitGroup{},
		retries: make(map[ID]time.Time), mishap: mishap{at: time.Now().Add(1000 * time.Hour)},
	}
	b.handler = func(_ context.Context, e Entry) error {
		r.mu.Lock()
		r.seen = append(r.seen, fmt.Sprintf("%s %d", e.Name, e.Deliveries))
		r.mu.Unlock()
		return handler(e)
	}
	return b
}

// consume runs a body, under a supervisor, until the returned function is called.
func (r *rig) consume(b *body) (stop func()) {
	supervisor := supervise.New(supervise.Config{Rand: newRand(1)})
	spec := supervise.Spec{Name: b.consumer, Worker: supervise.WorkerFunc(b.run)}
	if err := supervisor.Start(r.t.Context(), spec); err != nil {
		r.t.Fatal(err)
	}
	return func() {
		if err := supervisor.Stop(context.Background()); err != nil {
			r.t.Error(err)
		}
	}
}

// through consumes for a while.
func (r *rig) through(b *body, while time.Duration) {
	stop := r.consume(b)
	waitUntil(time.Now().Add(while), nil, nil, nil)
	stop()
}

func (r *rig) publish(names ...string) {
	r.bus.mu.Lock()
	defer r.bus.mu.Unlock()
	for _, name := range names {
		r.add("s", name)
	}
}

func (r *rig) add(stream, name string) {
	if _, err := r.bus.add(Message{Stream: stream, Name: name}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) entries(stream string) []Entry {
	r.t.Helper()
	entries, err := r.bus.entries(stream)
	if err != nil {
		r.t.Fatal(err)
	}
	return entries
}

// strand reads all there is for a consumer that does nothing about it.
func (r *rig) strand(consumer string) {
	r.bus.mu.Lock()
	defer r.bus.mu.Unlock()
	err := r.bus.createGroup("s", "g")
	if err == nil {
		_, err = r.bus.fetch("s", "g", consumer, 1000)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// want checks what handlers saw, the names answered, the reasons of dead letters, and that nothing is pending.
func (r *rig) want(seen, answered, dead string) {
	r.t.Helper()
	synctest.Wait()
	if got := strings.Join(r.seen, ", "); got != seen {
		r.t.Errorf("handled %q, want %q", got, seen)
	}
	var causes, reasons []string
	for _, e := range r.entries("answers") {
		causes = append(causes, e.Cause.Name)
	}
	for _, e := range r.entries(deadLetters) {
		reasons = append(reasons, e.Reason)
	}
	if got := strings.Join(causes, " "); got != answered {
		r.t.Errorf("answered %q, want %q", got, answered)
	}
	if got := strings.Join(reasons, " "); got != dead {
		r.t.Errorf("dead letters %q, want %q", got, dead)
	}
	if pending, err := r.bus.pending("s", "g"); err != nil || len(pending) > 0 {
		r.t.Errorf("pending %v, %v", pending, err)
	}
}

func succeed(Entry) error { return nil }

// failing fails the first n attempts.
func failing(n int) func(Entry) error {
	return func(e Entry) error {
		if e.Deliveries <= n {
			return errLater
		}
		return nil
	}
}

func rowHistory(_ *testing.T, r *rig) {
	r.publish("early")
	r.through(r.body("c", succeed), time.Second)
	r.want("early 1", "early", "")
}

func rowSpaces(_ *testing.T, r *rig) {
	r.publish("r")
	other := r.body("c", succeed)
	other.stream = "t"
	r.add("t", "r")
	r.through(other, time.Second)
	r.through(r.body("c", succeed), time.Second)
	r.want("r 1, r 1", "r r", "")
}

func rowReplay(_ *testing.T, r *rig) {
	r.publish("r")
	r.through(r.body("c", succeed), time.Second)
	r.publish("r")
	r.through(r.body("c", succeed), time.Second)
	r.want("r 1, r 1", "r", reasonReplay)
}

func rowSameBatch(_ *testing.T, r *rig) {
	r.publish("r", "r", "q")
	r.through(r.body("c", succeed), time.Second)
	r.want("r 1, r 1, q 1", "r q", reasonReplay)
}

func rowRetryIsNoReplay(_ *testing.T, r *rig) {
	r.publish("r")
	r.through(r.body("c", failing(2)), time.Minute)
	r.want("r 1, r 2, r 3", "r", "")
}

func rowGroupsApart(t *testing.T, r *rig) {
	r.publish("m")
	other := r.body("c", failing(3))
	other.group = "other"
	stop := r.consume(other)
	r.through(r.body("c", succeed), time.Minute)
	stop()
	r.want("m 1, m 1, m 2, m 3, m 4", "m m", "")
	if n := len(r.entries("s")); n != 1 {
		t.Errorf("%d entries", n)
	}
}

func rowBackoff(t *testing.T, r *rig) {
	r.publish("m")
	var times []time.Time
	r.through(r.body("c", func(e Entry) error {
		times = append(times, time.Now())
		return failing(3)(e)
	}), time.Minute)
	r.want("m 1, m 2, m 3, m 4", "m", "")
	for i := range 3 {
		if gap := times[i+1].Sub(times[i]); gap != retryBackoff<<i {
			t.Errorf("pause %d was %v", i+1, gap)
		}
	}
}

func rowGivingUp(_ *testing.T, r *rig) {
	r.publish("weak", "hopeless", "good")
	r.through(r.body("c", func(e Entry) error {
		switch e.Name {
		case "weak":
			return errLater
		case "hopeless":
			return errPermanent
		}
		return nil
	}), time.Minute)
	r.want("weak 1, hopeless 1, good 1, weak 2, weak 3, weak 4, weak 5", "good", "permanent exhausted")
}

func rowClaim(_ *testing.T, r *rig) {
	r.publish("a", "b")
	r.strand("dead")
	r.through(r.body("c", succeed), 2*claimPeriod)
	r.want("a 2, b 2", "a b", "")
}

func rowOwnPending(_ *testing.T, r *rig) {
	var names, want []string
	for i := range 3 * batchSize {
		names = append(names, fmt.Sprintf("m%d", i))
		want = append(want, fmt.Sprintf("m%d 2", i))
	}
	r.publish(names...)
	r.strand("c")
	r.publish("new")
	r.through(r.body("c", succeed), time.Second)
	r.want(strings.Join(append(want, "new 1"), ", "), strings.Join(append(names, "new"), " "), "")
}

func rowCrashLoop(_ *testing.T, r *rig) {
	r.publish("m")
	b := r.body("c", func(Entry) error { return errCrash })
	b.mishap.kind = fails
	r.through(b, time.Minute)
	r.want("m 1, m 2, m 3, m 4, m 5", "", exhausted)
}

func rowOwnedTwice(_ *testing.T, r *rig) {
	r.publish("r")
	release := make(chan struct{})
	slow := r.body("slow", func(Entry) error {
		<-release
		return nil
	})
	stop := r.consume(slow)
	waitUntil(time.Now().Add(2*claimIdle), nil, nil, nil)
	r.through(r.body("quick", succeed), 2*claimPeriod)
	close(release)
	stop()
	r.want("r 1, r 2", "r", "")
}

func rowAbandoned(_ *testing.T, r *rig) {
	r.publish("r")
	release := make(chan struct{})
	stop := r.consume(r.body("c", func(Entry) error {
		<-release
		return nil
	}))
	waitUntil(time.Now().Add(time.Second), nil, nil, nil)
	r.through(r.body("c", succeed), time.Second) // the next run of the same consumer
	close(release)
	stop()
	r.want("r 1, r 2", "r", "")
}

func rowDrain(_ *testing.T, r *rig) {
	r.publish("a", "b", "c")
	begun := make(chan struct{}, 3)
	stop := r.consume(r.body("c", func(Entry) error {
		begun <- struct{}{}
		waitUntil(time.Now().Add(time.Second), nil, nil, nil)
		return nil
	}))
	<-begun
	r.publish("late")
	stop()
	r.want("a 1, b 1, c 1", "a b c", "")
}

func rowPromptStop(t *testing.T, r *rig) {
	stop := r.consume(r.body("c", succeed))
	waitUntil(time.Now().Add(time.Second), nil, nil, nil)
	begun := time.Now()
	stop()
	if took := time.Since(begun); took > 0 {
		t.Errorf("stopping took %v", took)
	}
}

func rowHeals(_ *testing.T, r *rig) {
	stop := r.consume(r.body("c", succeed))
	r.publish("before")
	waitUntil(time.Now().Add(time.Second), nil, nil, nil)
	r.bus.mu.Lock()
	_, err := r.bus.do("FLUSHALL")
	r.bus.mu.Unlock()
	if err != nil {
		r.t.Fatal(err)
	}
	r.publish("after")
	waitUntil(time.Now().Add(2*time.Second), nil, nil, nil)
	stop()
	r.want("before 1, after 1", "after", "")
	if slices.Contains(r.seen, "before 2") {
		r.t.Error("what was flushed came back")
	}
}
