package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// trainerSource is a trainer in Python's standard library that raises the
// emergency signal at random moments and prints how many milliseconds each took
// until it was seen.
//
//go:embed signals.py
var trainerSource string

// sharedMemory is where Linux keeps POSIX shared memory.
const sharedMemory = "/dev/shm"

// Sizes of the records, in bytes.
const (
	rollbackSize  = 16
	emergencySize = 64
)

// without is the same service before a trainer has made its segments.
const without = "without"

func signalRows() []row {
	return []row{
		{"signal_seen_p50_ms", "ms", lower, nil},
		{"signal_seen_p95_ms", "ms", lower, map[string]float64{prototype: 97}},
		{"signal_seen_p99_ms", "ms", lower, nil},
		{"signal_idle_cpu_percent", "% of one core", lower, nil},
	}
}

// measureSignals takes how soon a service sees what a trainer raises in shared
// memory, and what it costs to watch for it.
func measureSignals(ctx context.Context, b *bench) error {
	for i := range b.runs {
		if err := b.measureSignalRun(ctx, fmt.Sprintf("signals-%d", i)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) measureSignalRun(ctx context.Context, name string) (err error) {
	rollback, emergency := fmt.Sprint("esper-bench-r-", os.Getpid()), fmt.Sprint("esper-bench-e-", os.Getpid())
	s, err := b.startService(ctx, filepath.Join(b.folder, name), b.idleURL(), false, "",
		"TOLARIA_ROLLBACK_SIGNAL_NAME="+rollback, "TOLARIA_EMERGENCY_SIGNAL_NAME="+emergency)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.quit()) }()
	if err := b.measureWatching(ctx, s, without); err != nil {
		return err
	}
	for name, size := range map[string]int{rollback: rollbackSize, emergency: emergencySize} {
		path := filepath.Join(sharedMemory, name)
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			return fmt.Errorf("make segment: %w", err)
		}
		defer os.Remove(path)
	}
	if err := b.measureWatching(ctx, s, ours); err != nil {
		return err
	}
	return b.measureSeen(ctx, filepath.Join(sharedMemory, emergency))
}

// measureWatching takes the processor time of a service at rest.
func (b *bench) measureWatching(ctx context.Context, s *service, column string) error {
	if !b.table.wants("signal_idle_cpu_percent") {
		return nil
	}
	if err := rest(ctx, time.Duration(b.pick(2000, 300))*time.Millisecond); err != nil {
		return err
	}
	idle := time.Duration(b.pick(6000, 1000)) * time.Millisecond
	ran, err := s.running(func() error { return rest(ctx, idle) })
	b.table.sample("signal_idle_cpu_percent", column, 100*ran/float64(idle.Microseconds()))
	return err
}

// measureSeen lets a trainer raise signals.
func (b *bench) measureSeen(ctx context.Context, path string) error {
	n := strconv.Itoa(b.pick(400, 40))
	output, err := exec.CommandContext(ctx, "python3", "-c", trainerSource, path, n).Output()
	if err != nil {
		return fmt.Errorf("run trainer: %w", err)
	}
	var seen []float64
	for word := range strings.FieldsSeq(string(output)) {
		took, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return fmt.Errorf("read times of trainer: %w", err)
		}
		seen = append(seen, took)
	}
	b.table.sample("signal_seen_p50_ms", ours, quantile(seen, 0.5))
	b.table.sample("signal_seen_p95_ms", ours, quantile(seen, 0.95))
	b.table.sample("signal_seen_p99_ms", ours, quantile(seen, 0.99))
	return nil
}
