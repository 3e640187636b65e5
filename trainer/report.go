package trainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Protocol is the version that this package speaks, the value of AttributeProtocol.
const Protocol = "1"

// Attributes of a report, in the envelope of a SystemStatePacket.
const (
	AttributeProtocol     = "trainer_protocol"
	AttributeTrainerID    = "trainer_id"
	AttributeResumes      = "trainer_resumes"
	AttributeReport       = "report"
	AttributeOrderRead    = "order_read"
	AttributeGrafts       = "grafts"
	AttributeAccepts      = "accepts"
	AttributeHostLayers   = "host_layers"
	AttributeSlots        = "slots"
	AttributeKernelAccess = "kernel_access"
)

// Bounds of what one report may make a reader remember.
const (
	maxIDLength   = 128
	maxGrafts     = 64
	maxNames      = 128
	maxSlots      = 64
	maxDimensions = 4
	maxDimension  = 1 << 20
	maxNumber     = 1 << 53
	maxOrderRead  = 1 << 23 // half of what a float32 counts: there is room for orders after it
)

// Report is what a trainer tells of itself beside the fields of its state packet.
type Report struct {
	TrainerID string // random for each process
	Resumes   string // the TrainerID whose checkpoint this process started from, or empty
	Number    uint64 // counts up from 1 for each process
	OrderRead uint64 // the highest order received

	Grafts       map[string]Graft // by seed id
	Accepts      []string         // kinds of orders taken beyond those for seeds
	HostLayers   []string         // input side first
	Slots        map[string][]int // shape of one example, by the slot's name
	KernelAccess []string         // "path", "http", in the order of preference
}

// Graft is one grafted seed as its trainer holds it.
type Graft struct {
	Slot      string `json:"slot"`
	Blueprint string `json:"blueprint"`
	Checksum  string `json:"checksum"`
	Order     uint64 `json:"order"` // of its attach
}

// ErrNoProtocol is returned for a state packet of a trainer that only reports.
var ErrNoProtocol = errors.New("state packet without trainer_protocol")

// FieldError says which attribute or annotation cannot be read, and why.
type FieldError struct {
	Name string
	Err  error
}

// Error is bounded: what could not be read may be long, and comes from outside.
func (e *FieldError) Error() string {
	return fmt.Sprintf("trainer protocol: %.64s: %.200s", e.Name, e.Err)
}

func (e *FieldError) Unwrap() error { return e.Err }

// ReadReport reads a report out of an envelope's attributes. It returns
// ErrNoProtocol when there is none, and a *FieldError when it is not one that
// this package speaks.
func ReadReport(attributes map[string]string) (Report, error) {
	version, ok := attributes[AttributeProtocol]
	if !ok {
		return Report{}, ErrNoProtocol
	}
	if version != Protocol {
		return Report{}, &FieldError{AttributeProtocol, fmt.Errorf("version %.16q, want %q", version, Protocol)}
	}
	report := Report{TrainerID: attributes[AttributeTrainerID], Resumes: attributes[AttributeResumes]}
	steps := []struct {
		name string
		read func(text string) error
	}{
		{AttributeTrainerID, checkID},
		{AttributeResumes, checkLength},
		{AttributeReport, readCount(&report.Number, true, maxNumber)},
		{AttributeOrderRead, readCount(&report.OrderRead, false, maxOrderRead)},
		{AttributeGrafts, func(text string) error { return readGrafts(&report.Grafts, text) }},
		{AttributeAccepts, readNames(&report.Accepts)},
		{AttributeHostLayers, readNames(&report.HostLayers)},
		{AttributeSlots, func(text string) error { return readSlots(&report.Slots, text) }},
		{AttributeKernelAccess, readNames(&report.KernelAccess)},
	}
	for _, step := range steps {
		if err := step.read(attributes[step.name]); err != nil {
			return Report{}, &FieldError{step.name, err}
		}
	}
	return report, nil
}

// Attributes are the report as its envelope carries it. What is empty is left out.
func (r Report) Attributes() map[string]string {
	attributes := map[string]string{
		AttributeProtocol:  Protocol,
		AttributeTrainerID: r.TrainerID,
		AttributeReport:    strconv.FormatUint(r.Number, 10),
		AttributeOrderRead: strconv.FormatUint(r.OrderRead, 10),
	}
	if r.Resumes != "" {
		attributes[AttributeResumes] = r.Resumes
	}
	lists := []struct {
		name  string
		value any
		empty bool
	}{
		{AttributeGrafts, r.Grafts, len(r.Grafts) == 0},
		{AttributeAccepts, r.Accepts, len(r.Accepts) == 0},
		{AttributeHostLayers, r.HostLayers, len(r.HostLayers) == 0},
		{AttributeSlots, r.Slots, len(r.Slots) == 0},
		{AttributeKernelAccess, r.KernelAccess, len(r.KernelAccess) == 0},
	}
	for _, list := range lists {
		if !list.empty {
			attributes[list.name] = marshal(list.value)
		}
	}
	return attributes
}

func readGrafts(to *map[string]Graft, text string) error {
	if err := unmarshal(text, to); err != nil {
		return err
	}
	if len(*to) > maxGrafts {
		return fmt.Errorf("more than %d seeds", maxGrafts)
	}
	for seed, graft := range *to {
		if err := checkID(seed); err != nil {
			return fmt.Errorf("seed id: %w", err)
		}
		for _, word := range []string{graft.Slot, graft.Blueprint, graft.Checksum} {
			if err := checkLength(word); err != nil {
				return err
			}
		}
		if graft.Order > maxNumber {
			return fmt.Errorf("order of seed %q is too large", seed)
		}
	}
	return nil
}

func readSlots(to *map[string][]int, text string) error {
	if err := unmarshal(text, to); err != nil {
		return err
	}
	if len(*to) > maxSlots {
		return fmt.Errorf("more than %d slots", maxSlots)
	}
	for name, shape := range *to {
		if err := checkID(name); err != nil {
			return err
		}
		if err := CheckShape(shape); err != nil {
			return fmt.Errorf("slot %s: %w", name, err)
		}
	}
	return nil
}

// SlotNames are the names of the slots, sorted: the order in which they are used.
func (r Report) SlotNames() []string { return slices.Sorted(maps.Keys(r.Slots)) }

// CheckShape says what is wrong with the shape of one example at a slot: 1 to 4
// dimensions of 1 to 2^20.
func CheckShape(shape []int) error {
	if len(shape) == 0 || len(shape) > maxDimensions {
		return fmt.Errorf("%d dimensions, want 1 to %d", len(shape), maxDimensions)
	}
	for _, size := range shape {
		if size < 1 || size > maxDimension {
			return fmt.Errorf("dimension of %d, want 1 to %d", size, maxDimension)
		}
	}
	return nil
}

func checkID(text string) error {
	if text == "" {
		return errors.New("missing")
	}
	return checkLength(text)
}

func checkLength(text string) error {
	if len(text) > maxIDLength {
		return fmt.Errorf("%d bytes, at most %d", len(text), maxIDLength)
	}
	return nil
}

func readCount(to *uint64, required bool, most uint64) func(string) error {
	return func(text string) error {
		if text == "" && !required {
			return nil
		}
		value, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return err
		}
		if value > most {
			return fmt.Errorf("%d is too large", value)
		}
		*to = value
		return nil
	}
}

func readNames(to *[]string) func(string) error {
	return func(text string) error {
		if err := unmarshal(text, to); err != nil {
			return err
		}
		if len(*to) > maxNames {
			return fmt.Errorf("more than %d names", maxNames)
		}
		for _, name := range *to {
			if err := checkID(name); err != nil {
				return err
			}
		}
		return nil
	}
}

// unmarshal reads JSON; no text is nothing to read.
func unmarshal(text string, to any) error {
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), to)
}

// marshal writes lists and maps of texts and numbers, which always marshal.
func marshal(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(text)
}
