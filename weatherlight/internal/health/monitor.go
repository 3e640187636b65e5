// Package health finds what is wrong with a service, and says so once.
//
// A [Monitor] looks at every part once a second and turns what holds for long enough into an
// [Alarm]: causes explain symptoms, blips are none. [Workers] sums up the workers, and says with
// the alarms how well the service is. The service runs Monitor; its status page and its summary
// packet show what it found.
package health

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/telemetry"
)

const (
	// interval is the pause between two rounds of looking for trouble.
	interval = time.Second
	// patience bounds the look at the bus, or at the library, of one round.
	patience = time.Second
	// minFreeDisk is what the journals and one round of kernels want, in bytes.
	minFreeDisk = 64 << 20
)

// Crew is who works, in workers and in maintenance jobs.
type Crew struct {
	Status func() []supervise.Status
	// Job is the one in hand, since when; the zero time when there is none.
	Job func() (name string, since time.Time)
	// Failures are how often each job failed so far.
	Failures func() map[string]int64
}

// Files are what is written to, and the certificate. Certificate is optional.
type Files struct {
	Folders []string // whose disks need room
	// InPlace ask who has files or folders open, by what they are for, whether these were
	// removed or replaced.
	InPlace map[string]func() error
	// Certificate is when that of the HTTP side ends, or zero, and what is to be said of that.
	Certificate func() (ends time.Time, warning string)
}

// Config is what a Monitor looks at. LogLost is optional.
type Config struct {
	Workers Crew
	// Bus is the connection to the bus.
	Bus interface {
		Ping(ctx context.Context) error
		Health() oona.Health
		Drops() []oona.Drop
		// ClockOffset is how far the clock of the bus is ahead of ours.
		ClockOffset() (ahead, uncertainty time.Duration, known bool)
		Stalls() []oona.Stall
	}
	// Server is the server of the bus.
	Server interface {
		// Refuses is why it takes no writes.
		Refuses(ctx context.Context) error
		// Evicts is how it gives up keys for want of memory.
		Evicts(ctx context.Context) error
		// Unusable are the streams that cannot be used, each with the cause.
		Unusable(ctx context.Context) map[string]error
	}
	// Library asks the kernel library for a sign of life.
	Library func(context.Context) error
	// Outbox is the messages on disk.
	Outbox interface {
		// Oldest is since when they have waited and none was taken by the bus, or zero; with
		// an error since when their file fails.
		Oldest(ctx context.Context) (since time.Time, err error)
		// Waiting is how many the bus has not taken, and will never take.
		Waiting(ctx context.Context) (waiting, refused int, err error)
	}
	// Telemetry is the way of packets to the bus.
	Telemetry interface {
		// InHand is since when it has had a packet that the bus has not taken, or zero.
		InHand() time.Time
		// Lost are the packets that reached nobody so far: for want of room under "", and those
		// that the bus refused by who made them.
		Lost() map[string]int64
	}
	// LogLost is how many lines of the log reached nobody so far; nil: none ever do.
	LogLost func() int64
	// Place is why this instance has no place among those on the bus, nil when it has one.
	Place func() error
	Files Files
	// Signals are the segments of shared memory that cannot be used, by path.
	Signals func() map[string]error
	// Runs tell which of them are in trouble.
	Runs interface {
		// Contested are those for which two trainers have reported since, each with the trainer
		// that is refused.
		Contested(since time.Time) map[string]string
		// Damaged are those that could not be decided on since, each with the cause.
		Damaged(since time.Time) map[string]string
	}
	// Nissa is why the Nissa that is asked is not ready, nil when none is asked.
	Nissa func() error

	// Maintenance is the time from one round of maintenance jobs to the next.
	Maintenance time.Duration
	Clock       cadence.Clock
	Logger      *slog.Logger
}

// Monitor looks for trouble once an interval and keeps the alarms. It logs
// an alarm once when it is raised and once when it has ended.
type Monitor struct {
	config  Config
	sensors []sensor
	tracker *tracker
}

// New has looked at nothing yet.
func New(config Config) *Monitor {
	return &Monitor{config: config, sensors: sensors(config), tracker: newTracker(conditions(config.Maintenance))}
}

// Run looks until ctx is done.
func (m *Monitor) Run(ctx context.Context) error {
	m.round(ctx)
	cadence.Every(ctx, m.config.Clock, interval, m.round)
	return nil
}

func (m *Monitor) round(ctx context.Context) {
	// Side by side: one part that does not answer keeps nobody from telling of another.
	sampled := make([][]finding, len(m.sensors))
	var looking sync.WaitGroup
	for i, s := range m.sensors {
		looking.Go(func() { sampled[i] = s.sample(ctx) })
	}
	looking.Wait()
	found := make(map[string][]finding)
	for i, s := range m.sensors {
		found[s.condition] = append(found[s.condition], sampled[i]...)
	}
	if ctx.Err() != nil {
		return // What failed now failed because of the stop.
	}
	for _, change := range m.tracker.observe(time.Now(), found) {
		m.log(change)
	}
}

func (m *Monitor) log(change alarmChange) {
	logger := m.config.Logger.With("alarm", change.Name, "subject", change.Subject)
	if change.ended {
		logger.Info("alarm ended", "lasted", time.Since(change.Since).Round(time.Millisecond))
		return
	}
	logger.Warn("alarm", "severity", change.Severity, "since", change.Since, "detail", change.Detail)
}

// Alarms are those that are raised, causes and earlier ones first; never nil.
func (m *Monitor) Alarms() []Alarm { return m.tracker.alarms() }

// Figures count the raised alarms of each kind: 0 is well.
func (m *Monitor) Figures() []telemetry.Figure { return []telemetry.Figure{m.tracker.figure()} }

// Hindrance is the first raised alarm that says that work cannot be done now, or nothing.
func (m *Monitor) Hindrance() string {
	for _, alarm := range m.tracker.alarms() {
		if alarm.Severity == severityCritical && !alarm.Gone {
			said := slices.DeleteFunc([]string{alarm.Name, alarm.Subject, alarm.Detail}, func(part string) bool { return part == "" })
			return strings.Join(said, ": ")
		}
	}
	return ""
}
