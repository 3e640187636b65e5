package runstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

const (
	// seenLife is how long a message is remembered: far longer than the bus keeps one. When
	// there are more than mostSeen it is shorter, but never than seenLeast: the bus does not
	// hold as many.
	seenLife  = 24 * time.Hour
	seenLeast = 5 * time.Minute
	mostSeen  = 2_000_000
	// live is how long after it was heard of a run is not removed as a whole for want of room.
	live = 10 * time.Minute
)

// Tidy removes what is too old, and the oldest of what is too much.
func (s *Store) Tidy(ctx context.Context, now time.Time) error {
	oldest := now.Add(-s.config.Retention)
	if err := s.forget(ctx, now, oldest); err != nil {
		return err
	}
	aged, err := list(ctx, s.db, scanRecord[runs.Run], "SELECT record FROM nissa_runs WHERE kept_from < $1", oldest.UnixMicro())
	if err != nil {
		return err
	}
	for _, r := range aged {
		if err := s.shorten(ctx, r.ID, oldest); err != nil {
			return err
		}
	}
	for {
		size, err := s.Size(ctx)
		if err != nil || size.Bytes <= s.config.MostBytes {
			return err
		}
		if err := s.makeRoom(ctx, now); err != nil {
			return err
		}
	}
}

// forget removes marks and records that nobody will ask for.
func (s *Store) forget(ctx context.Context, now, oldest time.Time) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, step := range []struct {
			statement string
			before    time.Time
		}{
			{"DELETE FROM nissa_alarms WHERE last_at < $1", oldest},
			{"DELETE FROM nissa_sources WHERE last_at < $1", oldest},
		} {
			if _, err := tx.ExecContext(ctx, step.statement, step.before.UnixMicro()); err != nil {
				return fmt.Errorf("tidy: %w", err)
			}
		}
		return forgetSeen(ctx, tx, now)
	})
}

func forgetSeen(ctx context.Context, tx *sql.Tx, now time.Time) error {
	for life := seenLife; life >= seenLeast; life /= 2 {
		if _, err := tx.ExecContext(ctx, "DELETE FROM nissa_seen WHERE at < $1", now.Add(-life).UnixMicro()); err != nil {
			return fmt.Errorf("tidy: %w", err)
		}
		kept, err := first(list(ctx, tx, scanInteger, "SELECT COUNT(*) FROM nissa_seen"))
		if err != nil || kept <= mostSeen {
			return err
		}
	}
	return nil
}

// makeRoom removes the run that was heard of longest ago or, when all are being heard of,
// the older half of the largest.
func (s *Store) makeRoom(ctx context.Context, now time.Time) error {
	stale, err := first(list(ctx, s.db, scanRecord[runs.Run], "SELECT record FROM nissa_runs ORDER BY last_at, run LIMIT 1"))
	if err != nil {
		return err
	}
	if now.Sub(stale.LastAt) > live {
		return s.Remove(ctx, stale.ID)
	}
	largest, err := first(list(ctx, s.db, scanRecord[runs.Run], "SELECT record FROM nissa_runs ORDER BY bytes DESC, run LIMIT 1"))
	if err != nil {
		return err
	}
	middle := largest.KeptFrom.Add(largest.LastAt.Sub(largest.KeptFrom) / 2)
	if !middle.After(largest.KeptFrom) { // nothing that could be halved
		return s.Remove(ctx, stale.ID)
	}
	return s.shorten(ctx, largest.ID, middle)
}

// Remove removes a run with all that belongs to it.
func (s *Store) Remove(ctx context.Context, run string) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, statement := range []string{
			"DELETE FROM nissa_reports WHERE run = $1",
			"DELETE FROM nissa_points WHERE run = $1",
			"DELETE FROM nissa_events WHERE run = $1",
			"DELETE FROM nissa_seeds WHERE run = $1",
			"DELETE FROM nissa_runs WHERE run = $1",
		} {
			if _, err := tx.ExecContext(ctx, statement, run); err != nil {
				return fmt.Errorf("remove run: %w", err)
			}
		}
		return nil
	})
}

// shorten removes what a run was told before a time, and all of one that was not heard of
// since.
func (s *Store) shorten(ctx context.Context, run string, from time.Time) error {
	gone := false
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		r, err := first(list(ctx, tx, scanRecord[runs.Run], "SELECT record FROM nissa_runs WHERE run = $1", run))
		if err != nil {
			return err
		}
		if gone = r.LastAt.Before(from); gone {
			return nil
		}
		for _, statement := range []string{
			"DELETE FROM nissa_reports WHERE run = $1 AND at < $2", "DELETE FROM nissa_points WHERE run = $1 AND at < $2",
			"DELETE FROM nissa_events WHERE run = $1 AND at < $2",
		} {
			if _, err := tx.ExecContext(ctx, statement, run, from.UnixMicro()); err != nil {
				return fmt.Errorf("shorten run: %w", err)
			}
		}
		if r.Bytes, err = s.weigh(ctx, tx, run); err != nil {
			return err
		}
		r.KeptFrom = from.UTC()
		return s.put(ctx, tx, &runTable, [][]any{runRow(&r)})
	})
	if err != nil || !gone {
		return err
	}
	return s.Remove(ctx, run)
}

// weigh is about what is stored of a run.
func (s *Store) weigh(ctx context.Context, tx *sql.Tx, run string) (total int64, err error) {
	for _, query := range []string{
		"SELECT COUNT(*), 0, 0 FROM nissa_runs WHERE run = $1",
		"SELECT COUNT(*), 0, 0 FROM nissa_seeds WHERE run = $1",
		"SELECT 0, COUNT(*), COALESCE(SUM(LENGTH(metrics)), 0) FROM nissa_reports WHERE run = $1",
		"SELECT 0, COUNT(*), COALESCE(SUM(LENGTH(metrics)), 0) FROM nissa_points WHERE run = $1",
		"SELECT 0, COUNT(*), COALESCE(SUM(LENGTH(details)), 0) FROM nissa_events WHERE run = $1",
	} {
		var records, rows, texts int64
		if err := tx.QueryRowContext(ctx, query, run).Scan(&records, &rows, &texts); err != nil {
			return 0, fmt.Errorf("weigh run: %w", err)
		}
		total += records*runs.RecordBytes + rows*(runs.RowBytes+int64(len(run))) + texts
	}
	return total, nil
}
