package runsimtest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// What package oona promises of deliveries.
const (
	attempts   = 5 // errors of its handler until an entry is given up
	firstPause = 250 * time.Millisecond
)

// entry is one message on a stream that the instances share as one group.
type entry struct {
	payload    proto.Message
	attributes map[string]string
	issued     time.Time
	stored     time.Time
	origin     string // who published it, for the auditor
	failures   int
	generation int // of the Redis that it lies on
	settled    bool
}

// lane names deliveries that one consumer handles in order.
type lane struct{ stream, run string }

func (e *entry) lane() lane {
	switch m := e.payload.(type) {
	case *leyline.SystemStatePacket:
		return lane{"normal", m.GetTrainingRunId()}
	case *leyline.AdaptationCommand:
		return lane{"normal", kasmina.RunOfCommand(m)}
	case *leyline.KernelArtifactReady:
		run, _ := kasmina.RunOfRequest(m.GetRequestId())
		return lane{"ready", run}
	case *leyline.KernelArtifactError:
		run, _ := kasmina.RunOfRequest(m.GetRequestId())
		return lane{"errors", run}
	case *leyline.EmergencySignal:
		return lane{"emergency", m.GetRunId()}
	default:
		return lane{}
	}
}

// send puts a message on its stream, with the faults of the moment: it may lie
// there twice, and may be read late.
func (t *town) send(payload proto.Message, attributes map[string]string, issued time.Time, origin string) {
	copies := 1
	if !t.calm && t.chance(t.doubling) {
		copies = 2
		t.counts.Doubled++
	}
	for range copies {
		e := &entry{
			payload: proto.Clone(payload), attributes: attributes, issued: issued, stored: t.now,
			origin: origin, generation: t.generation,
		}
		wait := t.latency()
		if !t.calm && t.chance(t.lateness) {
			wait = t.between(0, pick(t.world, time.Second, 10*time.Second, 70*time.Second))
			t.counts.Late++
		}
		t.after(wait, func() { t.hand(e) })
	}
}

// hand gives an entry to an instance that lives, which may take a while.
func (t *town) hand(e *entry) {
	if e.settled || e.generation != t.generation || t.over {
		return
	}
	var alive []*instance
	for _, in := range t.instances {
		if in.life != nil {
			alive = append(alive, in)
		}
	}
	if len(alive) == 0 || t.busDown {
		t.after(500*time.Millisecond, func() { t.hand(e) })
		return
	}
	alive[t.rand.IntN(len(alive))].take(e)
}

// instance is one of the service's instances, in one life after the other.
type instance struct {
	town *town
	name string
	skew time.Duration // of its idea of the bus's clock
	life *life
	// lanes hold what this consumer has in hand; the first of each is being handled.
	lanes map[lane][]*entry
	tick  int       // the look at the index that counts; older ones are void
	next  time.Time // when that is
}

func (in *instance) clock() time.Time { return in.town.now.Add(in.skew) }

func (in *instance) boot() {
	in.life, in.lanes = newLife(in.town, in), make(map[lane][]*entry)
	in.arm(in.town.between(0, time.Second))
}

// died lets others have what this instance had in hand, and starts it again.
func (in *instance) died() {
	t := in.town
	lease := pick(t.world, 3*time.Second, 3*time.Second, time.Minute)
	lanes := slices.SortedFunc(maps.Keys(in.lanes), func(a, b lane) int {
		return cmp.Or(cmp.Compare(a.stream, b.stream), cmp.Compare(a.run, b.run))
	})
	for _, l := range lanes {
		for _, e := range in.lanes[l] {
			t.after(lease, func() { t.hand(e) })
		}
	}
	in.life, in.lanes = nil, nil
	in.tick++
	t.after(t.between(100*time.Millisecond, 10*time.Second), in.boot)
}

func (in *instance) take(e *entry) {
	l := e.lane()
	in.lanes[l] = append(in.lanes[l], e)
	if len(in.lanes[l]) == 1 {
		in.handle(l)
	}
}

// handle starts the first of a lane.
func (in *instance) handle(l lane) {
	life, e := in.life, in.lanes[l][0]
	var err error
	life.start(
		func() { err = in.town.dispatch(life, e) },
		func() { in.finish(life, l, e, err) },
	)
}

// finish settles an entry, or has it handled again.
func (in *instance) finish(life *life, l lane, e *entry, err error) {
	t := in.town
	if in.life != life {
		return
	}
	switch {
	case err == nil:
		t.audit.handled(e)
	case isPermanent(err):
		t.audit.buried(e, err)
	case e.failures+1 >= attempts:
		t.counts.Exhausted++
		t.audit.exhausted(e, err)
	default:
		e.failures++
		t.after(firstPause<<(e.failures-1), func() {
			if in.life == life {
				in.handle(l)
			}
		})
		return
	}
	// An acknowledgement may be lost with its connection: somebody handles it again.
	if t.busDown || !t.calm && t.chance(t.forgetfulness) {
		t.counts.Redelivered++
		t.after(t.between(time.Second, time.Minute), func() { t.hand(e) })
	} else {
		e.settled = true
	}
	in.lanes[l] = in.lanes[l][1:]
	if len(in.lanes[l]) > 0 {
		in.handle(l)
		return
	}
	delete(in.lanes, l)
}

// dispatch calls the handler of an entry.
func (t *town) dispatch(life *life, e *entry) error {
	ctx := context.Background()
	d := &oona.Delivery{
		Payload: proto.Clone(e.payload), Attributes: e.attributes, Attempt: e.failures + 1,
		Published: e.stored, Issued: e.issued,
	}
	if !t.mishear(d) {
		return nil
	}
	var err error
	switch m := e.payload.(type) {
	case *leyline.SystemStatePacket:
		_, err = life.room.State(ctx, d)
	case *leyline.AdaptationCommand:
		_, err = life.room.Command(ctx, d)
	case *leyline.KernelArtifactReady:
		if control.Answers(d) {
			_, err = life.room.Ready(ctx, d)
		}
	case *leyline.KernelArtifactError:
		if control.Answers(d) {
			_, err = life.room.Refusal(ctx, d)
		}
	case *leyline.EmergencySignal:
		err = life.room.Emergency(ctx, m.GetRunId(), kasmina.Emergency{
			Level: m.GetLevel(), Reason: m.GetReason(), Origin: m.GetOrigin(), ID: e.attributes["id"],
		})
	}
	return err
}

// permanent is the type by which package oona knows an error that no retry cures.
var permanent = reflect.TypeOf(oona.Permanent(errors.New("none")))

func isPermanent(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if reflect.TypeOf(err) == permanent {
			return true
		}
	}
	return false
}

// arm has the instance look for what is due after a while.
func (in *instance) arm(wait time.Duration) {
	in.tick++
	mine := in.tick
	in.next = in.town.now.Add(wait)
	in.town.after(wait, func() {
		if in.life != nil && mine == in.tick {
			in.look()
		}
	})
}

const tickInterval = 250 * time.Millisecond

// look takes up what is due, and comes back when something is.
func (in *instance) look() {
	life := in.life
	life.start(
		func() {
			if err := life.room.Tick(context.Background()); err != nil && !errors.Is(err, errDead) {
				in.town.audit.tickFailed(err)
			}
		},
		func() {
			if in.life != life {
				return
			}
			in.arm(max(tickInterval, in.untilDue()))
		})
}

// untilDue is how long nothing is due; an instance that looked all the time would
// make no difference.
func (in *instance) untilDue() time.Duration {
	next, waits := in.town.store.next(control.PartKasmina)
	if !waits {
		return time.Hour
	}
	return next.Sub(in.town.now) + in.town.between(0, tickInterval)
}

// wake has every instance look earlier, when something comes due earlier.
func (t *town) wake(at time.Time) {
	for _, in := range t.instances {
		if in.life != nil && in.next.After(at.Add(tickInterval)) {
			in.arm(max(at.Sub(t.now), 0) + t.between(0, tickInterval))
		}
	}
}
