package weatherlight

import (
	"context"
	"errors"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
)

const (
	// reportsQueued bounds the alarms that wait for their report; beyond it each
	// monitor merges its own.
	reportsQueued = 8
	// reportRetry is the pause before a report that found no room is tried again.
	reportRetry = 50 * time.Millisecond
)

// signalPoller looks at the segments of all monitors in turn, on one goroutine:
// what polling costs is the waking up, not the looking.
type signalPoller struct{ monitors []*signalMonitor }

// Run polls until ctx is done. Segments that are not there yet are waited for.
func (p *signalPoller) Run(ctx context.Context) (err error) {
	sleeper, err := newWaker()
	if err != nil {
		return err
	}
	p.listen(sleeper.bell)
	defer func() { err = errors.Join(err, p.leave(), sleeper.Close()) }()
	return sleeper.run(ctx, func() time.Duration {
		p.hear(sleeper.bell.touches())
		return p.look()
	})
}

// listen has a bell watch what is attached from now on.
func (p *signalPoller) listen(b *bell) {
	for _, m := range p.monitors {
		m.segment.bell = b
	}
}

// hear tells the monitors what the bell told.
func (p *signalPoller) hear(touches []touch) {
	for _, t := range touches {
		for _, m := range p.monitors {
			m.hear(t)
		}
	}
}

// look gives each monitor its turn, and returns the pause until the next one's.
func (p *signalPoller) look() time.Duration {
	now := time.Now()
	next := now.Add(signalRest)
	for _, m := range p.monitors {
		if due := m.turn(now); due.Before(next) {
			next = due
		}
	}
	return time.Until(next)
}

func (p *signalPoller) leave() error {
	var failures []error
	for _, m := range p.monitors {
		failures = append(failures, m.leave())
	}
	p.listen(nil)
	return errors.Join(failures...)
}

// signalReporter reports alarms beside the poller: a report goes to disk, and
// the next signal must not wait for that.
type signalReporter struct {
	queue   chan func() bool
	pending func() bool // in hand: it survives a restart of the worker
}

func newSignalReporter() *signalReporter {
	return &signalReporter{queue: make(chan func() bool, reportsQueued)}
}

// offering makes a report one that is done here. It returns false when too many
// wait already.
func (r *signalReporter) offering(report func(alarm) bool) func(alarm) bool {
	return func(a alarm) bool {
		select {
		case r.queue <- func() bool { return report(a) }:
			return true
		default:
			return false
		}
	}
}

// Run reports until ctx is done, and then what is still queued.
func (r *signalReporter) Run(ctx context.Context) error {
	for r.next(ctx) {
		for !r.pending() {
			if !sleep(ctx, reportRetry) {
				return nil
			}
		}
		r.pending = nil
	}
	return nil
}

// next takes up the next report; false means that there is nothing more to do.
func (r *signalReporter) next(ctx context.Context) bool {
	if r.pending != nil {
		return true
	}
	select {
	case r.pending = <-r.queue:
		return true
	default:
	}
	select {
	case r.pending = <-r.queue:
		return true
	case <-ctx.Done():
		return false
	}
}

// signalWorkers watch the shared memory of a trainer on this machine, when there
// is a name to watch. The reporter stops last: it reports what the poller held.
func (s *Service) signalWorkers() []supervise.Spec {
	s.attachMonitors()
	if len(s.signals) == 0 {
		return nil
	}
	return []supervise.Spec{
		{Name: workerSignalReports, Worker: s.signalReports},
		{Name: workerSignals, Worker: &signalPoller{monitors: s.signals}},
	}
}

// attachMonitors makes the monitors once: they keep what they know over
// restarts.
func (s *Service) attachMonitors() {
	if s.signalReports != nil {
		return
	}
	s.signalReports = newSignalReporter()
	names := s.settings.Tolaria
	if names.RollbackSignal != "" {
		s.rollbackSignal = &signalMonitor{
			segment: newSegment(sharedMemoryDir, names.RollbackSignal, deadlineSize),
			decode:  decodeDeadline,
			damper:  damper{cooldown: rollbackCooldown},
			report:  s.signalReports.offering(func(a alarm) bool { return s.raiseAlarm(a.rollbackPacket()) }),
		}
		s.signals = append(s.signals, s.rollbackSignal)
	}
	if names.EmergencySignal != "" {
		s.emergencySignal = &signalMonitor{
			segment: newSegment(sharedMemoryDir, names.EmergencySignal, emergencySize),
			decode:  decodeEmergency,
			damper:  damper{cooldown: emergencyCooldown},
			report:  s.signalReports.offering(s.sharedEmergency),
		}
		s.signals = append(s.signals, s.emergencySignal)
	}
}

// lookAtSignals finds the segments that cannot be used.
func (s *Service) lookAtSignals(context.Context) []finding {
	var found []finding
	for _, m := range s.signals {
		if err := m.unusable(); err != nil {
			found = append(found, finding{m.segment.path, err.Error()})
		}
	}
	return found
}
