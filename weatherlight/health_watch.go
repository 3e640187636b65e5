package weatherlight

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
)

const (
	// healthInterval is the pause between two rounds of looking for trouble.
	healthInterval = time.Second
	// healthPatience bounds the look at the bus of one round.
	healthPatience = time.Second
	// minFreeDisk is what the journals and one round of kernels want.
	minFreeDisk = 64 << 20
)

// sensor looks for one kind of trouble.
type sensor struct {
	condition string
	look      func(context.Context) []finding
}

// healthWatch looks for trouble once an interval and keeps the alarms. It logs
// an alarm once when it is raised and once when it has ended.
type healthWatch struct {
	sensors []sensor
	book    *alarmBook
	logger  *slog.Logger
	rhythm  cadence.Phase
}

// Run looks until ctx is done.
func (h *healthWatch) Run(ctx context.Context) error {
	h.round(ctx)
	cadence.Every(ctx, h.rhythm, healthInterval, h.round)
	return nil
}

func (h *healthWatch) round(ctx context.Context) {
	found := make(map[string][]finding)
	for _, s := range h.sensors {
		found[s.condition] = append(found[s.condition], s.look(ctx)...)
	}
	if ctx.Err() != nil {
		return // What failed now failed because of the stop.
	}
	for _, change := range h.book.observe(time.Now(), found) {
		h.log(change)
	}
}

func (h *healthWatch) log(change alarmChange) {
	logger := h.logger.With("alarm", change.Name, "subject", change.Subject)
	if change.ended {
		logger.Info("alarm ended", "lasted", time.Since(change.Since).Round(time.Millisecond))
		return
	}
	logger.Warn("alarm", "severity", change.Severity, "since", change.Since, "detail", change.Detail)
}

// alarms are the raised ones; before there is a watch there are none.
func (h *healthWatch) alarms() []Alarm {
	if h == nil {
		return []Alarm{}
	}
	return h.book.alarms()
}

func (h *healthWatch) points() []metrics.Point {
	if h == nil {
		return nil
	}
	return h.book.points()
}

// newHealthWatch looks at every part of the service.
func (s *Service) newHealthWatch() *healthWatch {
	workers := &workerSensor{status: s.supervisor.Status, restarts: make(map[string]int)}
	dropped := &riseSensor{count: s.droppedPackets}
	chores := &riseSensor{count: s.chores.Failures}
	refused := &riseSensor{count: s.refusedMessages}
	sensors := []sensor{
		{alarmDiskFull, s.lookAtDisks},
		{alarmBusDown, s.lookAtBus},
		{alarmLibraryDown, rarely(s.lookAtLibrary)},
		{alarmWorkerDown, workers.down},
		{alarmCircuitOpen, workers.open},
		{alarmCircuitOpen, s.lookAtBreakers},
		{alarmWorkerFails, workers.failing},
		{alarmDropping, dropped.look},
		{alarmChoreFails, chores.look},
		{alarmSignal, s.lookAtSignals},
		{alarmUndelivered, rarely(s.lookAtOutbox)},
		{alarmContested, contested(s.runs)},
		{alarmRefusing, refused.look},
	}
	if s.nissa != nil {
		sensors = append(sensors, sensor{alarmNissaDown, s.nissa.look})
	}
	return &healthWatch{
		sensors: sensors,
		book:    newAlarmBook(alarmConditions(s.settings.Weatherlight.HousekeepingInterval)),
		logger:  s.logger,
		rhythm:  s.rhythm(),
	}
}

func (s *Service) lookAtBus(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	if err := s.bus.Ping(ctx); err != nil {
		return []finding{{detail: err.Error()}}
	}
	return nil
}

func (s *Service) lookAtBreakers(context.Context) []finding {
	var found []finding
	health := s.bus.Health()
	if health.PublishState == leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN {
		found = append(found, finding{"oona_publish", fmt.Sprintf("%d publishes failed in a row", health.PublishFailures)})
	}
	if health.ConsumeState == leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN {
		found = append(found, finding{"oona_consume", fmt.Sprintf("%d reads failed in a row", health.ConsumeFailures)})
	}
	return found
}

// lookAtDisks asks whether the folders that are written to have room.
func (s *Service) lookAtDisks(context.Context) []finding {
	folders := []string{s.settings.Weatherlight.DataDir, s.tamiyoDir()}
	if s.settings.Urza.ArtifactURL.Reveal() == "" {
		folders = append(folders, s.settings.Urza.ArtifactDir)
	}
	var found []finding
	for _, folder := range folders {
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

func (s *Service) droppedPackets() map[string]int64 {
	return map[string]int64{"": s.telemetry.dropped.Load()}
}

// refusedMessages counts what only a person can mend: another secret on the
// bus, or a message that no retry helps.
func (s *Service) refusedMessages() map[string]int64 {
	counts := map[string]int64{deadletter.ReasonUnsigned: 0, deadletter.ReasonBadSignature: 0, deadletter.ReasonExhausted: 0}
	for _, drop := range s.bus.Drops() {
		if _, counted := counts[drop.Reason]; counted {
			counts[drop.Reason] += drop.Count
		}
	}
	return counts
}

// riseSensor finds a counter that rose since the last look.
type riseSensor struct {
	count func() map[string]int64
	last  map[string]int64
}

func (r *riseSensor) look(context.Context) []finding {
	counts := r.count()
	var found []finding
	for _, name := range sortedNames(counts) {
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
	restarts map[string]int // as of the last look
}

func (w *workerSensor) down(context.Context) []finding {
	return w.find(func(s supervise.Status) bool {
		return s.State == supervise.Failed || s.State == supervise.Abandoned
	})
}

func (w *workerSensor) open(context.Context) []finding {
	return w.find(func(s supervise.Status) bool { return s.Circuit == supervise.Open && !s.State.AtRest() })
}

// failing also finds the worker that failed and came back between two looks.
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
