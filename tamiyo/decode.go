package tamiyo

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of a record. Together they keep it below maxRecord.
const (
	maxRecord     = 192 << 10 // bytes
	maxRun        = 512       // bytes of a training_run_id
	maxText       = 128       // bytes of any other name
	maxNumber     = 1 << 53
	maxSeeds      = 64
	maxConsidered = longestInReport + 32 // and how many more there were
	maxRetired    = 64
	maxRemembered = 256 // names of blueprints over all slots
	maxUnbegun    = 64
	maxSetbacks   = 1000
	maxAttempts   = 1000
)

// DecodeRecord reads what json.Marshal wrote of a Record. What it returns
// without an error is as good as a record that Decide returned.
func DecodeRecord(data []byte) (*Record, error) {
	if len(data) > maxRecord {
		return nil, fmt.Errorf("decode record of a run: %d bytes, at most %d", len(data), maxRecord)
	}
	record := new(Record)
	if err := json.Unmarshal(data, record); err != nil {
		return nil, fmt.Errorf("decode record of a run: %w", err)
	}
	if err := record.check(); err != nil {
		return nil, fmt.Errorf("decode record of a run: %w", err)
	}
	return record, nil
}

func (r *Record) check() error {
	switch {
	case r.Format != recordFormat:
		return fmt.Errorf("format %d, want %d", r.Format, recordFormat)
	case strings.TrimSpace(r.Run) == "" || len(r.Run) > maxRun || !utf8.ValidString(r.Run):
		return errors.New("run is not named")
	case !isText(r.Trainer) || !isText(r.Conservative.Reason) || !isText(r.Unrest.Rule), !isText(r.Shadow.Policy) || !isText(r.InferenceOf):
		return errors.New("a name is too long")
	case r.HostWork < 0 || r.HostWork > math.MaxFloat32:
		return errors.New("what the host costs is out of bounds")
	case r.Number > maxNumber || r.Evaluated >= maxNumber || r.Conservative.Entered > r.Evaluated, r.InVain < 0:
		return errors.New("a count is out of bounds")
	case !checkWindows(r.Windows):
		return errors.New("windows are out of bounds")
	case r.Trainer == "" && (r.Number > 0 || len(r.Seeds) > 0):
		return errors.New("a run that is only watched has seeds")
	case len(r.Retired) > maxRetired || slices.ContainsFunc(r.Retired, func(t string) bool { return !isWord(t) }):
		return errors.New("retired trainers are out of bounds")
	}
	if err := r.checkSeeds(); err != nil {
		return err
	}
	return r.checkSlots()
}

func (r *Record) checkSeeds() error {
	if len(r.Seeds) > maxSeeds {
		return fmt.Errorf("%d seeds, at most %d", len(r.Seeds), maxSeeds)
	}
	for i, s := range r.Seeds {
		if i > 0 && cmp.Compare(r.Seeds[i-1].ID, s.ID) >= 0 {
			return fmt.Errorf("seed %q is out of order", s.ID)
		}
		if err := s.check(r.Evaluated); err != nil {
			return fmt.Errorf("seed %q: %w", s.ID, err)
		}
	}
	return nil
}

func (s seed) check(evaluated uint64) error {
	switch {
	case !isWord(s.ID), s.Slot != "" && !isWord(s.Slot), s.Blueprint != "" && !isWord(s.Blueprint):
		return errors.New("a name is none")
	case !isText(s.Germination) || !isText(s.Cause) || !isText(s.Failure) || !isText(s.Policy):
		return errors.New("a text is too long")
	case s.Blend != "" && !isWord(s.Blend):
		return errors.New("its blend is none")
	case len(s.Considered) > maxConsidered || !isPlain(s.Considered):
		return errors.New("what was considered is out of bounds")
	case s.Born > evaluated || s.Seen > evaluated || s.Pending.Since > evaluated || s.Hold.Since > evaluated:
		return errors.New("it is of a later report")
	case s.Work < 0:
		return errors.New("its work is out of bounds")
	case min(s.Pending.Attempts, s.Hold.Attempts) < 0 || max(s.Pending.Attempts, s.Hold.Attempts) > maxAttempts:
		return errors.New("attempts are out of bounds")
	default:
		return nil
	}
}

func (r *Record) checkSlots() error {
	if len(r.Unbegun) > maxUnbegun {
		return fmt.Errorf("%d slots at which nothing was begun, at most %d", len(r.Unbegun), maxUnbegun)
	}
	for name, told := range r.Unbegun {
		if !isWord(name) || !isWord(told) {
			return fmt.Errorf("what was told of slot %q is none", name)
		}
	}
	if remembered(r.Slots) > maxRemembered {
		return fmt.Errorf("more than %d blueprints at slots", maxRemembered)
	}
	for name, s := range r.Slots {
		if len(s.WrittenOff)+len(s.Setbacks) == 0 || name != "" && !isWord(name) {
			return fmt.Errorf("slot %q is none", name)
		}
		for _, blueprintID := range s.WrittenOff {
			if !isWord(blueprintID) {
				return fmt.Errorf("blueprint %q is none", blueprintID)
			}
		}
		for blueprintID, count := range s.Setbacks {
			if !isWord(blueprintID) || count < 1 || count > maxSetbacks {
				return fmt.Errorf("setbacks of blueprint %q are none", blueprintID)
			}
		}
	}
	return nil
}

// isText says whether a record may hold text that somebody else made up.
func isText(text string) bool { return len(text) <= maxText && utf8.ValidString(text) }

// isWord says whether text is a name that JSON writes as it is, so that many of
// them stay as short as they are.
func isWord(text string) bool {
	return text != "" && isText(text) && isPlain(text)
}

// isPlain says whether JSON writes text as it is.
func isPlain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' || r == 0x7f || strings.ContainsRune("\"\\<>&\u2028\u2029", r)
	})
}
