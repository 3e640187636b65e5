package graft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/kernel"
)

const (
	snapshotSuffix = ".snapshot"
	maxSnapshot    = 1 << 30
)

// SnapshotCodec is what a Host may be besides, so that its snapshots outlast the
// process: Save writes them, at most 1 GiB each, or fails; and a rollback after Load goes
// back as far as it would have without a restart. Neither method changes the host.
type SnapshotCodec interface {
	// EncodeSnapshot writes down what Snapshot returned, nil excepted.
	EncodeSnapshot(snapshot any) ([]byte, error)
	// DecodeSnapshot makes of it again what Restore takes. Load calls it, so seeds
	// are not attached yet. What it refuses, Load refuses.
	DecodeSnapshot(content []byte) (any, error)
}

// savedBefore is what the model was as a seed began to blend. Files are named by
// their SHA-256: <sum>.snapshot.
type savedBefore struct {
	Moment uint64            `json:"moment"`
	Host   string            `json:"host,omitempty"` // sum; empty when the host has nothing to go back to
	Kept   map[string]string `json:"kept"`           // sums of the weights of kept seeds
}

// files are the sums of all files; none of nil.
func (b *savedBefore) files() []string {
	if b == nil {
		return nil
	}
	sums := slices.Collect(maps.Values(b.Kept))
	if b.Host != "" {
		sums = append(sums, b.Host)
	}
	return sums
}

func (b *savedBefore) check() error {
	if slices.ContainsFunc(b.files(), func(sum string) bool { return !isChecksum(sum) }) {
		return errors.New("a checksum of a snapshot is none")
	}
	return nil
}

// files is the folder of a checkpoint that is written or read: its files are named
// by their SHA-256.
type files struct {
	folder string
	host   Host
	seeds  []*seed         // all of the checkpoint
	names  map[string]bool // of what was put there
}

// put writes a file, unless it was put there before, and returns its sum.
func (f *files) put(content []byte, suffix string) (string, error) {
	sum := kernel.Checksum(content)
	if f.names[sum+suffix] {
		return sum, nil
	}
	if err := atomicfile.WriteFile(filepath.Join(f.folder, sum+suffix), content, 0o644); err != nil {
		return "", err
	}
	f.names[sum+suffix] = true
	return sum, nil
}

func (f *files) get(sum, suffix string, most int64) ([]byte, error) {
	content, err := regularfile.Read(filepath.Join(f.folder, sum+suffix), most)
	if err != nil {
		return nil, err
	}
	if got := kernel.Checksum(content); got != sum {
		return nil, fmt.Errorf("%s%s has the SHA-256 %s", sum, suffix, got)
	}
	return content, nil
}

// codec is the host's, nil when it has none.
func (f *files) codec() SnapshotCodec {
	codec, _ := f.host.(SnapshotCodec)
	return codec
}

func (f *files) saveSeed(s *seed) (savedSeed, error) {
	content, err := s.instance.Bytes()
	if err != nil {
		return savedSeed{}, err
	}
	weights, err := f.put(content, artifactSuffix)
	if err != nil {
		return savedSeed{}, err
	}
	saved := s.saved(weights)
	if s.before == nil || s.before.snapshot != nil && f.codec() == nil {
		return saved, nil // it is in the memory of the host alone, if anywhere
	}
	saved.Before, err = f.saveBefore(s.before)
	return saved, err
}

func (f *files) saveBefore(b *before) (*savedBefore, error) {
	saved := &savedBefore{Moment: b.moment, Kept: make(map[string]string)}
	if b.snapshot != nil {
		content, err := f.codec().EncodeSnapshot(b.snapshot)
		if err == nil && len(content) > maxSnapshot {
			err = fmt.Errorf("%d bytes, at most %d", len(content), maxSnapshot)
		}
		if err != nil {
			return nil, fmt.Errorf("snapshot of the host: %w", err)
		}
		if saved.Host, err = f.put(content, snapshotSuffix); err != nil {
			return nil, err
		}
	}
	for id, weights := range b.kept {
		if other := find(f.seeds, id); other == nil || weights.fit(other.weights()) != nil {
			continue // nobody is left to go back
		}
		var err error
		if saved.Kept[id], err = f.put(weights.bytes(), snapshotSuffix); err != nil {
			return nil, err
		}
	}
	return saved, nil
}

// recall gives a seed what it can go back to, if the host can read it.
func (f *files) recall(s *seed, saved *savedBefore) error {
	if saved == nil || saved.Host != "" && f.codec() == nil {
		return nil
	}
	b := &before{moment: saved.Moment, kept: make(map[string]Weights)}
	if saved.Host != "" {
		content, err := f.get(saved.Host, snapshotSuffix, maxSnapshot)
		if err != nil {
			return err
		}
		if b.snapshot, err = f.codec().DecodeSnapshot(content); err != nil {
			return fmt.Errorf("snapshot of the host: %w", err)
		}
	}
	for id, sum := range saved.Kept {
		other := find(f.seeds, id)
		if other == nil {
			return fmt.Errorf("weights of seed %.40q, which is not there", id)
		}
		content, err := f.get(sum, snapshotSuffix, kernel.MaxFileBytes)
		if err != nil {
			return err
		}
		if b.kept[id], err = weightsOf(content, other.weights()); err != nil {
			return fmt.Errorf("weights of seed %.40q: %w", id, err)
		}
	}
	s.before = b
	return nil
}

// bytes are the values one after the other, little-endian.
func (w Weights) bytes() []byte {
	var content []byte
	for _, values := range w {
		content, _ = binary.Append(content, binary.LittleEndian, values) // numbers of one size can be written
	}
	return content
}

// weightsOf divides what bytes gave among parameters.
func weightsOf(content []byte, parameters []*kernel.Parameter) (Weights, error) {
	weights := make(Weights, len(parameters))
	for i, parameter := range parameters {
		weights[i] = make([]float32, len(parameter.Value.Data))
		read, err := binary.Decode(content, binary.LittleEndian, weights[i])
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", parameter.Name, err)
		}
		content = content[read:]
	}
	if len(content) > 0 {
		return nil, fmt.Errorf("%d bytes too many", len(content))
	}
	return weights, nil
}
