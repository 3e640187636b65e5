package runs

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// Events that say what a record holds, or repeat what they said before.
const (
	eventStage  = "seed_stage"
	eventGate   = "gate_event"
	eventEnding = "rollback_ready"
	eventAlarm  = "alarm"

	// kasmina is who decides on runs, as its packets name it.
	kasmina = "kasmina"

	// eventDecision has what a controller was handed, and what came of it, as its attribute.
	eventDecision       = "decision_recorded"
	attributeTranscript = "transcript"
)

// repeated are events that every packet of their kind carries, or that say what another
// message does: they belong to no feed.
var repeated = map[string]bool{
	eventStage: true, eventAlarm: true, eventDecision: true, "blend_config": true, "worker_error": true, "emergency_last_reason": true,
	"command_issued": true, "tamiyo_annotations": true, // the command itself is in the feed
}

// runOf is the run that a packet is about.
func runOf(p *leyline.TelemetryPacket) string {
	return p.GetSystemHealth().GetIndicators()["training_run_id"]
}

// packet takes what a part tells of itself.
func (b *Batch) packet(m *Message, p *leyline.TelemetryPacket) {
	at := m.date(p.GetTimestamp())
	run := name(runOf(p))
	b.source(p, at, run)
	for _, event := range alarmsOf(p) {
		b.alarm(event, at, p.GetSourceSubsystem())
	}
	if run != "" {
		b.run(run, at).Emergency.follow(p, at)
	}
	if decided := eventNamed(p, eventDecision).GetAttributes()[attributeTranscript]; run != "" && isTranscript(decided) {
		b.addDecision(Decision{Run: run, At: at, Transcript: decided})
	}
	if seed := b.seed(run, name(p.GetSystemHealth().GetIndicators()["seed_id"]), at); seed != nil {
		b.seedPacket(seed, p, at)
	}
	for _, event := range feedOf(p) {
		e := eventOf(event, p, at)
		b.addEvent(e)
		b.Runs[e.Run].follow(event, at)
	}
}

// follow takes Kasmina's word for the emergency of a run, unless it is older than what is known.
func (e *Emergency) follow(p *leyline.TelemetryPacket, at time.Time) {
	if p.GetSourceSubsystem() != kasmina || at.Before(e.HeldAt) {
		return
	}
	told := p.GetSystemHealth().GetIndicators()
	level := strings.ToLower(strings.TrimPrefix(text(told["emergency"], maxID), "EMERGENCY_LEVEL_"))
	*e = Emergency{Held: level, HeldFor: text(told["emergency_reason"], maxText), HeldAt: at}
}

// isTranscript says whether a text can be one: it is kept as it is, in letters and digits.
func isTranscript(s string) bool {
	return s != "" && len(s) <= maxTranscript && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// eventsOf are the events of a packet that are looked at.
func eventsOf(p *leyline.TelemetryPacket) []*leyline.TelemetryEvent {
	events := p.GetEvents()
	return events[:min(len(events), MaxEvents)]
}

// feedOf are the events of a packet that belong to the feed.
func feedOf(p *leyline.TelemetryPacket) (events []*leyline.TelemetryEvent) {
	for _, event := range eventsOf(p) {
		if !repeated[event.GetDescription()] {
			events = append(events, event)
		}
	}
	return events
}

// runOfEvent is the run that an event is about: its packet's, or the one that it names.
func runOfEvent(p *leyline.TelemetryPacket, event *leyline.TelemetryEvent) string {
	return name(cmp.Or(runOf(p), event.GetAttributes()["training_run_id"]))
}

func eventOf(event *leyline.TelemetryEvent, p *leyline.TelemetryPacket, at time.Time) Event {
	attributes := event.GetAttributes()
	e := Event{
		Run: runOfEvent(p, event), Seed: name(attributes["seed_id"]), At: at, Kind: KindEvent, Name: text(event.GetDescription(), maxID),
		Source: name(p.GetSourceSubsystem()), Level: levelName(event.GetLevel()), Details: details(attributes),
	}
	if event.GetDescription() == eventGate {
		e.Kind, e.Name = KindGate, strings.TrimPrefix(text(attributes["gate"], maxID), "SEED_GATE_")
		delete(e.Details, "gate")
	}
	delete(e.Details, "seed_id")
	delete(e.Details, "training_run_id")
	return e
}

func levelName(level leyline.TelemetryLevel) string {
	if level == leyline.TelemetryLevel_TELEMETRY_LEVEL_UNSPECIFIED {
		return "info"
	}
	return strings.ToLower(strings.TrimPrefix(level.String(), "TELEMETRY_LEVEL_"))
}

// seedPacket follows a seed by what Kasmina tells of it.
func (b *Batch) seedPacket(s *Seed, p *leyline.TelemetryPacket, at time.Time) {
	if blueprint := p.GetSystemHealth().GetIndicators()["blueprint_id"]; blueprint != "" {
		s.Blueprint = name(blueprint)
	}
	if ending := eventNamed(p, eventEnding); ending != nil {
		s.Reason = text(ending.GetAttributes()["reason"], maxText)
	}
	if told := eventNamed(p, eventStage); told != nil {
		s.Kasmina = true
		b.stage(s, stageName(told.GetAttributes()["stage"]), at, name(p.GetSourceSubsystem()))
		if alpha, err := strconv.ParseFloat(told.GetAttributes()["alpha"], 64); err == nil && !s.StageTold.After(at) {
			s.Alpha = Number(alpha)
		}
	}
}

func eventNamed(p *leyline.TelemetryPacket, description string) *leyline.TelemetryEvent {
	for _, event := range p.GetEvents() {
		if event.GetDescription() == description {
			return event
		}
	}
	return nil
}

// stage takes a seed to a stage. What is told late is noted, and changes only since when a
// seed can have been in the one that it is in.
func (b *Batch) stage(s *Seed, to string, at time.Time, source string) {
	if _, is := leyline.SeedLifecycleStage_value["SEED_STAGE_"+to]; !is { // nor is it counted by any text
		return
	}
	told := later(s.StageAt, s.StageTold)
	if to == s.Stage {
		s.StageTold = later(told, at)
		return
	}
	b.addEvent(Event{Run: s.Run, Seed: s.ID, At: at, Kind: KindStage, Name: to, Source: source, Level: "info",
		Details: details(map[string]string{"blueprint": s.Blueprint, "slot": s.Slot, "reason": s.Reason})})
	if compareStages(told, s.Stage, at, to) < 0 {
		b.Runs[s.Run].moved(s.Stage, to)
		s.Stage, s.StageAt, s.StageTold = to, at, at
	} else if at.After(s.StageAt) {
		s.StageAt = told
	}
}

// compareStages says which of two stages comes first. A decision may take a seed through
// several at one time, of which the urgent ones overtake the others on the bus.
func compareStages(at time.Time, stage string, otherAt time.Time, other string) int {
	return cmp.Or(at.Compare(otherAt), cmp.Compare(rank(stage), rank(other)))
}

// rank is the place of a stage in the life of a seed, at whose end it is dormant again.
func rank(stage string) int32 {
	if stage == "DORMANT" {
		return math.MaxInt32
	}
	return leyline.SeedLifecycleStage_value["SEED_STAGE_"+stage]
}

// moved counts seeds by their stages.
func (r *Run) moved(from, to string) {
	if r.Seeds == nil {
		r.Seeds = make(map[string]int)
	}
	r.Seeds[to]++
	if r.Seeds[from]--; r.Seeds[from] <= 0 {
		delete(r.Seeds, from)
	}
}

// stageName is a stage without the prefix of its enumeration.
func stageName(stage string) string {
	return strings.TrimPrefix(text(stage, maxID), "SEED_STAGE_")
}

// source notes that a source was heard, and of its newest packet about no run what it says.
func (b *Batch) source(p *leyline.TelemetryPacket, at time.Time, run string) {
	id := sender(p)
	s := b.Sources[id]
	if s == nil {
		s = &Source{Name: id, FirstAt: at, LastAt: at}
		b.Sources[id] = s
	}
	s.Packets++
	s.FirstAt, s.LastAt = earlier(s.FirstAt, at), later(s.LastAt, at)
	if run == "" && !at.Before(s.FiguresAt) {
		s.FiguresAt, b.latest[id] = at, p
	}
}

// sender is who says it: a subsystem, and of several services of one bus which.
func sender(p *leyline.TelemetryPacket) string {
	subsystem, instance := p.GetSourceSubsystem(), p.GetSystemHealth().GetIndicators()["instance"]
	if instance == "" {
		return name(subsystem)
	}
	return name(subsystem + "/" + instance)
}

// show takes over what a source's newest packet says.
func (s *Shown) show(p *leyline.TelemetryPacket) {
	health := p.GetSystemHealth()
	s.Health = strings.ToLower(strings.TrimPrefix(health.GetStatus().String(), "HEALTH_STATUS_"))
	s.Summary = text(health.GetSummary(), maxText)
	s.Indicators = details(health.GetIndicators())
	s.Figures = pointsOf(p)
}

// pointsOf are the figures that are kept of a packet.
func pointsOf(p *leyline.TelemetryPacket) []Figure {
	points := p.GetMetrics()
	kept := make([]Figure, 0, min(len(points), maxPoints))
	for _, point := range points[:min(len(points), maxPoints)] {
		kept = append(kept, Figure{
			Name: text(point.GetName(), maxID), Value: Number(point.GetValue()), Unit: text(point.GetUnit(), maxID),
			Labels: details(point.GetAttributes()),
		})
	}
	return kept
}

// alarmsOf are the alarms that a packet says are raised.
func alarmsOf(p *leyline.TelemetryPacket) (alarms []*leyline.TelemetryEvent) {
	for _, event := range eventsOf(p) {
		if event.GetDescription() == eventAlarm {
			alarms = append(alarms, event)
		}
	}
	return alarms
}

func keyOfAlarm(event *leyline.TelemetryEvent) AlarmKey {
	return AlarmKey{name(event.GetAttributes()["alarm"]), name(event.GetAttributes()["subject"])}
}

// alarm notes that one is raised. One that nobody told of for a while is raised anew.
func (b *Batch) alarm(event *leyline.TelemetryEvent, at time.Time, source string) {
	key, attributes := keyOfAlarm(event), event.GetAttributes()
	known := b.Alarms[key]
	if known != nil && at.Before(known.LastAt) {
		return
	}
	a := Alarm{
		Name: key.Name, Subject: key.Subject, Severity: text(attributes["severity"], maxID), LastAt: at,
		Detail: text(attributes["detail"], maxText),
	}
	seconds, err := strconv.ParseFloat(attributes["since"], 64)
	if err == nil && seconds > 0 && seconds <= float64(at.Add(skew).Unix()) {
		a.Since = time.UnixMilli(int64(seconds * 1e3)).UTC()
	}
	if known == nil || !known.Raised(at) {
		b.addEvent(Event{At: at, Kind: KindAlarm, Name: a.Name, Source: name(source), Level: levelName(event.GetLevel()),
			Details: details(map[string]string{"subject": a.Subject, "severity": a.Severity, "detail": a.Detail})})
	}
	b.Alarms[key] = &a
}
