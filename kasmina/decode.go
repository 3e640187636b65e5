package kasmina

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/leyline"
)

// maxRecordBytes bounds what DecodeRecord reads.
const maxRecordBytes = 256 << 10

// ErrRecord is wrapped by what DecodeRecord refuses.
var ErrRecord = errors.New("kasmina: record")

// DecodeRecord reads a stored record and checks that it is one that a core could
// have made. Its errors wrap ErrRecord.
func DecodeRecord(text []byte) (*Record, error) {
	if len(text) > maxRecordBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrRecord, len(text), maxRecordBytes)
	}
	record := new(Record)
	if err := json.Unmarshal(text, record); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if err := record.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return record, nil
}

func (r *Record) check() error {
	switch {
	case r.Version != recordVersion:
		return fmt.Errorf("version %d, want %d", r.Version, recordVersion)
	case r.Run == "" || len(r.Run) > maxIDLength:
		return fmt.Errorf("a run id of %d bytes", len(r.Run))
	case len(r.Seeds) > maxSeeds:
		return fmt.Errorf("%d seeds, at most %d", len(r.Seeds), maxSeeds)
	case len(r.Pending) > maxPending:
		return fmt.Errorf("%d pending orders, at most %d", len(r.Pending), maxPending)
	case r.LastOrder > maxOrder:
		return fmt.Errorf("order number %d", r.LastOrder)
	case len(r.Commands) > maxCommands || len(r.Tombstones) > maxTombstones:
		return fmt.Errorf("%d commands and %d tombstones", len(r.Commands), len(r.Tombstones))
	}
	seen := make(map[string]bool, len(r.Seeds))
	for _, s := range r.Seeds {
		if s == nil || seen[s.ID] {
			return errors.New("a seed twice, or none")
		}
		seen[s.ID] = true
		if err := s.check(); err != nil {
			return fmt.Errorf("seed %.64q: %w", s.ID, err)
		}
	}
	for i := range r.Pending {
		if err := r.Pending[i].check(r.LastOrder); err != nil {
			return fmt.Errorf("order %d: %w", r.Pending[i].Number, err)
		}
	}
	return nil
}

// check holds for a seed at rest between two decisions.
func (s *seed) check() error {
	resting := s.Stage >= stageGerminated && s.Stage <= stageFossilized || s.Stage == stageEmbargoed
	onItsWay := s.Target == stageUnknown || s.Target >= stageTraining && s.Target <= stageFossilized
	switch {
	case s.ID == "" || len(s.ID) > maxIDLength:
		return fmt.Errorf("an id of %d bytes", len(s.ID))
	case !resting || !onItsWay:
		return fmt.Errorf("stage %s on the way to %s", s.Stage, s.Target)
	case s.Wait != nil && (s.Stage != stageGerminated || len(s.Wait.Issued) == 0):
		return fmt.Errorf("waits for a kernel in %s", s.Stage)
	case s.Stage == stageGerminated && len(s.Shape) == 0:
		return errors.New("no shape to ask a kernel for")
	case len(s.Mesh) > maxMeshLayers || len(s.Parameters) > maxParameters:
		return fmt.Errorf("%d layers and %d parameters", len(s.Mesh), len(s.Parameters))
	case s.Embargo.Failures < 0 || s.Isolation.Failures < 0 || s.Progress.Residence < 0:
		return errors.New("a negative count")
	default:
		return nil
	}
}

func (p *pending) check(last uint64) error {
	switch {
	case p.Number == 0 || p.Number > last || p.First == 0 || p.First > p.Number:
		return fmt.Errorf("numbers %d and %d of %d", p.First, p.Number, last)
	case len(p.Seed) > maxIDLength:
		return fmt.Errorf("a seed id of %d bytes", len(p.Seed))
	case p.Renewals < 0 || p.Unheeded < 0:
		return errors.New("a negative count")
	case p.Stage < 0 || p.Stage > leyline.SeedLifecycleStage_SEED_STAGE_TERMINATED:
		return fmt.Errorf("stage %d", p.Stage)
	default:
		return nil
	}
}
