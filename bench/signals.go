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

// trainerSource is a trainer in Python's standard library. When its input ends,
// it raises the emergency signal at random moments and prints how many
// milliseconds each took until it was seen.
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

// Other states of the same service, and another kind of trainer.
const (
	without   = "without"   // no trainer has made the segments
	abandoned = "abandoned" // the segments are there, and nobody has them open
	notifying = "notifying" // a trainer has them open that notifies for each signal
)

// Rows of what it costs to watch two segments, beside a trainer that does not notify and
// beside one that does.
const (
	rowIdleSignals    = "signal_idle_cpu_percent"
	rowNoticedSignals = "signal_noticed_cpu_percent"
)

func signalRows() []row {
	return []row{
		{"signal_seen_p50_ms", "ms", lower, nil},
		{"signal_seen_p95_ms", "ms", lower, map[string]float64{prototype: 97}},
		{"signal_seen_p99_ms", "ms", lower, nil},
		{rowIdleSignals, "% of one core", lower, nil},
		{rowNoticedSignals, "% of one core", lower, nil},
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
	if err := b.measureWatching(ctx, s, without, rowIdleSignals, rowNoticedSignals); err != nil {
		return err
	}
	var paths []string
	for _, segment := range []struct {
		name string
		size int
	}{{rollback, rollbackSize}, {emergency, emergencySize}} {
		path := filepath.Join(sharedMemory, segment.name)
		if err := os.WriteFile(path, make([]byte, segment.size), 0o600); err != nil {
			return fmt.Errorf("make segment: %w", err)
		}
		defer os.Remove(path)
		paths = append(paths, path)
	}
	return errors.Join(
		b.measureWatching(ctx, s, abandoned, rowIdleSignals, rowNoticedSignals),
		b.measureTrainer(ctx, s, ours, "silent", rowIdleSignals, paths),
		b.measureTrainer(ctx, s, notifying, "notifies", rowNoticedSignals, paths))
}

// measureTrainer takes the cost of watching a trainer that is silent, and then
// how soon its signals are seen.
func (b *bench) measureTrainer(ctx context.Context, s *service, column, manner, cost string, paths []string) (err error) {
	arguments := append([]string{"-c", trainerSource, manner, strconv.Itoa(b.pick(400, 40))}, paths...)
	trainer := exec.CommandContext(ctx, "python3", arguments...)
	begin, err := trainer.StdinPipe()
	if err != nil {
		return fmt.Errorf("run trainer: %w", err)
	}
	var output, failure strings.Builder
	trainer.Stdout, trainer.Stderr = &output, &failure
	if err := trainer.Start(); err != nil {
		return fmt.Errorf("run trainer: %w", err)
	}
	watched := b.measureWatching(ctx, s, ours, cost)
	if err := errors.Join(watched, begin.Close(), trainer.Wait()); err != nil {
		return fmt.Errorf("run trainer: %w\n%s", err, &failure)
	}
	return b.sampleSeen(column, output.String())
}

// measureWatching takes the processor time of a service at rest, as a column of rows.
func (b *bench) measureWatching(ctx context.Context, s *service, column string, rows ...string) error {
	if !b.table.wants(rows...) {
		return nil
	}
	if err := rest(ctx, time.Duration(b.pick(3500, 300))*time.Millisecond); err != nil {
		return err
	}
	idle := time.Duration(b.pick(6000, 1000)) * time.Millisecond
	ran, err := s.running(func() error { return rest(ctx, idle) })
	for _, row := range rows {
		b.table.sample(row, column, 100*ran/float64(idle.Microseconds()))
	}
	return err
}

// sampleSeen takes the milliseconds that a trainer printed.
func (b *bench) sampleSeen(column, output string) error {
	var seen []float64
	for word := range strings.FieldsSeq(output) {
		took, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return fmt.Errorf("read times of trainer: %w", err)
		}
		seen = append(seen, took)
	}
	b.table.sample("signal_seen_p50_ms", column, quantile(seen, 0.5))
	b.table.sample("signal_seen_p95_ms", column, quantile(seen, 0.95))
	b.table.sample("signal_seen_p99_ms", column, quantile(seen, 0.99))
	return nil
}
