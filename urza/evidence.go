package urza

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
	"github.com/esper-lite/weatherlight/urza/internal/notes"
)

// ErrEvidence is told of evidence that no blueprint can have.
var ErrEvidence = errors.New("no evidence")

// Evidence is what is known of a blueprint beside its kernels.
type Evidence struct {
	BSDS       *leyline.BSDS // how it was judged last; nil: it was not
	Failed     *JudgementFailure
	Benchmarks []*leyline.BlueprintBenchmark // the last of each device
	Outcomes   Outcomes
}

// JudgementFailure is a judgement that came to nothing, after the last that did not.
type JudgementFailure struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Kinds of notes.
const (
	noteBSDS      = "bsds"
	noteFailure   = "bsds_failed"
	noteBenchmark = "benchmark"
	noteOutcomes  = "outcomes"
)

// EvidenceStore keeps what is known of blueprints, in the catalogue. It is safe for
// concurrent use, also by several processes.
type EvidenceStore struct {
	notes  notes.Notes
	lookup *lookup

	reading sync.Mutex // held by who reads
	known   atomic.Pointer[knownEvidence]
	stale   atomic.Bool // something was written since
}

// knownEvidence is what was read last.
type knownEvidence struct {
	generation uint64 // of the catalogue, before it was read
	of         map[string]Evidence
}

// Evidence is where the library keeps what is known of blueprints.
func (l *Library) Evidence() *EvidenceStore { return l.evidence }

// Of is what is known of a blueprint. What it returns must not be changed. Nothing is
// asked while nothing was committed. While the database does not answer, what was read
// last stands; a blueprint whose row was not read before is an error then, as that may
// hold a judgement of the prototype's. Errors: ErrUnavailable and the context's.
func (s *EvidenceStore) Of(ctx context.Context, blueprintID string) (Evidence, error) {
	known, err := s.all(ctx)
	if err != nil {
		return Evidence{}, fmt.Errorf("urza: evidence of %q: %w", blueprintID, err)
	}
	found := known[blueprintID]
	own, err := s.lookup.entry(ctx, catalogue.Key{ID: blueprintID})
	if errors.Is(err, ErrNotFound) {
		return found, nil // without a kernel it has no sheet of the prototype's
	}
	if err != nil {
		return Evidence{}, fmt.Errorf("urza: evidence of %q: %w", blueprintID, err)
	}
	if sheet := prototypeSheet(own.record); sheet != nil && issued(sheet).After(issued(found.BSDS)) {
		found.BSDS = sheet
	}
	return found, nil
}

func (s *EvidenceStore) all(ctx context.Context) (map[string]Evidence, error) {
	if err := s.lookup.open(); err != nil {
		return nil, err
	}
	generation, watchErr := s.lookup.changes.Current(ctx, s.lookup.clock.now())
	known := s.known.Load()
	if known != nil && watchErr == nil && known.generation == generation && !s.stale.Load() {
		return known.of, nil
	}
	if known == nil {
		s.reading.Lock()
	} else if !s.reading.TryLock() { // somebody reads it already
		return known.of, nil
	}
	defer s.reading.Unlock()
	s.stale.Store(false)
	notes, err := s.notes.All(ctx)
	if err != nil {
		s.stale.Store(true)
	}
	if err != nil && known != nil {
		return known.of, nil
	}
	if err != nil {
		return nil, err
	}
	read := &knownEvidence{generation, s.sorted(notes)}
	s.known.Store(read)
	return read.of, nil
}

// sorted are the notes by their blueprints. One that cannot be read is told of and left
// out.
func (s *EvidenceStore) sorted(notes []notes.Note) map[string]Evidence {
	of := make(map[string]Evidence)
	for _, note := range notes {
		found := of[note.ID]
		if err := found.take(note); err != nil {
			s.lookup.report(&RowError{note.ID, note.Kind + ": " + err.Error()})
			continue
		}
		of[note.ID] = found
	}
	for id, found := range of {
		if found.Failed != nil && !found.Failed.At.After(issued(found.BSDS)) {
			found.Failed = nil
			of[id] = found
		}
	}
	return of
}

func (e *Evidence) take(note notes.Note) error {
	content := []byte(note.Content)
	switch note.Kind {
	case noteBSDS:
		e.BSDS = new(leyline.BSDS)
		return readProto(content, e.BSDS)
	case noteFailure:
		return json.Unmarshal(content, &e.Failed)
	case noteBenchmark:
		benchmark := new(leyline.BlueprintBenchmark)
		e.Benchmarks = append(e.Benchmarks, benchmark)
		return readProto(content, benchmark)
	case noteOutcomes:
		return json.Unmarshal(content, &e.Outcomes)
	default:
		return nil // of a later release
	}
}

func readProto(content []byte, to proto.Message) error {
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(content, to)
}

func writeProto(m proto.Message) (string, error) {
	content, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	return string(content), err
}

// Judge keeps a judgement, unless a later one is there. at stands in for a time of issue
// that it does not tell. Errors: ErrEvidence, ErrUnavailable.
func (s *EvidenceStore) Judge(ctx context.Context, bsds *leyline.BSDS, at time.Time) error {
	risk := float64(bsds.GetRiskScore())
	if bsds == nil || !(risk >= 0 && risk <= 1) {
		return fmt.Errorf("urza: judge %.128q: %w: risk %v", bsds.GetBlueprintId(), ErrEvidence, risk)
	}
	sheet := proto.CloneOf(bsds)
	if !sheet.GetIssuedAt().IsValid() {
		sheet.IssuedAt = timestamppb.New(at)
	}
	return s.amend(ctx, "judge", sheet.GetBlueprintId(), noteBSDS, "", func(content string) (string, error) {
		known := new(leyline.BSDS)
		if content != "" && readProto([]byte(content), known) == nil && issued(known).After(issued(sheet)) {
			return "", nil
		}
		return writeProto(sheet)
	})
}

// JudgementFailed keeps that a judgement came to nothing. The last one that did not
// stands. Errors: ErrEvidence, ErrUnavailable.
func (s *EvidenceStore) JudgementFailed(ctx context.Context, blueprintID, reason string, at time.Time) error {
	return s.amend(ctx, "note failed judgement of", blueprintID, noteFailure, "", func(string) (string, error) {
		return writeJSON(JudgementFailure{clippedText(reason), at.UTC()})
	})
}

// maxDevices bounds the benchmarks of one blueprint, and maxProfiles those of one
// benchmark.
const (
	maxDevices  = 16
	maxProfiles = 64
)

// Measured keeps a benchmark in place of the last one of its device. Errors: ErrEvidence,
// ErrUnavailable.
func (s *EvidenceStore) Measured(ctx context.Context, benchmark *leyline.BlueprintBenchmark) error {
	id, device := benchmark.GetBlueprintId(), strings.ToLower(clippedText(benchmark.GetDevice()))
	if len(benchmark.GetProfiles()) > maxProfiles || slices.ContainsFunc(benchmark.GetProfiles(), unmeasured) {
		return fmt.Errorf("urza: benchmark of %.128q: %w: profiles", id, ErrEvidence)
	}
	known, err := s.all(ctx)
	if err != nil {
		return fmt.Errorf("urza: benchmark of %.128q: %w", id, err)
	}
	measured := known[id].Benchmarks
	again := slices.ContainsFunc(measured, func(b *leyline.BlueprintBenchmark) bool { return strings.EqualFold(b.GetDevice(), device) })
	if !again && len(measured) >= maxDevices {
		return fmt.Errorf("urza: benchmark of %.128q: %w: more than %d devices", id, ErrEvidence, maxDevices)
	}
	return s.amend(ctx, "benchmark of", id, noteBenchmark, device, func(string) (string, error) { return writeProto(benchmark) })
}

// unmeasured says that a profile holds a figure that nobody can have measured.
func unmeasured(p *leyline.BlueprintBenchmarkProfile) bool {
	return slices.ContainsFunc([]float32{p.GetP50LatencyMs(), p.GetP95LatencyMs(), p.GetThroughputSamplesPerS()},
		func(figure float32) bool { return !(figure >= 0 && figure <= math.MaxFloat32) })
}

func (s *EvidenceStore) amend(
	ctx context.Context, what, id, kind, name string, change func(content string) (string, error),
) error {
	err := s.lookup.open()
	if err == nil && (id == "" || len(id) > maxEvidenceID || !catalogue.Storable(id) || !catalogue.Storable(name)) {
		err = fmt.Errorf("%w: of no blueprint", ErrEvidence)
	}
	if err == nil {
		err = s.notes.Amend(ctx, notes.Note{ID: id, Kind: kind, Name: name}, change)
	}
	if errors.Is(err, notes.ErrTooMany) {
		err = fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	if err != nil {
		return fmt.Errorf("urza: %s %.128q: %w", what, id, err)
	}
	s.stale.Store(true)
	return nil
}

// maxEvidenceID bounds the names of blueprints, and texts beside them, in bytes.
const maxEvidenceID = 128

func clippedText(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text[:min(len(text), maxEvidenceID)], "?"), "\x00", "?")
}

func writeJSON(value any) (string, error) {
	content, err := json.Marshal(value)
	return string(content), err
}

// issued is when a judgement was issued; before all others when it does not say, or there
// is none.
func issued(b *leyline.BSDS) time.Time {
	if b == nil || !b.GetIssuedAt().IsValid() {
		return time.Time{}
	}
	return b.GetIssuedAt().AsTime()
}

// prototypeSheet is the judgement that the prototype keeps beside the descriptor, an
// object or its JSON.
func prototypeSheet(record *Record) *leyline.BSDS {
	fields, _ := record.Extras["bsds"].(map[string]any)
	if text, is := record.Extras["bsds"].(string); is && json.Unmarshal([]byte(text), &fields) != nil {
		return nil
	}
	if len(fields) == 0 {
		return nil
	}
	named := func(field, prefix string, values map[string]int32) int32 {
		return values[prefix+strings.ToUpper(text(fields[field]))]
	}
	sheet := &leyline.BSDS{
		BlueprintId:     record.Descriptor.GetBlueprintId(),
		HazardBand:      leyline.HazardBand(named("hazard_band", "HAZARD_BAND_", leyline.HazardBand_value)),
		HandlingClass:   leyline.HandlingClass(named("handling_class", "HANDLING_CLASS_", leyline.HandlingClass_value)),
		ResourceProfile: leyline.ResourceProfile(named("resource_profile", "RESOURCE_PROFILE_", leyline.ResourceProfile_value)),
		Provenance:      leyline.Provenance(named("provenance", "PROVENANCE_", leyline.Provenance_value)),
	}
	if risk, told := fields["risk_score"].(float64); told && risk >= 0 && risk <= 1 {
		sheet.RiskScore = float32(risk)
	}
	at, err := time.Parse(time.RFC3339Nano, text(fields["issued_at"]))
	if err != nil {
		at = time.Unix(0, 0)
	}
	sheet.IssuedAt = timestamppb.New(at)
	return sheet
}
