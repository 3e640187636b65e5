package signing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// followPeriod is the pause between two looks at a source of secrets.
const followPeriod = time.Second

// ErrUnrelated refuses secrets at run time of which none is in use: who went over to them
// would understand nobody that it worked with until then. Rotation has one in common at
// each step; a new start takes any.
var ErrUnrelated = errors.New("none of the new secrets is in use: rotate in steps, or restart")

// Source reads the secret that signs, and those that are accepted beside it, as
// they are now.
type Source func() (current string, previous []string, err error)

// Follower keeps a keyring at what a source says: a file of secrets that an
// operator rotates.
type Follower struct {
	logger *slog.Logger
	ring   *Keyring

	mu     sync.Mutex
	source Source
	inUse  []string // the one that signs first
	faults int64
}

// Follow makes a keyring of what the source says now. It fails with ErrNoSecret
// when that is blank, and with the error of the source.
func Follow(source Source, logger *slog.Logger) (*Follower, error) {
	current, previous, err := source()
	if err != nil {
		return nil, err
	}
	ring, err := NewKeyring(current, previous...)
	if err != nil {
		return nil, err
	}
	return &Follower{source: source, logger: logger, ring: ring, inUse: secretsOf(current, previous)}, nil
}

// Keyring is the ring that follows.
func (f *Follower) Keyring() *Keyring { return f.ring }

// Faults is how often what the source said could not be taken over.
func (f *Follower) Faults() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.faults
}

// Reload goes over to what the source says now, at once. When it cannot be read, or its
// secrets are unrelated, everything stays as it was.
func (f *Follower) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.adopt(f.source)
}

// Use follows another source from now on, and goes over to what it says at once.
// When it cannot be read, or its secrets are unrelated, everything stays as it was.
func (f *Follower) Use(source Source) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.adopt(source); err != nil {
		return err
	}
	f.source = source
	return nil
}

func (f *Follower) adopt(source Source) error {
	err := f.takeOver(source)
	if err != nil {
		f.faults++
	}
	return err
}

func (f *Follower) takeOver(source Source) error {
	current, previous, err := source()
	if err != nil {
		return fmt.Errorf("reload secrets: %w", err)
	}
	now := secretsOf(current, previous)
	if slices.Equal(now, f.inUse) {
		return nil
	}
	if !slices.ContainsFunc(now, func(secret string) bool { return slices.Contains(f.inUse, secret) }) {
		return ErrUnrelated
	}
	if err := f.ring.Rotate(current, previous...); err != nil {
		return fmt.Errorf("rotate secrets: %w", err)
	}
	f.inUse = now
	f.logger.Info("secrets rotated", "key", f.ring.KeyID(), "accepted", len(now))
	return nil
}

// Run reloads when the source changes, until ctx is done. A source that cannot
// be read is told of once.
func (f *Follower) Run(ctx context.Context) error {
	ticker := time.NewTicker(followPeriod)
	defer ticker.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		fault := ""
		if err := f.Reload(); err != nil {
			fault = err.Error()
		}
		if fault != "" && fault != told {
			f.logger.Warn("secrets stay as they were", "error", fault)
		}
		told = fault
	}
}

func secretsOf(current string, previous []string) []string {
	return append([]string{current}, previous...)
}
