package tolaria

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel/adam"
)

const (
	checkpointName    = "trainer.json"
	checkpointVersion = 2
	maxCheckpoint     = 256 << 20
	seedsPrefix       = "seeds-" // folders of grafts, one a checkpoint
)

// ErrCheckpoint is wrapped by what is wrong with a checkpoint.
var ErrCheckpoint = errors.New("checkpoint")

// saved is a trainer between two epochs. Its measurements stay where they are, and
// what a rollback goes back to is in the graft's folder.
type saved struct {
	Version int    `json:"version"`
	Run     string `json:"run"`
	Seed    uint64 `json:"seed"`
	Slot    []int  `json:"slot"`
	Seeds   string `json:"seeds"` // name of the graft's folder
	elapsed

	Weights   graft.Weights              `json:"weights"`
	Moments   []*adam.Moments            `json:"moments"`
	OfSeeds   map[string][]*adam.Moments `json:"of_seeds"`
	Rate      annealer                   `json:"rate"`
	SeedRate  float64                    `json:"seed_rate"`
	Order     []byte                     `json:"order"` // states of the random streams
	Noise     []byte                     `json:"noise"`
	Rates     []float64                  `json:"rates"`
	GradMax   float64                    `json:"host_gradient_max"`
	Unchanged bool                       `json:"host_unchanged"`
	Dropped   int                        `json:"dropped"`
	KeptCount int                        `json:"kept_count"`
	First     *float64                   `json:"host_accuracy"` // absent: no seed germinated
}

// elapsed is what has passed of a run, in epochs.
type elapsed struct {
	Epochs   int   `json:"epochs"`
	Trained  int   `json:"trained"`
	Waited   int   `json:"waited"`  // the host rested for nothing
	Pace     int64 `json:"pace_ns"` // of the last one that trained
	Rejected int   `json:"rejected"`
}

// Save writes a checkpoint into a folder, which is made when absent: the host,
// the optimizer, the random streams and the seeds. One that was there stays whole
// until the new one stands. It is called between epochs, from OnEpoch for
// example.
func (t *Trainer) Save(folder string) error {
	s, err := t.saved()
	if err != nil {
		return fmt.Errorf("save the trainer: %w", err)
	}
	if err := t.graft.Save(filepath.Join(folder, s.Seeds)); err != nil {
		return err
	}
	content, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("save the trainer: %w", err)
	}
	if err := atomicfile.WriteFile(filepath.Join(folder, checkpointName), content, 0o644); err != nil {
		return fmt.Errorf("save the trainer: %w", err)
	}
	return removeOthers(folder, s.Seeds)
}

func (t *Trainer) saved() (*saved, error) {
	parameters := parametersOf(t.network)
	s := &saved{
		Version: checkpointVersion, Run: t.config.RunID, Seed: t.config.Seed, Slot: t.config.Slot,
		Seeds:   fmt.Sprintf("%s%06d", seedsPrefix, t.epochs),
		elapsed: elapsed{Epochs: t.epochs, Trained: t.trained, Waited: t.waited, Pace: int64(t.pace), Rejected: t.rejected},
		Weights: graft.CopyWeights(parameters), Moments: t.optimizer.Get(parameters),
		OfSeeds: make(map[string][]*adam.Moments),
		Rate:    t.rate, SeedRate: t.config.SeedRate, Rates: t.result.Rates,
		GradMax: t.result.HostGradientMax, Unchanged: t.result.HostUnchanged,
		Dropped: t.result.Dropped, KeptCount: t.result.Kept,
	}
	if t.germinated {
		s.First = &t.result.HostAccuracy
	}
	for id, members := range t.members {
		s.OfSeeds[id] = t.optimizer.Get(members)
	}
	maps.Copy(s.OfSeeds, t.waiting)
	var err error
	if s.Order, err = t.order.MarshalBinary(); err != nil {
		return nil, err
	}
	s.Noise, err = t.noise.MarshalBinary()
	return s, err
}

// load takes up a checkpoint of the same run.
func (t *Trainer) load(folder string) error {
	content, err := regularfile.Read(filepath.Join(folder, checkpointName), maxCheckpoint)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	s, err := decodeCheckpoint(content)
	if err != nil {
		return err
	}
	if s.Run != t.config.RunID || s.Seed != t.config.Seed || !slices.Equal(s.Slot, t.config.Slot) {
		return fmt.Errorf("%w: is of run %q with seed %d and slot %v, this is %q with seed %d and slot %v",
			ErrCheckpoint, s.Run, s.Seed, s.Slot, t.config.RunID, t.config.Seed, t.config.Slot)
	}
	if err := t.take(s); err != nil {
		return fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if err := t.graft.Load(filepath.Join(folder, s.Seeds)); err != nil {
		return err
	}
	for _, seed := range t.slot.Seeds() {
		if moments, ok := s.OfSeeds[seed.ID]; ok {
			t.waiting[seed.ID] = moments
		}
		if parameters := t.slot.Parameters(seed.ID); parameters != nil {
			t.join(seed.ID, parameters)
		}
	}
	return nil
}

func (t *Trainer) take(s *saved) error {
	parameters := parametersOf(t.network)
	if err := s.Weights.Restore(parameters); err != nil {
		return err
	}
	if err := t.optimizer.Put(parameters, s.Moments); err != nil {
		return err
	}
	if err := errors.Join(t.order.UnmarshalBinary(s.Order), t.noise.UnmarshalBinary(s.Noise)); err != nil {
		return err
	}
	s.Rate.floor, s.Rate.patience = t.rate.floor, t.rate.patience
	t.rate, t.config.SeedRate = s.Rate, s.SeedRate
	t.epochs, t.trained, t.rejected, t.germinated = s.Epochs, s.Trained, s.Rejected, s.First != nil
	t.waited = s.Waited
	t.pace = time.Duration(s.Pace)
	t.result.Rates = s.Rates
	t.result.HostGradientMax, t.result.HostUnchanged = s.GradMax, s.Unchanged
	t.result.Kept, t.result.Dropped = s.KeptCount, s.Dropped
	if s.First != nil {
		t.result.HostAccuracy = *s.First
	}
	return nil
}

// decodeCheckpoint reads a checkpoint; whether it fits the trainer is for take.
func decodeCheckpoint(content []byte) (*saved, error) {
	var s saved
	if err := json.Unmarshal(content, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	switch {
	case s.Version != checkpointVersion:
		return nil, fmt.Errorf("%w: version %d, this is %d", ErrCheckpoint, s.Version, checkpointVersion)
	case !strings.HasPrefix(s.Seeds, seedsPrefix) || strings.ContainsAny(s.Seeds, `/\`):
		return nil, fmt.Errorf("%w: seeds in %.40q", ErrCheckpoint, s.Seeds)
	case s.Epochs < 0 || s.Trained < 0 || s.Pace < 0 || s.Rejected < 0 || s.Waited < 0 || s.Dropped < 0 || s.KeptCount < 0:
		return nil, fmt.Errorf("%w: a count below 0", ErrCheckpoint)
	case !validRate(s.Rate.Rate) || !validRate(s.SeedRate):
		return nil, fmt.Errorf("%w: a learning rate that is none", ErrCheckpoint)
	}
	return &s, nil
}

// removeOthers removes the seeds of checkpoints before the present one.
func removeOthers(folder, present string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("tidy checkpoint: %w", err)
	}
	for _, entry := range entries {
		if entry.IsDir() && strings.HasPrefix(entry.Name(), seedsPrefix) && entry.Name() != present {
			if err := os.RemoveAll(filepath.Join(folder, entry.Name())); err != nil {
				return fmt.Errorf("tidy checkpoint: %w", err)
			}
		}
	}
	return nil
}
