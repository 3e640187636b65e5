package runs

import (
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// SeedKey names a seed of a run.
type SeedKey struct{ Run, Seed string }

// AlarmKey names what an alarm is about.
type AlarmKey struct{ Name, Subject string }

// Batch is what messages come to: the records that they are about, as they are after them,
// and what is new.
type Batch struct {
	Runs   map[string]*Run // also one without an id, of what belongs to none
	Seeds  map[SeedKey]*Seed
	Alarms map[AlarmKey]*Alarm

	// Sources have what is new of each: the packets are added to those that were counted,
	// and figures take the place of those of a packet that was made before.
	Sources map[string]*Source

	Reports   []Report
	Points    []Point
	Events    []Event
	Decisions []Decision
	Unjudged  []Unjudged

	latest map[string]*leyline.TelemetryPacket // about no run, by source
}

// NewBatch is for messages: it names the records that they are about, each of which is nil
// until what is known of it is put there.
func NewBatch(messages []Message) *Batch {
	b := &Batch{
		Runs: make(map[string]*Run), Seeds: make(map[SeedKey]*Seed),
		Alarms: make(map[AlarmKey]*Alarm), Sources: make(map[string]*Source),
		latest: make(map[string]*leyline.TelemetryPacket),
	}
	for i := range messages {
		b.name(&messages[i])
	}
	return b
}

// name names the records that a message is about.
func (b *Batch) name(m *Message) {
	var run string
	var seeds []string
	switch p := m.Payload.(type) {
	case *leyline.TelemetryPacket:
		b.nameEvents(p)
		if run = runOf(p); run == "" {
			return
		}
		seeds = []string{p.GetSystemHealth().GetIndicators()["seed_id"]}
	case *leyline.SystemStatePacket:
		run = p.GetTrainingRunId()
		for _, state := range statesOf(p) {
			seeds = append(seeds, state.GetSeedId())
		}
	case *leyline.AdaptationCommand:
		run, seeds = p.GetAnnotations()[trainer.AnnotationRun], []string{p.GetTargetSeedId()}
	case *leyline.FieldReport:
		run, seeds = p.GetTrainingRunId(), []string{p.GetSeedId()}
	case *leyline.EmergencySignal:
		run = p.GetRunId()
	default:
		return
	}
	run = name(run)
	b.Runs[run] = nil
	for _, seed := range seeds {
		if run != "" && seed != "" {
			b.Seeds[SeedKey{run, name(seed)}] = nil
		}
	}
}

// nameEvents names what the events of a packet are about.
func (b *Batch) nameEvents(p *leyline.TelemetryPacket) {
	for _, event := range alarmsOf(p) {
		b.Alarms[keyOfAlarm(event)] = nil
		b.Runs[""] = nil
	}
	for _, event := range feedOf(p) {
		b.Runs[runOfEvent(p, event)] = nil
	}
}

// Apply takes messages in, in the order in which the bus stored them.
func (b *Batch) Apply(messages []Message) {
	ordered := slices.Clone(messages)
	slices.SortStableFunc(ordered, func(x, y Message) int { return x.At.Compare(y.At) })
	for i := range ordered {
		m := &ordered[i]
		m.At = m.At.Truncate(time.Microsecond).UTC() // as exact as it is kept
		if m.Judge != "" {
			b.Unjudged = append(b.Unjudged, Unjudged{Body: m.Judge})
		}
		switch payload := m.Payload.(type) {
		case *leyline.TelemetryPacket:
			b.packet(m, payload)
		case *leyline.SystemStatePacket:
			b.report(m, payload)
		case *leyline.AdaptationCommand:
			b.command(m, payload)
		case *leyline.FieldReport:
			b.fieldReport(m, payload)
		case *leyline.EmergencySignal:
			b.emergency(m, payload)
		}
	}
	for source, packet := range b.latest {
		b.Sources[source].show(packet)
	}
}

// run is the record of a run that was heard of.
func (b *Batch) run(id string, at time.Time) *Run {
	r := b.Runs[id]
	if r == nil {
		unknown := Progress{Loss: None(), Accuracy: None(), Best: None()}
		r = &Run{ID: id, FirstAt: at, LastAt: at, KeptFrom: at, Progress: unknown, Spark: Spark{Loss: []Number{}}, Bytes: RecordBytes}
		b.Runs[id] = r
	}
	if r.KeptFrom.Equal(r.FirstAt) {
		r.KeptFrom = earlier(r.KeptFrom, at)
	}
	r.FirstAt, r.LastAt = earlier(r.FirstAt, at), later(r.LastAt, at)
	return r
}

// seed is the record of a seed that was heard of, nil without a name or a run.
func (b *Batch) seed(run, id string, at time.Time) *Seed {
	if run == "" || id == "" {
		return nil
	}
	key := SeedKey{run, id}
	s := b.Seeds[key]
	if s == nil {
		s = &Seed{Run: run, ID: id, Alpha: None(), FirstAt: at, LastAt: at}
		b.Seeds[key] = s
		b.Runs[run].Bytes += RecordBytes
	}
	s.FirstAt, s.LastAt = earlier(s.FirstAt, at), later(s.LastAt, at)
	return s
}

// About what is stored: a record, a row beside its texts with its indexes, a figure beside
// its name.
const (
	RecordBytes = 1024
	RowBytes    = 160
	figureBytes = 16
)

func (b *Batch) addEvent(e Event) {
	size := RowBytes + len(e.Run) + len(e.Seed) + len(e.Name)
	for key, value := range e.Details {
		size += len(key) + len(value) + figureBytes/2
	}
	b.run(e.Run, e.At).Bytes += int64(size)
	b.Events = append(b.Events, e)
}

func (b *Batch) addDecision(d Decision) {
	b.run(d.Run, d.At).Bytes += int64(RowBytes + len(d.Run) + len(d.Transcript))
	b.Decisions = append(b.Decisions, d)
}

func (b *Batch) addReport(r *Run, report Report) {
	r.Bytes += int64(RowBytes + len(report.Run) + sizeOf(report.Metrics))
	b.Reports = append(b.Reports, report)
}

func (b *Batch) addPoint(r *Run, point Point) {
	r.Bytes += int64(RowBytes + len(point.Run) + len(point.Seed) + sizeOf(point.Metrics))
	b.Points = append(b.Points, point)
}

func sizeOf(metrics map[string]Number) (size int) {
	for key := range metrics {
		size += len(key) + figureBytes
	}
	return size
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
