package kasmina

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/evidence"
	"github.com/esper-lite/weatherlight/kasmina/internal/gate"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/kasmina/promotion"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// recordVersion is the form of a record's JSON.
const recordVersion = 1

// millis is a moment in Unix milliseconds; 0 is none.
type millis int64

func momentOf(t time.Time) millis {
	if t.IsZero() {
		return 0
	}
	return millis(t.UnixMilli())
}

func (m millis) plus(d time.Duration) millis { return m + millis(d.Milliseconds()) }

func (m millis) since(earlier millis) time.Duration {
	return time.Duration(m-earlier) * time.Millisecond
}

func (m millis) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// Record is everything that Kasmina knows of one run. Its JSON is what is
// stored; DecodeRecord reads it back, NewView makes it readable. A record is
// never changed once it is made: a decision returns another one.
type Record struct {
	Version    int            `json:"v"`
	Run        string         `json:"run"`
	Trainer    trainerState   `json:"t,omitzero"`
	Watched    bool           `json:"w,omitempty"` // an event told of a trainer that only reports
	LastOrder  uint64         `json:"o,omitempty"`
	Seeds      []*seed        `json:"s,omitempty"` // in the order of germination
	Pending    []pending      `json:"p,omitempty"` // orders that have shown no effect yet
	Tombstones []tombstone    `json:"x,omitempty"`
	Commands   []acceptance   `json:"c,omitempty"` // in the order of acceptance
	Floor      millis         `json:"f,omitempty"` // commands issued up to here may be forgotten ones
	Breaker    breaker        `json:"b,omitzero"`
	Emergency  emergencyState `json:"e,omitzero"`
	WrittenOff []string       `json:"k,omitempty"` // blueprints whose kernels were at fault
	Latency    *float64       `json:"l,omitempty"` // of kernel requests, smoothed, in milliseconds; nil: not measured
	Packets    int64          `json:"n,omitempty"` // counter of telemetry packets
	Told       millis         `json:"d,omitempty"` // when the seeds were last told of without an occasion
	Violations int            `json:"i,omitempty"` // gradient isolation violations of all seeds
	Tuned      bool           `json:"u,omitempty"` // the order to tune stands
	Refused    []refusedPeer  `json:"r,omitempty"` // trainers that were refused of late
	Ended      []endedSeed    `json:"z,omitempty"` // the last ones that were culled or terminated
	Optimizer  millis         `json:"oi,omitempty"`
	Forced     millis         `json:"bi,omitempty"` // issue of the last breaker command
}

// trainerState is what the trainer that leads a run told of itself.
type trainerState struct {
	ID       string           `json:"id,omitempty"`
	Retired  []string         `json:"x,omitempty"` // ids that led before
	Number   uint64           `json:"n,omitempty"` // of its last report
	Stored   millis           `json:"t,omitempty"` // of the same
	Began    millis           `json:"b,omitempty"` // when its first report was stored
	Epoch    uint32           `json:"e,omitempty"`
	Step     uint64           `json:"s,omitempty"`
	Layers   []string         `json:"l,omitempty"`
	Slots    map[string][]int `json:"z,omitempty"`
	Accepts  []string         `json:"a,omitempty"`
	Access   []string         `json:"k,omitempty"`
	Halted   bool             `json:"h,omitempty"`
	Gradient bool             `json:"g,omitempty"` // it has told of a host gradient at least once
	Silent   bool             `json:"q,omitempty"` // an event told that it fell silent
	pace
}

// pace is how often a run is reported, in milliseconds.
type pace struct {
	Interval int64 `json:"i,omitempty"`  // between two reports, smoothed; 0: not known
	Gap      int64 `json:"ig,omitempty"` // between the last two
}

// seed is one seed of a run.
type seed struct {
	ID         string             `json:"i"`
	Blueprint  string             `json:"b,omitempty"`
	Slot       string             `json:"z,omitempty"`
	Shape      []int              `json:"h,omitempty"` // of the slot, as the kernel was asked for
	Parameters map[string]float32 `json:"pa,omitempty"`
	Mesh       []string           `json:"m,omitempty"` // empty: all of the host's layers
	Blend      trainer.Blend      `json:"bl,omitzero"`
	Schedule   trainer.Schedule   `json:"sc,omitzero"`
	Promotion  *promotion.Rules   `json:"pr,omitempty"` // its own; nil: the Config's
	Policy     string             `json:"po,omitempty"` // policy_version of its germination

	Stage       leyline.SeedLifecycleStage `json:"s"`
	Target      leyline.SeedLifecycleStage `json:"t,omitempty"`  // ordered last
	Order       uint64                     `json:"o,omitempty"`  // number of the last order for it
	AttachOrder uint64                     `json:"ao,omitempty"` // what applied less describes a predecessor
	Kernel      kernelState                `json:"k,omitzero"`
	Wait        *wait                      `json:"w,omitempty"`

	Paused     pauseCause        `json:"p,omitempty"` // why it is to be out of the output
	Out        bool              `json:"u,omitempty"` // the trainer says that it is
	Listed     bool              `json:"l,omitempty"` // in the trainer's last report
	Isolation  isolation         `json:"v,omitzero"`
	Age        uint32            `json:"a,omitempty"` // reports since it was attached
	Alpha      float32           `json:"al,omitempty"`
	AlphaSteps int               `json:"as,omitempty"`
	Progress   evidence.Progress `json:"g"`
	Earned     bool              `json:"e,omitempty"`
	Embargo    embargo           `json:"em,omitzero"`
	Gate       lastGate          `json:"lg,omitzero"`
	Issued     millis            `json:"c,omitempty"` // issue of the last accepted command
}

// kernelState is the kernel that a seed was given.
type kernelState struct {
	Ref       string   `json:"r,omitempty"` // until it is attached
	Checksum  string   `json:"c,omitempty"`
	Guard     string   `json:"g,omitempty"` // until it is attached
	LatencyMS *float64 `json:"l,omitempty"` // from the request to the answer
}

// wait is a seed's wait for its kernel, over all of its requests.
type wait struct {
	Nonce    int64    `json:"n"` // tells this wait from earlier ones of the seed
	Issued   []millis `json:"t"` // of each attempt
	Deadline millis   `json:"d"`
}

// pauseCause is a set of reasons to keep a seed out of the output.
type pauseCause uint8

const (
	pausedByEither pauseCause = 1 << iota // a command's of which nobody knows whose: of the release before, or of a record that was lost
	pausedByIsolation
	pausedByEmergency
	pausedByController
	pausedByOperator

	pausedByCommand = pausedByEither | pausedByController | pausedByOperator
)

// isolation is a seed's isolation breaker.
type isolation struct {
	Failures int  `json:"f,omitempty"` // since it last closed
	Clean    int  `json:"c,omitempty"` // reports in the output without a violation since then
	Leaking  bool `json:"l,omitempty"` // the last report showed a violation
}

// embargo is the time that a culled seed rests.
type embargo struct {
	Until     millis `json:"u,omitempty"`
	Failures  int    `json:"f,omitempty"` // resets that G5 did not let pass
	Withdrawn bool   `json:"w,omitempty"` // it ends as soon as the trainer no longer lists the seed
}

// lastGate is the last gate that a seed came to.
type lastGate struct {
	Gate   leyline.SeedLifecycleGate `json:"g,omitempty"`
	Reason string                    `json:"r,omitempty"` // empty: passed
}

// tombstone holds an id that a command ended, so that what was issued before it
// stays without effect.
type tombstone struct {
	Seed   string `json:"s"`
	Issued millis `json:"i"` // of the command
	Until  millis `json:"u"`
}

// acceptance is one accepted command, by digests of its id and of all of it.
type acceptance struct {
	ID      string `json:"i"`
	Content string `json:"c"`
	Issued  millis `json:"t"`
}

// emergencyState is the emergency that a run is in.
type emergencyState struct {
	Level  leyline.EmergencyLevel `json:"l,omitempty"`
	Reason string                 `json:"r,omitempty"`
	Issued millis                 `json:"t,omitempty"` // of the last emergency command
	Known  []string               `json:"k,omitempty"` // ids of signals that were acted on
}

// endedSeed is what is left of a seed for whoever asks where it went; of all but the last
// ones no more than why.
type endedSeed struct {
	Seed      string                     `json:"s"`
	Blueprint string                     `json:"b,omitempty"`
	Slot      string                     `json:"z,omitempty"`
	Stage     leyline.SeedLifecycleStage `json:"t"` // that it came to
	Reason    string                     `json:"r"`
	At        millis                     `json:"a"`
	Reports   int                        `json:"n,omitempty"` // since it is none of the last ones
}

type refusedPeer struct {
	ID   string `json:"i"`
	Told millis `json:"t"`
}

// clone copies what a decision may change. What is only ever replaced as a
// whole is shared.
func (r *Record) clone() *Record {
	next := *r
	next.Seeds = make([]*seed, len(r.Seeds), len(r.Seeds)+1)
	for i, s := range r.Seeds {
		next.Seeds[i] = s.clone()
	}
	next.Pending = slices.Clone(r.Pending)
	return &next
}

func (s *seed) clone() *seed {
	next := *s
	if s.Wait != nil {
		waiting := *s.Wait
		next.Wait = &waiting
	}
	return &next
}

func (r *Record) find(id string) *seed {
	for _, s := range r.Seeds {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// appended is a list with one more entry, of which the oldest go above the
// bound. It never writes into the list itself.
func appended[T any](list []T, entry T, bound int) []T {
	next := make([]T, 0, len(list)+1)
	next = append(append(next, list...), entry)
	return next[max(0, len(next)-bound):]
}

// without is a list without some entries. It never writes into the list itself.
func without[T any](list []T, unwanted func(T) bool) []T {
	if !slices.ContainsFunc(list, unwanted) {
		return list
	}
	var next []T
	for _, entry := range list {
		if !unwanted(entry) {
			next = append(next, entry)
		}
	}
	return next
}

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
	resting := s.Stage >= lifecycle.Germinated && s.Stage <= lifecycle.Fossilized || s.Stage == lifecycle.Embargoed
	onItsWay := s.Target == lifecycle.Unknown || s.Target >= lifecycle.Training && s.Target <= lifecycle.Fossilized
	switch {
	case s.ID == "" || len(s.ID) > maxIDLength:
		return fmt.Errorf("an id of %d bytes", len(s.ID))
	case !resting || !onItsWay:
		return fmt.Errorf("stage %s on the way to %s", s.Stage, s.Target)
	case s.Wait != nil && (s.Stage != lifecycle.Germinated || len(s.Wait.Issued) == 0):
		return fmt.Errorf("waits for a kernel in %s", s.Stage)
	case s.Stage == lifecycle.Germinated && len(s.Shape) == 0:
		return errors.New("no shape to ask a kernel for")
	case len(s.Mesh) > maxMeshLayers || len(s.Parameters) > gate.MaxParameters:
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
