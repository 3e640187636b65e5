package runstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// abandoned is how long an import gives no sign of life until what there is of its run goes. A portion takes
// as long as a transaction may at most.
const abandoned = 4 * writeTimeout

// errTakenOver ends an import that is no longer the newest of its run, or that was taken for dead.
var errTakenOver = errors.New("another import of it began, or this one gave no sign of life")

// shown holds for rows of runs, but those whose import is not done. All that is read goes by it; a run
// itself is there from the end of its import on.
const shown = "run NOT IN (SELECT run FROM nissa_imports)"

// unfinished is the mark of an import that is not done.
type unfinished struct {
	run, owner string
	beat       int64
}

func scanUnfinished(row *sql.Rows) (u unfinished, err error) {
	err = row.Scan(&u.run, &u.owner, &u.beat)
	return u, err
}

// beginImport marks a run as one of which nothing is shown.
func beginImport(ctx context.Context, s *Store, run, owner string) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := absent(ctx, tx, run); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO nissa_imports (run, owner, beat) VALUES ($1, $2, 0) "+
			"ON CONFLICT (run) DO UPDATE SET owner = excluded.owner, beat = 0", run, owner)
		return err
	})
}

// holdImport is a sign of life, in the transaction of a portion; with the last one the mark goes.
func holdImport(ctx context.Context, tx *sql.Tx, run, owner string, last bool) error {
	statement := "UPDATE nissa_imports SET beat = beat + 1 WHERE run = $1 AND owner = $2"
	if last {
		statement = "DELETE FROM nissa_imports WHERE run = $1 AND owner = $2"
	}
	held, err := tx.ExecContext(ctx, statement, run, owner)
	if err != nil {
		return fmt.Errorf("mark of import: %w", err)
	}
	n, err := held.RowsAffected()
	if err == nil && n == 0 {
		err = fmt.Errorf("import %q: %w", run, errTakenOver)
	}
	return err
}

// dropImport removes what there is of the run of an import that will not end. Its mark is taken over first, so
// that nobody adds to the run meanwhile, and goes last.
func dropImport(ctx context.Context, s *Store, of unfinished) error {
	const mine = "clearing"
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		taken, err := tx.ExecContext(ctx, "UPDATE nissa_imports SET owner = $3 WHERE run = $1 AND owner = $2", of.run, of.owner, mine)
		if err != nil {
			return fmt.Errorf("mark of import: %w", err)
		}
		if n, err := taken.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, errTakenOver)
		}
		return nil
	})
	if errors.Is(err, errTakenOver) {
		return nil // it is another's by now
	}
	if err == nil {
		err = clearRun(ctx, s, of.run)
	}
	if err != nil {
		return err
	}
	return s.prune(ctx, "nissa_imports", "run", "run = $1 AND owner = $2", of.run, mine)
}

// sweep drops the imports that gave no sign of life for long: who began them was killed.
func sweep(ctx context.Context, s *Store) error {
	all, err := look(ctx, s, scanUnfinished, "SELECT run, owner, beat FROM nissa_imports")
	if err != nil {
		return err
	}
	now, seen := time.Now(), map[string]Sighting[unfinished]{}
	for _, one := range all {
		seen[one.run] = s.begun[one.run].Next(one, now)
		if now.Sub(seen[one.run].Since) >= abandoned {
			err = errors.Join(err, dropImport(ctx, s, one))
		}
	}
	s.begun = seen
	return err
}
