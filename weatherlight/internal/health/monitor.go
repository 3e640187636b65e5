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

// bus is the connection to the bus; *oona.Client is one.
type bus interface {
	Ping(ctx context.Context) error
	Health() oona.Health
	Drops() []oona.Drop
	// ClockOffset is how far the clock of the bus is ahead of ours.
	ClockOffset() (ahead, uncertainty time.Duration, known bool)
	Stalls() []oona.Stall
}

// Crew is who works, and since when those that take one item after the other have had one
// and finished nothing; the zero time when they have none.
type Crew struct {
	Status func() []supervise.Status
	Job    func() (name string, since time.Time) // of maintenance
	Packet func() time.Time                      // of telemetry
	Outbox func(context.Context) (since time.Time, err error)
}

// server is what the server of the bus is asked.
type server struct {
	// Trouble is why the bus takes no writes, and how it gives up keys for want of memory;
	// nil: neither is so.
	Trouble func(context.Context) (refuses, evicts error)
	// Unusable are the streams that cannot be used, each with the cause.
	Unusable func(context.Context) map[string]error
}

// runs tell which of them are in trouble; *control.Room is one.
type runs interface {
	// Contested are those for which two trainers have reported since, each with the trainer
	// that is refused.
	Contested(since time.Time) map[string]string
	// Damaged are those that could not be decided on since, each with the cause.
	Damaged(since time.Time) map[string]string
}

// Losses are what was said and reached nobody, as counted so far.
type Losses struct {
	// Packets of telemetry: for want of room under "", and those that the bus refused by
	// who made them.
	Packets func() map[string]int64
	// Lines of the log; nil: none ever are.
	Lines func() int64
}

// Config is what a Monitor looks at. Nissa is optional.
type Config struct {
	Workers Crew
	Bus     bus
	Server  server
	// Library asks the kernel library for a sign of life.
	Library func(context.Context) error
	// Outbox is how many messages on disk the bus has not taken, and will never take.
	Outbox func(context.Context) (waiting, refused int, err error)
	// Place is why this instance has no place among those on the bus, nil when it has one.
	Place func() error
	// Paths are the folders and files that are written to, and are to stay those that they
	// are when the monitor is made.
	Paths []string
	Lost  Losses
	// Failures are how often each maintenance job failed so far.
	Failures func() map[string]int64
	// Signals are the segments of shared memory that cannot be used, by path.
	Signals func() map[string]error
	Runs    runs
	// Nissa is why the Nissa that is asked is not ready; nil: none is asked.
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
