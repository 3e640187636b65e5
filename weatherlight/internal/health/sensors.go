package health

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/lease"
	"github.com/esper-lite/weatherlight/supervise"
)

// sensor looks for one kind of trouble.
type sensor struct {
	condition string
	sample    func(context.Context) []finding
}

// sensors look at every part of the service.
func sensors(c Config) []sensor {
	workers := &workerSensor{status: c.Workers.Status, restarts: make(map[string]int)}
	dropped := &riseSensor{count: c.Telemetry.Lost}
	jobs := &riseSensor{count: c.Workers.Failures}
	refused := &riseSensor{count: func() map[string]int64 { return refusedMessages(c.Bus.Drops()) }}
	all := []sensor{
		{alarmDiskFull, func(context.Context) []finding { return fullDisks(c.Files.Folders) }},
		{alarmReplaced, func(context.Context) []finding { return replaced(c.Files.InPlace) }},
		{alarmBusDown, answers(c.Bus.Ping)},
		{alarmUnwritable, rarely(answers(c.Server.Refuses))},
		{alarmEvicting, rarely(answers(c.Server.Evicts))},
		{alarmNoStream, rarely(func(ctx context.Context) []finding {
			ctx, cancel := context.WithTimeout(ctx, patience) // one that is silent keeps no other alarm waiting
			defer cancel()
			return unusable(c.Server.Unusable(ctx))
		})},
		{alarmLibraryDown, rarely(answers(c.Library))},
		{alarmStranger, func(context.Context) []finding { return outcast(c.Place(), true) }},
		{alarmNoLease, func(context.Context) []finding { return outcast(c.Place(), false) }},
		{alarmPaused, stalled(c.Bus.Stalls, oona.StallNeeds)},
		{alarmUnanswered, stalled(c.Bus.Stalls, oona.StallAnswers)},
		{alarmUnread, stalled(c.Bus.Stalls, oona.StallReading)},
		{alarmWorkerDown, workers.down},
		{alarmCircuitOpen, workers.open},
		{alarmCircuitOpen, func(context.Context) []finding { return openBreakers(c.Bus.Health()) }},
		{alarmWorkerFails, workers.failing},
		{alarmWorkStuck, standstills(c.inHand)},
		{alarmDropping, dropped.sample},
		{alarmJobFails, jobs.sample},
		{alarmSignal, func(context.Context) []finding { return unusable(c.Signals()) }},
		{alarmUndelivered, rarely(undeliverable(c.Outbox.Waiting))},
		{alarmContested, inTrouble(c.Runs.Contested, "trainer %q reports too, and is refused")},
		{alarmDamagedRun, inTrouble(c.Runs.Damaged, "%s")},
		{alarmClocks, func(context.Context) []finding { return clocksApart(c.Bus.ClockOffset()) }},
		{alarmRefusing, refused.sample},
		{alarmNissaDown, answers(func(context.Context) error { return c.Nissa() })},
	}
	if c.LogLost != nil {
		lines := &riseSensor{count: func() map[string]int64 { return map[string]int64{"": c.LogLost()} }}
		all = append(all, sensor{alarmLogLost, lines.sample})
	}
	if c.Files.Certificate != nil {
		all = append(all, sensor{alarmExpiring, rarely(ending(c.Files.Certificate, false))},
			sensor{alarmExpired, rarely(ending(c.Files.Certificate, true))})
	}
	return all
}

// probeInterval is the pause between two questions that cost a query.
const probeInterval = 5 * time.Second

// rarely makes a sensor that asks at most once in probeInterval while all is well. What it
// found is asked again in each round: a trouble must last to be an alarm, and an
// answer that is repeated says nothing of that.
func rarely(sample func(context.Context) []finding) func(context.Context) []finding {
	var asked time.Time
	var found []finding
	return func(ctx context.Context) []finding {
		now := time.Now()
		if len(found) > 0 || asked.IsZero() || now.Sub(asked) >= probeInterval-interval/2 {
			found, asked = sample(ctx), now
		}
		return found
	}
}

// answers finds a part that gives no sign of life in time, also when nobody else
// asks it anything.
func answers(ping func(context.Context) error) func(context.Context) []finding {
	return func(ctx context.Context) []finding {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := ping(ctx); err != nil {
			return []finding{{detail: err.Error()}}
		}
		return nil
	}
}

// inTrouble finds runs of which something was noted lately, and says it in a format.
func inTrouble(since func(time.Time) map[string]string, format string) func(context.Context) []finding {
	return func(context.Context) []finding {
		noted := since(time.Now().Add(-2 * interval))
		var found []finding
		for _, run := range slices.Sorted(maps.Keys(noted)) {
			found = append(found, finding{run, fmt.Sprintf(format, noted[run])})
		}
		return found
	}
}

// undeliverable finds messages that the bus will never accept. They stay in the
// file until a person has looked at them.
func undeliverable(outbox func(context.Context) (waiting, refused int, err error)) func(context.Context) []finding {
	return func(ctx context.Context) []finding {
		_, refused, err := outbox(ctx)
		if err != nil || refused == 0 {
			return nil // A file that cannot be read is told of as work that stands still.
		}
		return []finding{{detail: fmt.Sprintf("%d messages in outbox.db were refused for good", refused)}}
	}
}

// outcast finds an instance that has no place among the others: because a stranger
// leads them, or for another reason.
func outcast(err error, stranger bool) []finding {
	if err == nil || errors.Is(err, lease.ErrStranger) != stranger {
		return nil
	}
	return []finding{{detail: err.Error()}}
}

// mayBeApart is how far the clock of the bus may be from ours: half of what makes
// messages of peers that go by yet another clock look as if they came from the future.
const mayBeApart = 2500 * time.Millisecond

// clocksApart finds a bus whose clock is certainly too far from ours.
func clocksApart(ahead, uncertainty time.Duration, known bool) []finding {
	if !known || ahead.Abs()-uncertainty <= mayBeApart {
		return nil
	}
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	return []finding{{detail: fmt.Sprintf("the clock of the bus is %v %s ours", ahead.Abs().Round(time.Millisecond), direction)}}
}

// unusable finds what cannot be used: segments of shared memory by their paths, or streams.
func unusable(faults map[string]error) []finding {
	var found []finding
	for _, subject := range slices.Sorted(maps.Keys(faults)) {
		found = append(found, finding{subject, faults[subject].Error()})
	}
	return found
}

// cutOff says since how many failures; a breaker that probes has none to count.
func cutOff(direction string, failures int) string {
	if failures == 0 {
		return direction + " is cut off, and probed"
	}
	return fmt.Sprintf("%s failed %d times in a row", direction, failures)
}

func openBreakers(bus oona.Health) []finding {
	var found []finding
	if bus.PublishState == leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN {
		found = append(found, finding{"oona_publish", cutOff("publishing", bus.PublishFailures)})
	}
	if bus.ConsumeState == leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN {
		found = append(found, finding{"oona_consume", cutOff("reading", bus.ConsumeFailures)})
	}
	return found
}

// fullDisks asks whether the folders that are written to have room.
func fullDisks(paths []string) []finding {
	var found []finding
	for _, folder := range paths {
		if detail := lackOfRoom(folder, minFreeDisk); detail != "" {
			found = append(found, finding{folder, detail})
		}
	}
	return found
}

// lackOfRoom says in words what a folder's disk lacks, or nothing.
func lackOfRoom(folder string, wanted uint64) string {
	var disk unix.Statfs_t
	if err := unix.Statfs(folder, &disk); err != nil {
		return "look at " + folder + ": " + err.Error()
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < wanted { //nolint:gosec // a block has a size
		return fmt.Sprintf("%d MiB free, want %d", free>>20, wanted>>20)
	}
	if disk.Files > 0 && disk.Ffree == 0 {
		return "no inode free"
	}
	return ""
}

// replaced asks who has files open whether these are still under their names: what is
// written to others is lost.
func replaced(inPlace map[string]func() error) []finding {
	faults := make(map[string]error)
	for owner, ask := range inPlace {
		if err := ask(); err != nil {
			faults[owner] = err
		}
	}
	return unusable(faults)
}

// ending finds a certificate that has ended, or one that is about to.
func ending(certificate func() (ends time.Time, warning string), ended bool) func(context.Context) []finding {
	return func(context.Context) []finding {
		ends, warning := certificate()
		if warning == "" || time.Now().Before(ends) == ended {
			return nil
		}
		return []finding{{detail: warning}}
	}
}

// stalled finds the streams of which nothing is finished, for one kind of reason.
func stalled(stalls func() []oona.Stall, kind string) func(context.Context) []finding {
	return func(context.Context) []finding {
		var found []finding
		for _, stall := range stalls() {
			if stall.Kind == kind {
				found = append(found, finding{stall.Stream, stall.Cause})
			}
		}
		return found
	}
}

// refusedMessages counts the dead letters by their reason.
func refusedMessages(drops []oona.Drop) map[string]int64 {
	counts := make(map[string]int64)
	for _, drop := range drops {
		counts[drop.Reason] += drop.Count
	}
	return counts
}

// riseSensor finds a counter that rose since the last sample.
type riseSensor struct {
	count func() map[string]int64
	last  map[string]int64
}

func (r *riseSensor) sample(context.Context) []finding {
	counts := r.count()
	var found []finding
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if rise := counts[name] - r.last[name]; rise > 0 {
			found = append(found, finding{name, fmt.Sprintf("%d so far", counts[name])})
		}
	}
	r.last = counts
	return found
}

// workerSensor finds workers that do not work. A worker is in one kind of
// trouble at a time.
type workerSensor struct {
	status   func() []supervise.Status
	restarts map[string]int // as of the last sample
}

func (w *workerSensor) down(context.Context) []finding {
	return w.find(func(s supervise.Status) bool {
		return s.State == supervise.Failed || s.State == supervise.Abandoned
	})
}

func (w *workerSensor) open(context.Context) []finding {
	return w.find(func(s supervise.Status) bool { return s.Circuit == supervise.Open && !s.State.AtRest() })
}

// failing also finds the worker that failed and came back between two samples.
func (w *workerSensor) failing(context.Context) []finding {
	return w.find(func(s supervise.Status) bool {
		restarted := s.Restarts > w.restarts[s.Name]
		w.restarts[s.Name] = s.Restarts
		waits := s.State == supervise.BackingOff || s.State == supervise.Starting && s.Streak > 0
		return s.Circuit != supervise.Open && (waits || restarted)
	})
}

func (w *workerSensor) find(in func(supervise.Status) bool) []finding {
	var found []finding
	for _, status := range w.status() {
		if in(status) {
			found = append(found, finding{status.Name, status.LastError})
		}
	}
	return found
}
