package runstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// ErrDeposed: another leads by now, or has led meanwhile.
var ErrDeposed = errors.New("another has the lead")

// Lead is who leads of those that could judge, by the last sign of life. It changes with each.
type Lead struct {
	Token, Beat int64
	Holder      string // empty: nobody
}

// Judged is what was made of all that was judged, up to a place.
type Judged struct {
	Version, Place int64
	State          string
}

// Journal is what is to be judged for alerts, what became of it, who judges, and who else could. It is a part of
// the store.
type Journal struct{ store *Store }

// NewJournal is that of a store.
func NewJournal(store *Store) *Journal { return &Journal{store} }

// Head is the newest place that is known, and a channel that is closed when there is a newer one.
func (j *Journal) Head() (int64, <-chan struct{}) { return j.store.Head() }

// Lead looks who leads.
func (j *Journal) Lead(ctx context.Context) (Lead, error) {
	return first(look(ctx, j.store, scanLead, "SELECT token, beat, holder FROM nissa_lead"))
}

func scanLead(row *sql.Rows) (l Lead, err error) {
	err = row.Scan(&l.Token, &l.Beat, &l.Holder)
	return l, err
}

// TakeLead takes the lead over for a holder, unless there was a sign of life since a look, or
// another was quicker: then it is ErrDeposed. It returns the token under which what was judged
// may be written from now on, and what that is.
func (j *Journal) TakeLead(ctx context.Context, seen Lead, holder string) (token int64, judged Judged, err error) {
	err = j.store.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		const take = "UPDATE nissa_lead SET beat = beat + 1, token = token + 1, holder = $3 WHERE token = $1 AND beat = $2"
		if err := underLead(ctx, tx, take, seen.Token, seen.Beat, holder); err != nil {
			return err
		}
		judged, err = first(list(ctx, tx, scanJudged, "SELECT version, place, state FROM nissa_judged"))
		return err
	})
	return seen.Token + 1, judged, err
}

// sign is the statement that gives a sign of life.
const sign = "UPDATE nissa_lead SET beat = beat + 1 WHERE token = $1"

// underLead changes the lead by a statement, which must find it.
func underLead(ctx context.Context, tx *sql.Tx, statement string, args ...any) error {
	result, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return fmt.Errorf("lead: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return ErrDeposed
}

// LeaveLead lets another lead at once.
func (j *Journal) LeaveLead(ctx context.Context, token int64) error {
	return j.store.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return underLead(ctx, tx, "UPDATE nissa_lead SET beat = beat + 1, holder = '' WHERE token = $1", token)
	})
}

// Judged is what was judged last, unless that is a version which is known.
func (j *Journal) Judged(ctx context.Context, known int64) (judged Judged, newer bool, err error) {
	judged, err = first(look(ctx, j.store, scanJudged, "SELECT version, place, state FROM nissa_judged WHERE version <> $1", known))
	if errors.Is(err, ErrNotFound) {
		return judged, false, nil
	}
	return judged, err == nil, err
}

func scanJudged(row *sql.Rows) (judged Judged, err error) {
	err = row.Scan(&judged.Version, &judged.Place, &judged.State)
	return judged, err
}

// SaveJudged gives a sign of life of who leads and, unless it is nil, writes what was judged in
// place of what was there, and removes what is thereby done with.
func (j *Journal) SaveJudged(ctx context.Context, token int64, judged *Judged) error {
	return j.store.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := underLead(ctx, tx, sign, token); err != nil || judged == nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE nissa_judged SET version = $1, place = $2, state = $3",
			judged.Version, judged.Place, judged.State)
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM nissa_unjudged WHERE seq <= $1", judged.Place)
		}
		return err
	})
}

// SetAside keeps what was judged last, which could not be read, from being written over.
func (j *Journal) SetAside(ctx context.Context, token int64) error {
	return j.store.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		err := underLead(ctx, tx, sign, token)
		if err == nil {
			_, err = tx.ExecContext(ctx, "UPDATE nissa_judged SET aside = state")
		}
		return err
	})
}

// unjudgedRows is how many are judged at a time.
const unjudgedRows = 500

// Unjudged is what is to be judged behind a place, in its order, as much of it as is judged at a time,
// and whether there is more.
func (j *Journal) Unjudged(ctx context.Context, after int64) (entries []runs.Unjudged, more bool, err error) {
	sizes, err := look(ctx, j.store, scanExtent[int64], "SELECT seq, LENGTH(body) FROM nissa_unjudged WHERE seq > $1 ORDER BY seq LIMIT $2",
		after, unjudgedRows+1)
	if err != nil || len(sizes) == 0 {
		return nil, false, err
	}
	n := fitting(sizes, unjudgedRows)
	entries, err = look(ctx, j.store, scanUnjudged, "SELECT seq, body FROM nissa_unjudged WHERE seq > $1 AND seq <= $2 ORDER BY seq",
		after, sizes[n-1].key)
	return entries, n < len(sizes), err
}

// Wish takes in what tells of something that somebody wants of who leads, puts the wish behind what is to be
// judged, and returns its place.
func (j *Journal) Wish(ctx context.Context, wish runs.Message) (place int64, err error) {
	_, place, err = j.store.put(ctx, []runs.Message{wish})
	return place, err
}
