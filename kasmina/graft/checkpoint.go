package graft

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	manifestName    = "grafts.json"
	manifestVersion = 2
	oldestManifest  = 1 // it has no snapshots
	maxManifest     = 4 << 20
	artifactSuffix  = ".onnx"
)

// ErrCheckpoint is wrapped by what Load refuses.
var ErrCheckpoint = errors.New("graft: checkpoint")

// manifest is what a checkpoint says beside the kernels.
type manifest struct {
	Version   int         `json:"version"`
	Run       string      `json:"run"`
	TrainerID string      `json:"trainer_id"`
	OrderRead uint64      `json:"order_read"`
	Seeds     []savedSeed `json:"seeds"` // of each slot in the order of attachment
}

type savedSeed struct {
	ID          string           `json:"id"`
	Slot        string           `json:"slot"`
	Blueprint   string           `json:"blueprint"`
	Checksum    string           `json:"checksum"` // of the kernel as it was attached
	Weights     string           `json:"weights"`  // SHA-256 of the kernel with the trained weights; <weights>.onnx holds it
	Stage       string           `json:"stage"`
	Paused      bool             `json:"paused,omitempty"`
	Tuned       bool             `json:"tuned,omitempty"`
	Steps       int              `json:"alpha_steps"`
	AttachOrder uint64           `json:"attach_order"`
	Order       uint64           `json:"order"`
	Age         uint32           `json:"age"`
	Blend       trainer.Blend    `json:"blend"`
	Schedule    trainer.Schedule `json:"schedule"`
	Before      *savedBefore     `json:"before,omitempty"` // absent: there is nothing to go back to
}

// Save writes the seeds into a folder, which is made when absent: each as a
// kernel with its trained weights (ONNX), the snapshots to which a rollback goes
// back, if the host is a [SnapshotCodec], and a manifest with the rest. A
// checkpoint that was there stays whole until the new one stands. The host as it
// is now is the trainer's to save.
func (g *Graft) Save(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("save seeds: %w", err)
	}
	m := manifest{
		Version: manifestVersion, Run: g.config.Run, TrainerID: g.config.TrainerID, OrderRead: g.inbox.lastRead(),
		Seeds: []savedSeed{},
	}
	files := &files{folder: folder, host: g.config.Host, names: make(map[string]bool)}
	for _, slot := range g.slots {
		files.seeds = append(files.seeds, slot.seeds...)
	}
	for _, seed := range files.seeds {
		saved, err := files.saveSeed(seed)
		if err != nil {
			return fmt.Errorf("save seed %s: %w", seed.id, err)
		}
		m.Seeds = append(m.Seeds, saved)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("save seeds: %w", err)
	}
	if err := atomicfile.WriteFile(filepath.Join(folder, manifestName), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("save seeds: %w", err)
	}
	return removeStale(folder, files.names)
}

func (s *seed) saved(weights string) savedSeed {
	return savedSeed{
		ID: s.id, Slot: s.slot.name, Blueprint: s.blueprint, Checksum: s.checksum, Weights: weights,
		Stage: s.stage.String(), Paused: s.paused, Tuned: s.tuned, Steps: s.steps,
		AttachOrder: s.attachOrder, Order: s.order, Age: s.age, Blend: s.blend, Schedule: s.schedule,
	}
}

// removeStale removes the files of checkpoints before the present one, and nothing
// that is not named like one.
func removeStale(folder string, current map[string]bool) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("tidy checkpoint: %w", err)
	}
	for _, entry := range entries {
		if isOwn(entry.Name()) && !current[entry.Name()] {
			if err := os.Remove(filepath.Join(folder, entry.Name())); err != nil {
				return fmt.Errorf("tidy checkpoint: %w", err)
			}
		}
	}
	return nil
}

func isOwn(name string) bool {
	suffix := filepath.Ext(name)
	return (suffix == artifactSuffix || suffix == snapshotSuffix) && isChecksum(strings.TrimSuffix(name, suffix))
}

func isChecksum(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}

// Load attaches the seeds of a checkpoint of the same run, all or none, as they
// were when it was saved, and has reports say that this process resumes the one
// that saved it. It is called once, behind Slot and before Run.
//
// With a host that is no [SnapshotCodec], and of a checkpoint of an older graft, there
// are no snapshots. Then a seed that was blending, or on trial, has one taken anew by the
// first Apply; to drop it later goes back to that. One that was kept has none: to roll it
// back removes the seed and leaves the host.
func (g *Graft) Load(folder string) error {
	if g.running.Load() || g.attached() > 0 {
		return fmt.Errorf("%w: is loaded once, before Run", ErrCheckpoint)
	}
	content, err := regularfile.Read(filepath.Join(folder, manifestName), maxManifest)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	m, err := decodeManifest(content)
	if err != nil {
		return err
	}
	if m.Run != g.config.Run {
		return fmt.Errorf("%w: is of run %q, this is %q", ErrCheckpoint, m.Run, g.config.Run)
	}
	files := &files{folder: folder, host: g.config.Host}
	for i := range m.Seeds {
		seed, err := g.revive(files, &m.Seeds[i])
		if err != nil {
			return fmt.Errorf("%w: seed %q: %w", ErrCheckpoint, m.Seeds[i].ID, err)
		}
		files.seeds = append(files.seeds, seed)
	}
	for i, seed := range files.seeds { // all are there to be looked for
		if err := files.recall(seed, m.Seeds[i].Before); err != nil {
			return fmt.Errorf("%w: seed %q: %w", ErrCheckpoint, seed.id, err)
		}
	}
	for _, seed := range files.seeds {
		seed.slot.seeds = append(seed.slot.seeds, seed)
		g.latest[seed.id] = seed.order
		if seed.before != nil {
			g.moment = max(g.moment, seed.before.moment)
		}
	}
	g.receive(m.OrderRead)
	g.inbox.arrive(m.OrderRead)
	if g.config.Resumes == "" {
		g.config.Resumes = m.TrainerID
	}
	return nil
}

// decodeManifest reads a manifest within the bounds of what a graft holds.
func decodeManifest(content []byte) (manifest, error) {
	var m manifest
	if err := json.Unmarshal(content, &m); err != nil {
		return manifest{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	switch {
	case m.Version < oldestManifest || m.Version > manifestVersion:
		return manifest{}, fmt.Errorf("%w: version %d, known are %d to %d", ErrCheckpoint, m.Version, oldestManifest, manifestVersion)
	case len(m.TrainerID) > maxNameBytes:
		return manifest{}, fmt.Errorf("%w: a trainer id of %d bytes", ErrCheckpoint, len(m.TrainerID))
	case len(m.Seeds) > maxSeeds:
		return manifest{}, fmt.Errorf("%w: %d seeds, at most %d", ErrCheckpoint, len(m.Seeds), maxSeeds)
	}
	ids := make(map[string]bool)
	for _, s := range m.Seeds {
		if err := s.check(); err != nil {
			return manifest{}, fmt.Errorf("%w: seed %.40q: %w", ErrCheckpoint, s.ID, err)
		}
		if ids[s.ID] {
			return manifest{}, fmt.Errorf("%w: seed %q twice", ErrCheckpoint, s.ID)
		}
		ids[s.ID] = true
	}
	return m, nil
}

func (s *savedSeed) check() error {
	switch leyline.SeedLifecycleStage(leyline.SeedLifecycleStage_value[s.Stage]) {
	case stageTraining, stageBlending, stageShadowing, stageProbationary, stageFossilized:
	default:
		return fmt.Errorf("stage %.40q", s.Stage)
	}
	switch {
	case s.ID == "" || len(s.ID) > maxNameBytes || len(s.Blueprint) > maxNameBytes:
		return errors.New("a name is missing or too long")
	case !isChecksum(s.Weights) || !isChecksum(s.Checksum):
		return errors.New("a checksum is none")
	case s.Steps < 0:
		return errors.New("a ramp of less than no steps")
	}
	return s.Before.check()
}

// revive makes a seed of what a checkpoint says of it.
func (g *Graft) revive(files *files, s *savedSeed) (*seed, error) {
	slot := g.slot(s.Slot)
	if slot == nil {
		return nil, fmt.Errorf("no slot %q", s.Slot)
	}
	if err := s.Blend.Fits(slot.shape); err != nil {
		return nil, err
	}
	content, err := files.get(s.Weights, artifactSuffix, kernel.MaxFileBytes)
	if err != nil {
		return nil, err
	}
	loaded, err := kernel.Load(content)
	if err != nil {
		return nil, err
	}
	if err := slot.shape.misfit(loaded); err != nil {
		return nil, err
	}
	return &seed{
		id: s.ID, blueprint: s.Blueprint, checksum: s.Checksum, slot: slot, instance: loaded.Instantiate(),
		blend: s.Blend, schedule: s.Schedule, paused: s.Paused, tuned: s.Tuned, steps: s.Steps,
		stage:       leyline.SeedLifecycleStage(leyline.SeedLifecycleStage_value[s.Stage]),
		attachOrder: s.AttachOrder, order: s.Order, age: s.Age,
	}, nil
}
