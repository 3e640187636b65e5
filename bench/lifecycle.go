package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

func lifecycleRows() []row {
	return []row{
		{"boot_to_ready_ms", "ms", lower, map[string]float64{prototype: 2000}},
		{"boot_steps_ms", "ms", lower, nil},
		{"boot_to_ready_redis_ms", "ms", lower, map[string]float64{prototype: 2000}},
		{"resident_mb", "MiB", lower, map[string]float64{prototype: 315}},
		{"idle_cpu_percent", "% of one core", lower, nil},
		{"shutdown_idle_ms", "ms", lower, map[string]float64{prototype: 5000}},
	}
}

// idleDatabase is the one of Redis in which nothing else happens.
const idleDatabase = 15

// measureLifecycle boots services on empty data folders, leaves one alone once
// its forge is done, and stops it.
func measureLifecycle(ctx context.Context, b *bench) error {
	for i := range b.runs {
		for part, measure := range []func(context.Context, string) error{
			b.measureEmbeddedBoot, b.measureRedisBoot, b.measureLife,
		} {
			if err := measure(ctx, filepath.Join(b.folder, fmt.Sprintf("life-%d-%d", i, part))); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureEmbeddedBoot takes the boot with the broker in the same process, and
// what of it the service says itself.
func (b *bench) measureEmbeddedBoot(ctx context.Context, folder string) error {
	if !b.table.wants("boot_to_ready_ms", "boot_steps_ms") {
		return nil
	}
	s, err := b.startService(ctx, folder, "embedded:", false, "")
	if err != nil {
		return err
	}
	b.table.sample("boot_to_ready_ms", ours, milliseconds(time.Since(s.begun)))
	status, err := s.status(ctx)
	steps := 0.0
	for _, step := range status.Boot {
		steps += step.TookMs
	}
	b.table.sample("boot_steps_ms", ours, steps)
	return errors.Join(err, s.quit())
}

// measureRedisBoot takes the boot alone, on a real Redis.
func (b *bench) measureRedisBoot(ctx context.Context, folder string) error {
	if !b.table.wants("boot_to_ready_redis_ms") {
		return nil
	}
	s, err := b.startService(ctx, folder, b.idleURL(), false, "")
	if err != nil {
		return err
	}
	b.table.sample("boot_to_ready_redis_ms", ours, milliseconds(time.Since(s.begun)))
	return s.quit()
}

func (b *bench) idleURL() string { return fmt.Sprintf("redis://%s/%d", b.redis.addr, idleDatabase) }

// measureLife takes what a service with all its workers needs while nothing
// happens, on a real Redis, and how long it takes to end.
func (b *bench) measureLife(ctx context.Context, folder string) error {
	if !b.table.wants("resident_mb", "idle_cpu_percent", "shutdown_idle_ms") {
		return nil
	}
	s, err := b.startService(ctx, folder, b.idleURL(), true, "")
	if err != nil {
		return err
	}
	if err := b.measureIdle(ctx, s); err != nil {
		return errors.Join(err, s.quit())
	}
	took, err := s.stop()
	b.table.sample("shutdown_idle_ms", ours, milliseconds(took))
	return err
}

func (b *bench) measureIdle(ctx context.Context, s *service) error {
	if err := s.awaitForge(ctx); err != nil {
		return err
	}
	if err := rest(ctx, time.Duration(b.pick(3000, 500))*time.Millisecond); err != nil {
		return err
	}
	idle := time.Duration(b.pick(10_000, 1000)) * time.Millisecond
	ran, err := s.running(func() error { return rest(ctx, idle) })
	if err != nil {
		return err
	}
	b.table.sample("idle_cpu_percent", ours, 100*ran/float64(idle.Microseconds()))
	resident, err := s.residentMB()
	b.table.sample("resident_mb", ours, resident)
	return err
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }
