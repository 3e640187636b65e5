package runstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// importRows is how many rows of a run are imported in one transaction: all others wait for it, and databases
// bound a statement.
const importRows = 10_000

// Import reads the runs of exports, and returns their ids. ErrExists when one of them is in
// the store, ErrCut when one is not whole and parts are not asked for: then nothing is changed.
// A run is there once all of it is: its record comes last.
func (s *Store) Import(ctx context.Context, from io.Reader, parts bool) (ids []string, err error) {
	batches, err := readExport(from, parts)
	if err != nil {
		return nil, err
	}
	for _, b := range batches {
		ids = slices.AppendSeq(ids, maps.Keys(b.Runs))
	}
	for _, id := range ids {
		if err := absent(ctx, s.db, id); err != nil {
			return nil, err
		}
	}
	for i, b := range batches {
		owner := rand.Text()
		if err := importRun(ctx, s, ids[i], owner, b); err != nil {
			// Also when who asked has gone: what has no record is nobody's.
			return ids[:i], errors.Join(err, dropImport(context.WithoutCancel(ctx), s, unfinished{run: ids[i], owner: owner}))
		}
	}
	return ids, nil
}

func absent(ctx context.Context, q querier, id string) error {
	known, err := list(ctx, q, scanInteger, "SELECT 1 FROM nissa_runs WHERE run = $1", id)
	if err == nil && len(known) > 0 {
		err = fmt.Errorf("%w: %q", ErrExists, id)
	}
	return err
}

// clearRun removes what there is of a run that has no record: an import that did not end left it.
func clearRun(ctx context.Context, s *Store, id string) error {
	for _, table := range []string{"nissa_reports", "nissa_points", "nissa_events", "nissa_decisions", "nissa_seeds"} {
		const nobodys = "run = $1 AND NOT EXISTS (SELECT 1 FROM nissa_runs WHERE run = $1)"
		if err := s.prune(ctx, table, "rowid", nobodys, id); err != nil {
			return err
		}
	}
	return nil
}

func importRun(ctx context.Context, s *Store, id, owner string, b *runs.Batch) error {
	if err := beginImport(ctx, s, id, owner); err != nil {
		return err
	}
	if err := clearRun(ctx, s, id); err != nil {
		return err
	}
	all := portions(b)
	for i, portion := range all {
		var head int64
		err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			err := absent(ctx, tx, id)
			if err == nil {
				err = holdImport(ctx, tx, id, owner, i == len(all)-1)
			}
			if err == nil {
				head, err = s.save(ctx, tx, portion)
			}
			return err
		})
		if err != nil {
			return err
		}
		s.advance(head)
	}
	return nil
}

// portions are those of a run, its record at the end.
func portions(b *runs.Batch) (all []*runs.Batch) {
	next := func() *runs.Batch {
		all = append(all, runs.NewBatch(nil))
		return all[len(all)-1]
	}
	for rows := range slices.Chunk(b.Events, importRows) {
		next().Events = rows
	}
	for rows := range slices.Chunk(b.Reports, importRows) {
		next().Reports = rows
	}
	for rows := range slices.Chunk(b.Points, importRows) {
		next().Points = rows
	}
	for rows := range slices.Chunk(b.Decisions, importRows/10) { // which are long
		next().Decisions = rows
	}
	for keys := range slices.Chunk(slices.Collect(maps.Keys(b.Seeds)), importRows) {
		into := next()
		for _, key := range keys {
			into.Seeds[key] = b.Seeds[key]
		}
	}
	next().Runs = b.Runs
	return all
}
