package tamiyo

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	stageBlending   = stage(leyline.SeedLifecycleStage_SEED_STAGE_BLENDING)
	stageEmbargoed  = stage(leyline.SeedLifecycleStage_SEED_STAGE_EMBARGOED)
	stageTerminated = stage(leyline.SeedLifecycleStage_SEED_STAGE_TERMINATED)
)

func safe(id string, parameters int) Candidate {
	return Candidate{
		BlueprintID: id, Name: "name of " + id, Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: 0.25, ParameterCount: parameters,
	}
}

func offer(candidates ...Candidate) func([]int) ([]Candidate, error) {
	return func([]int) ([]Candidate, error) { return candidates, nil }
}

// run plays the part of a training run that grows, and of the engine: between
// two reports its record travels as JSON.
type run struct {
	t          testing.TB
	controller *Controller
	candidates func([]int) ([]Candidate, error)
	record     *Record
	now        time.Time
	interval   time.Duration // between reports
	epoch      uint32
	next       State // what the next report tells beside its packet
	hostWork   float32
	decisions  []Decision
}

func newRun(t testing.TB, config Config) *run {
	return &run{
		t: t, controller: NewController(config),
		candidates: offer(safe("BP001", 0), safe("BP002", 100), safe("BP003", 50)),
		now:        time.Unix(1_800_000_000, 0), interval: 10 * time.Second,
		next: State{
			Grows: true, TrainerID: "process-1", HostLayers: []string{"fc1", "fc2"},
			Slots: map[string][]int{"layer1": {64, 7, 7}},
		},
	}
}

// newWatchedRun is one whose trainer only reports.
func newWatchedRun(t testing.TB, config Config) *run {
	r := newRun(t, config)
	r.next = State{}
	return r
}

func packetOf(epoch uint32, loss float32, seeds ...*leyline.SeedState) *leyline.SystemStatePacket {
	return &leyline.SystemStatePacket{
		Version: 1, TrainingRunId: "run-1", CurrentEpoch: epoch, ValidationLoss: loss, ValidationAccuracy: 0.5,
		TimestampNs: uint64(epoch)*1e9 + 1, PacketId: fmt.Sprintf("run-1-%d", epoch),
		SourceSubsystem: "tolaria", SeedStates: seeds,
	}
}

// report sends the next epoch's state.
func (r *run) report(loss float32, seeds ...*leyline.SeedState) Decision {
	r.t.Helper()
	r.epoch++
	r.now = r.now.Add(r.interval)
	state := r.next
	state.Packet = packetOf(r.epoch, loss, seeds...)
	if r.hostWork != 0 {
		state.Packet.TrainingMetrics = map[string]float32{trainer.MetricHostMultiplyAdds: r.hostWork}
	}
	if state.Grows {
		r.next.Number++
		state.Number = r.next.Number
	}
	return r.decide(state)
}

func (r *run) decide(state State) Decision {
	r.t.Helper()
	r.obeys(state)
	decision := r.controller.Decide(r.record, state, r.now, r.candidates)
	r.decisions = append(r.decisions, decision)
	if decision.Record != nil {
		r.record = travelled(r.t, decision.Record)
	}
	return decision
}

// obeys has a report tell that seeds are in the output, or out of it, as was asked for last,
// where it does not say.
func (r *run) obeys(state State) {
	if r.record == nil {
		return
	}
	for _, told := range state.Packet.GetSeedStates() {
		s, known := r.record.seed(told.GetSeedId())
		if _, says := told.GetMetrics()[trainer.MetricPaused]; says || !known || !s.Paused {
			continue
		}
		if told.Metrics == nil {
			told.Metrics = map[string]float32{}
		}
		told.Metrics[trainer.MetricPaused] = 1
	}
}

// fatalf is what testing.TB and rapid.T have in common here.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// travelled is a record on the other side of the bus.
func travelled(t fataler, record *Record) *Record {
	t.Helper()
	data, err := json.Marshal(record)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	arrived, err := DecodeRecord(data)
	if err != nil {
		t.Fatalf("decode %s: %v", data, err)
	}
	if diff := cmp.Diff(record, arrived, cmp.Comparer(equalRecords)); diff != "" {
		t.Fatalf("the record changed on its way: %s", diff)
	}
	return arrived
}

func equalRecords(a, b Record) bool {
	first, err := json.Marshal(a)
	second, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(first) == string(second)
}

// stall reports the same loss until a seed is asked for.
func (r *run) stall() *leyline.AdaptationCommand {
	r.t.Helper()
	for range 10 {
		if decision := r.report(1); len(decision.Commands) > 0 {
			return decision.Commands[0]
		}
	}
	r.t.Fatal("no seed was asked for")
	return nil
}

// restart is another process for the same run, at an epoch.
func (r *run) restart(trainerID string, epoch uint32) {
	r.next.TrainerID, r.next.Number, r.epoch = trainerID, 0, epoch-1
}

func (r *run) last() State {
	state := r.next
	state.Packet = packetOf(r.epoch, 1)
	return state
}

func seedState(id string, at stage) *leyline.SeedState {
	return &leyline.SeedState{SeedId: id, Stage: leyline.SeedLifecycleStage(at)}
}

func measuredSeed(id string, at stage, gain float32) *leyline.SeedState {
	state := seedState(id, at)
	state.Metrics = map[string]float32{
		trainer.MetricAccuracyBefore: 0.8, trainer.MetricAccuracyAfter: 0.8 + gain,
		trainer.MetricLossBefore: 1, trainer.MetricLossAfter: 1 - gain,
	}
	return state
}

func failedSeed(id string, reason trainer.AttachFailure) *leyline.SeedState {
	state := seedState(id, stageGerminated)
	state.Metrics = map[string]float32{
		trainer.MetricAttachFailed: 1, trainer.MetricAttachReason: float32(reason),
	}
	return state
}

func operations(decision Decision) []string {
	var names []string
	for _, command := range decision.Commands {
		names = append(names, operationName(command))
	}
	return names
}

func events(decision Decision) []string {
	var names []string
	for _, packet := range decision.Packets {
		for _, event := range packet.GetEvents() {
			names = append(names, event.GetDescription())
		}
	}
	return names
}

func only(t testing.TB, decision Decision, operation string) *leyline.AdaptationCommand {
	t.Helper()
	if got := operations(decision); !slices.Equal(got, []string{operation}) {
		t.Fatalf("commands %v, want one %s", got, operation)
	}
	return decision.Commands[0]
}

func onlyReport(t testing.TB, decision Decision, outcome leyline.FieldReportOutcome, notes string) *leyline.FieldReport {
	t.Helper()
	if len(decision.Reports) != 1 {
		t.Fatalf("%d reports, want one", len(decision.Reports))
	}
	report := decision.Reports[0]
	if report.GetOutcome() != outcome || report.GetNotes() != notes {
		t.Fatalf("report %s %q, want %s %q", report.GetOutcome(), report.GetNotes(), outcome, notes)
	}
	return report
}

const (
	succeeded = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS
	regressed = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION
	neutral   = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL
	aborted   = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_ABORTED
)
