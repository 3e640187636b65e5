package runstore

import (
	"context"
	"database/sql"
	"fmt"
)

// Member is one of those that share a store. Its beat grows with each sign of life.
type Member struct {
	Name string
	Beat int64
}

// Beat gives a sign of life of one that shares the store, and returns all that do. Without an exchange it is
// neither told nor asked what the series of the others are.
func (j *Journal) Beat(ctx context.Context, name string, exchange *Exchange) (all []Member, err error) {
	err = j.store.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO nissa_members (name, beat) VALUES ($1, 1) "+
			"ON CONFLICT (name) DO UPDATE SET beat = nissa_members.beat + 1", name)
		if err != nil {
			return fmt.Errorf("sign of life: %w", err)
		}
		all, err = list(ctx, tx, scanMember, "SELECT name, beat FROM nissa_members ORDER BY name")
		if err != nil || exchange == nil {
			return err
		}
		return exchange.run(ctx, tx, j.store.each)
	})
	return all, err
}

// Forget removes one that gave no sign of life since a look, or that leaves.
func (j *Journal) Forget(ctx context.Context, seen Member) error {
	return j.store.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM nissa_members WHERE name = $1 AND beat <= $2", seen.Name, seen.Beat)
		return err
	})
}

func scanMember(row *sql.Rows) (m Member, err error) {
	err = row.Scan(&m.Name, &m.Beat)
	return m, err
}
