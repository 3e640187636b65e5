package runstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

const (
	// seenLife is how long a message is remembered: far longer than the bus keeps one. When
	// there are more than mostSeen, or than a quarter of the room, it is shorter, but never than seenLeast: the bus does not
	// hold as many.
	seenLife  = 24 * time.Hour
	seenLeast = 5 * time.Minute
	mostSeen  = 2_000_000
	seenShare = 4
	markBytes = 80 // about, with its indexes
	// live is how long after it was heard of a run is not removed as a whole for want of room.
	live = 10 * time.Minute
	// slack is the part of the retention by which a run may be too long: to shorten one is to
	// go through all of it.
	slack = 32
	// shares is how many times as much as all others a run may have before it makes room for them.
	shares = 4
	// mostSeeds is how many seeds a run has that all stay when it is shortened.
	mostSeeds = 1000
	// slice is how many rows one transaction removes: the others wait for it.
	slice = 10_000
)

// Tidy removes what is too old, and the oldest of what is too much. It is not called twice at a time.
func (s *Store) Tidy(ctx context.Context, now time.Time) error {
	now, doubt := age(ctx, s, now)
	if doubt != nil && !errors.Is(doubt, ErrClock) {
		return doubt
	}
	return errors.Join(doubt, sweep(ctx, s), s.forget(ctx, now), forgetSeries(ctx, s, now), s.retain(ctx, now), s.fit(ctx, now))
}

// forget removes marks that nobody will ask for.
func (s *Store) forget(ctx context.Context, now time.Time) error {
	beyond, err := look(ctx, s, scanInteger, "SELECT at FROM nissa_seen ORDER BY at DESC LIMIT 1 OFFSET $1",
		min(mostSeen, s.config.MostBytes/seenShare/markBytes))
	if err != nil {
		return err
	}
	return s.prune(ctx, "nissa_seen", "made, hash", "at < $1", forgetBefore(now, beyond))
}

// forgetBefore is the time before which marks are forgotten, by that of the newest beyond
// their number, if there is one.
func forgetBefore(now time.Time, beyond []int64) int64 {
	before := now.Add(-seenLife).UnixMicro()
	if len(beyond) > 0 {
		before = max(before, min(beyond[0]+1, now.Add(-seenLeast).UnixMicro()))
	}
	return before
}

// forgetSeries removes what was shared of series that nobody tells of any more, and of too many those that were not
// heard of for the longest.
func forgetSeries(ctx context.Context, s *Store, now time.Time) error {
	const beyond = "hash IN (SELECT hash FROM nissa_series ORDER BY heard DESC LIMIT 1000000 OFFSET $1)"
	return errors.Join(
		s.prune(ctx, "nissa_series", "hash", "heard < $1", now.Add(-s.config.SeriesTTL).UnixMicro()),
		s.prune(ctx, "nissa_series", "hash", beyond, s.config.Series),
	)
}

// retain removes what is older than the retention.
func (s *Store) retain(ctx context.Context, now time.Time) error {
	oldest := now.Add(-s.config.Retention)
	for _, table := range []string{"nissa_alarms", "nissa_sources"} {
		if err := s.prune(ctx, table, "rowid", "last_at < $1", oldest.UnixMicro()); err != nil {
			return err
		}
	}
	aged, err := look(ctx, s, scanText, "SELECT run FROM nissa_runs WHERE last_at < $1 OR kept_from < $2",
		oldest.UnixMicro(), oldest.Add(-s.config.Retention/slack).UnixMicro())
	if err != nil {
		return err
	}
	for _, run := range aged {
		if err := s.shorten(ctx, run, oldest); err != nil {
			return err
		}
	}
	return nil
}

// fit removes until the store is within its size, or has nothing that could be removed. Marks
// of the last minutes take half of the room at most.
func (s *Store) fit(ctx context.Context, now time.Time) error {
	for {
		size, err := s.Size(ctx)
		marks := size.Marks * markBytes
		if err != nil || size.Bytes-marks <= s.config.MostBytes-min(marks, s.config.MostBytes/2) {
			return err
		}
		if err := s.makeRoom(ctx, now); err != nil {
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			return err
		}
	}
}

// makeRoom has the largest run lose its older half when it has far more than its share, or when all
// are being heard of. Otherwise the run that was heard of longest ago goes.
func (s *Store) makeRoom(ctx context.Context, now time.Time) error {
	stale, err := first(look(ctx, s, scanRecord[runs.Run], "SELECT record FROM nissa_runs ORDER BY last_at, run LIMIT 1"))
	if err != nil {
		return err
	}
	largest, err := first(look(ctx, s, scanRecord[runs.Run], "SELECT record FROM nissa_runs ORDER BY bytes DESC, run LIMIT 1"))
	if err != nil {
		return err
	}
	all, err := first(look(ctx, s, scanInteger, "SELECT COUNT(*) FROM nissa_runs"))
	if err != nil {
		return err
	}
	middle := largest.KeptFrom.Add(largest.LastAt.Sub(largest.KeptFrom) / 2)
	halved, greedy := middle.After(largest.KeptFrom), largest.Bytes > s.config.fairShare(all)
	switch {
	case halved && (greedy || now.Sub(stale.LastAt) <= live):
		return s.shorten(ctx, largest.ID, middle)
	case greedy: // all of it is of one moment
		return s.shorten(ctx, largest.ID, largest.LastAt.Add(time.Second))
	default:
		return s.shorten(ctx, stale.ID, stale.LastAt.Add(time.Microsecond))
	}
}

// fairShare is what one of all runs may have before others make room for it: some times as much as
// each would have if all were alike, and half of all at most.
func (c Config) fairShare(all int64) int64 { return min(shares*c.MostBytes/all, c.MostBytes/2) }

// prune removes the rows of a table for which a condition holds, slice by slice. Key is what
// tells rows of SQLite apart.
func (s *Store) prune(ctx context.Context, table, key, condition string, args ...any) error {
	for more := true; more; {
		err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
			more, err = s.removeSlice(ctx, tx, table, key, condition, args...)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) removeSlice(ctx context.Context, tx *sql.Tx, table, key, condition string, args ...any) (more bool, err error) {
	statement := "DELETE FROM %s WHERE (%s) IN (SELECT %[2]s FROM %[1]s WHERE %[3]s LIMIT %[4]d)"
	if s.db.Postgres {
		key, statement = "ctid", "DELETE FROM %s WHERE %s = ANY(ARRAY(SELECT %[2]s FROM %[1]s WHERE %[3]s LIMIT %[4]d))"
	}
	removed, err := tx.ExecContext(ctx, fmt.Sprintf(statement, table, key, condition, slice), args...)
	if err != nil {
		return false, fmt.Errorf("remove from %s: %w", table, err)
	}
	n, err := removed.RowsAffected()
	return n == slice, err
}

// shorten removes what a run was told before a time, and all of one that was not heard of
// since. One that is not there was removed by another process.
func (s *Store) shorten(ctx context.Context, run string, from time.Time) error {
	for _, table := range []string{"nissa_reports", "nissa_points", "nissa_events", "nissa_decisions"} {
		if err := s.prune(ctx, table, "rowid", "run = $1 AND at < $2", run, from.UnixMicro()); err != nil {
			return err
		}
	}
	for more := true; more; {
		err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
			more, err = s.shortenRecord(ctx, tx, run, from)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// shortenRecord has the record of a run say what is left of it, or removes it behind those
// of its seeds, of which there may be more than a slice.
func (s *Store) shortenRecord(ctx context.Context, tx *sql.Tx, run string, from time.Time) (more bool, err error) {
	r, err := first(list(ctx, tx, scanRecord[runs.Run], "SELECT record FROM nissa_runs WHERE run = $1", run))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if r.LastAt.Before(from) {
		more, err = s.removeSlice(ctx, tx, "nissa_seeds", "rowid", "run = $1", run)
		if err == nil && !more {
			_, err = s.removeSlice(ctx, tx, "nissa_runs", "rowid", "run = $1", run)
		}
		return more, err
	}
	if more, err = s.shortenSeeds(ctx, tx, run, from); err != nil || more {
		return more, err
	}
	if r.Bytes, err = weigh(ctx, tx, run); err != nil {
		return false, err
	}
	r.KeptFrom = from.UTC()
	return false, putRows(ctx, tx, &runTable, s.each, [][]any{runRow(&r)})
}

// shortenSeeds removes the seeds that were not heard of since a time, where there are so many that a run
// could not be made smaller without.
func (s *Store) shortenSeeds(ctx context.Context, tx *sql.Tx, run string, from time.Time) (more bool, err error) {
	seeds, err := first(list(ctx, tx, scanInteger, "SELECT COUNT(*) FROM nissa_seeds WHERE run = $1", run))
	if err != nil || seeds <= mostSeeds {
		return false, err
	}
	return s.removeSlice(ctx, tx, "nissa_seeds", "rowid", "run = $1 AND "+s.heard+" < $2", run, from.UTC().Format("2006-01-02T15:04:05"))
}

// weigh is about what is stored of a run.
func weigh(ctx context.Context, tx *sql.Tx, run string) (total int64, err error) {
	for _, query := range []string{
		"SELECT COUNT(*), 0, 0 FROM nissa_runs WHERE run = $1",
		"SELECT COUNT(*), 0, 0 FROM nissa_seeds WHERE run = $1",
		"SELECT 0, COUNT(*), COALESCE(SUM(LENGTH(metrics)), 0) FROM nissa_reports WHERE run = $1",
		"SELECT 0, COUNT(*), COALESCE(SUM(LENGTH(metrics)), 0) FROM nissa_points WHERE run = $1",
		"SELECT 0, COUNT(*), COALESCE(SUM(LENGTH(details)), 0) FROM nissa_events WHERE run = $1",
		"SELECT 0, COUNT(*), COALESCE(SUM(LENGTH(transcript)), 0) FROM nissa_decisions WHERE run = $1",
	} {
		var records, rows, texts int64
		if err := tx.QueryRowContext(ctx, query, run).Scan(&records, &rows, &texts); err != nil {
			return 0, fmt.Errorf("weigh run: %w", err)
		}
		total += records*runs.RecordBytes + rows*(runs.RowBytes+int64(len(run))) + texts
	}
	return total, nil
}
