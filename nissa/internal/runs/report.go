package runs

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Keys of training_metrics by which a trainer tells of a model that it trains beside the
// run without growing it.
const (
	baselineLoss     = "baseline_loss"
	baselineAccuracy = "baseline_accuracy"
)

func statesOf(p *leyline.SystemStatePacket) []*leyline.SeedState {
	states := p.GetSeedStates()
	return states[:min(len(states), maxSeeds)]
}

// report takes a trainer's report.
func (b *Batch) report(m *Message, p *leyline.SystemStatePacket) {
	said, ok := readReport(m, p.GetTrainingRunId())
	if !ok {
		return
	}
	r := b.run(name(p.GetTrainingRunId()), m.At)
	if !r.admit(&said, m.At) {
		r.Refused++
		return
	}
	report := reportOf(m, p, said)
	report.Run = r.ID
	for _, state := range statesOf(p) {
		b.seedState(m, p, r, state, said.Grafts[state.GetSeedId()])
	}
	b.addReport(r, report)
	r.Reports++
	r.Spark = r.Spark.with(report.Loss)
	if report.Loss.Known() && !(r.Best <= report.Loss) {
		r.Best = report.Loss
	}
	if m.At.Before(r.Reported) {
		return
	}
	r.noteInterval(m.At)
	r.Reported, r.Epoch, r.Step = m.At, report.Epoch, report.Step
	r.Source, r.Experiment = name(p.GetSourceSubsystem()), text(p.GetExperimentName(), maxID)
	r.Halted = p.GetTrainingMetrics()[trainer.MetricHalted] >= 1
	if report.Loss.Known() || report.Accuracy.Known() {
		r.Loss, r.Accuracy = report.Loss, report.Accuracy
	}
	if slots := slotsOf(said); slots != nil {
		r.Slots = slots
	}
}

// slotsOf has texts that may be kept.
func slotsOf(said trainer.Report) map[string][]int {
	if len(said.Slots) == 0 {
		return nil
	}
	slots := make(map[string][]int, len(said.Slots))
	for slot, shape := range said.Slots {
		slots[name(slot)] = shape
	}
	return slots
}

func reportOf(m *Message, p *leyline.SystemStatePacket, said trainer.Report) Report {
	r := Report{
		At: m.At, Trainer: name(said.TrainerID), Number: count(said.Number), Epoch: p.GetCurrentEpoch(), Step: count(p.GetGlobalStep()),
		TrainLoss: told(p.GetTrainingLoss()), Loss: None(), Accuracy: None(), HostLoss: None(), HostAccuracy: None(),
		BaselineLoss:     pick(p.GetTrainingMetrics(), baselineLoss),
		BaselineAccuracy: pick(p.GetTrainingMetrics(), baselineAccuracy),
		Metrics:          figures(p.GetTrainingMetrics()),
	}
	// Both 0 is the protocol's word for a report between two validations.
	if p.GetValidationLoss() != 0 || p.GetValidationAccuracy() != 0 {
		r.Loss, r.Accuracy = Number(p.GetValidationLoss()), Number(p.GetValidationAccuracy())
	}
	for _, state := range statesOf(p) {
		if loss := pick(state.GetMetrics(), trainer.MetricLossBefore); loss.Known() {
			r.HostLoss, r.HostAccuracy = loss, pick(state.GetMetrics(), trainer.MetricAccuracyBefore)
			break
		}
	}
	return r
}

// seedState takes what a report says of one seed.
func (b *Batch) seedState(m *Message, p *leyline.SystemStatePacket, r *Run, state *leyline.SeedState, graft trainer.Graft) {
	s := b.seed(r.ID, name(state.GetSeedId()), m.At)
	if s == nil {
		return
	}
	stage := stageName(state.GetStage().String())
	alpha := pick(state.GetMetrics(), trainer.MetricAlpha)
	metrics := figures(state.GetMetrics())
	delete(metrics, trainer.MetricAlpha)
	if _, measured := metrics[trainer.MetricGradientNorm]; !measured && state.GetGradientNorm() != 0 {
		if metrics == nil {
			metrics = make(map[string]Number, 1)
		}
		metrics[trainer.MetricGradientNorm] = Number(state.GetGradientNorm())
	}
	b.addPoint(r, Point{Run: s.Run, Seed: s.ID, At: m.At, Epoch: p.GetCurrentEpoch(), Step: count(p.GetGlobalStep()),
		Stage: stage, Alpha: alpha, Metrics: metrics})
	if m.At.Before(s.LastAt) {
		return
	}
	for _, word := range []struct {
		kept *string
		said string
	}{{&s.Blueprint, graft.Blueprint}, {&s.Slot, graft.Slot}, {&s.Kernel, graft.Checksum}} {
		if word.said != "" {
			*word.kept = name(word.said)
		}
	}
	s.Paused = state.GetMetrics()[trainer.MetricPaused] >= 1
	if alpha.Known() {
		s.Alpha = alpha
	}
	if !s.Kasmina {
		b.stage(s, stage, m.At, name(p.GetSourceSubsystem()))
	}
}

// command takes a command of a controller or an operator.
func (b *Batch) command(m *Message, p *leyline.AdaptationCommand) {
	annotations := p.GetAnnotations()
	run := name(annotations[trainer.AnnotationRun])
	kept := maps.Clone(annotations)
	if kept == nil {
		kept = make(map[string]string)
	}
	kept["command_id"], kept["issued_by"] = p.GetCommandId(), p.GetIssuedBy()
	operation := strings.TrimPrefix(p.GetCommandType().String(), "COMMAND_")
	if seed := p.GetSeedOperation(); seed != nil {
		operation = strings.TrimPrefix(seed.GetOperation().String(), "SEED_OP_")
		kept["blueprint"] = seed.GetBlueprintId()
		addParameters(kept, seed.GetParameters())
	}
	addParameters(kept, p.GetOptimizerAdjustment().GetHyperparameters())
	if rationale := p.GetCircuitBreaker().GetRationale(); rationale != "" {
		kept["rationale"] = rationale
	}
	delete(kept, trainer.AnnotationRun)
	kind := KindCommand
	if order, err := trainer.ReadOrder(p); err == nil {
		kind, operation = KindOrder, string(order.Kind)
	}
	ordered := kind == KindOrder && m.Stream == trainer.Stream(annotations[trainer.AnnotationRun])
	if known := b.Runs[run]; ordered && known != nil && !entryAfter(m.Entry, known.LastOrder) {
		return // read again from the beginning of its stream, by a process that has begun anew
	}
	r := b.run(run, m.At)
	if ordered {
		r.LastOrder = m.Entry
	}
	if s := b.seed(run, name(p.GetTargetSeedId()), m.At); s != nil {
		fill(&s.Blueprint, name(p.GetSeedOperation().GetBlueprintId()))
		fill(&s.Slot, name(annotations[trainer.AnnotationSlot]))
	}
	b.addEvent(Event{Run: run, Seed: name(p.GetTargetSeedId()), At: m.At, Kind: kind, Name: operation,
		Source: name(p.GetIssuedBy()), Level: "info", Details: details(kept)})
}

func addParameters(to map[string]string, parameters map[string]float32) {
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		to["parameter_"+key] = strconv.FormatFloat(float64(parameters[key]), 'g', -1, 32)
	}
}

func fill(word *string, with string) {
	if *word == "" {
		*word = with
	}
}

// fieldReport takes what became of a seed.
func (b *Batch) fieldReport(m *Message, p *leyline.FieldReport) {
	at := m.date(p.GetIssuedAt())
	run, outcome := name(p.GetTrainingRunId()), strings.TrimPrefix(p.GetOutcome().String(), "FIELD_REPORT_OUTCOME_")
	kept := map[string]string{
		"report_id": p.GetReportId(), "command_id": p.GetCommandId(), "blueprint": p.GetBlueprintId(), "notes": p.GetNotes(),
		"policy_version": p.GetTamiyoPolicyVersion(), "window": strconv.FormatUint(uint64(p.GetObservationWindowEpochs()), 10),
	}
	for key, value := range p.GetMetrics() {
		kept["metric_"+key] = strconv.FormatFloat(float64(value), 'g', -1, 32)
	}
	b.run(run, at)
	if s := b.seed(run, name(p.GetSeedId()), at); s != nil {
		s.Outcome = outcome
		fill(&s.Reason, text(p.GetNotes(), maxText))
		fill(&s.Blueprint, name(p.GetBlueprintId()))
	}
	b.addEvent(Event{Run: run, Seed: name(p.GetSeedId()), At: at, Kind: KindFieldReport, Name: outcome,
		Source: "tamiyo", Level: "info", Details: details(kept)})
}

// emergency takes an emergency signal.
func (b *Batch) emergency(m *Message, p *leyline.EmergencySignal) {
	kept := maps.Clone(p.GetAttributes())
	if kept == nil {
		kept = make(map[string]string)
	}
	kept["reason"] = p.GetReason()
	level := "warning"
	if p.GetLevel() >= leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE {
		level = "critical"
	}
	b.addEvent(Event{Run: name(p.GetRunId()), At: m.At, Kind: KindEmergency, Source: name(p.GetOrigin()), Level: level,
		Name: strings.TrimPrefix(p.GetLevel().String(), "EMERGENCY_LEVEL_"), Details: details(kept)})
}
