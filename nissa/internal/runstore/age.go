package runstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ErrClock: the clock is far ahead of what it was, and nothing is removed for its age by it as yet.
var ErrClock = errors.New("the clock has gone far ahead")

const (
	// jumpShare is the part of the retention by which a clock that goes ahead at once is believed.
	jumpShare = 8
	// doubtFor is for how long one that goes further ahead is not: for as long as it is, what would be too
	// old by it stays.
	doubtFor = 24 * time.Hour
)

// age is the time by which what is kept is too old: now, unless its clock has gone further ahead than
// clocks do. What is removed for that does not come back when the clock does.
func age(ctx context.Context, s *Store, now time.Time) (time.Time, error) {
	tidied, err := first(look(ctx, s, scanInteger, "SELECT tidied FROM nissa_clock"))
	if err != nil {
		return now, err
	}
	ahead := now.Sub(timeOf(tidied))
	if tidied == 0 || ahead <= s.config.Retention/jumpShare {
		s.doubted = time.Time{}
	} else {
		if s.doubted.IsZero() {
			s.doubted = time.Now()
		}
		if left := doubtFor - time.Since(s.doubted); left > 0 {
			return timeOf(tidied), fmt.Errorf("%w: by %s since what is kept was last judged by its age; it is believed in %s",
				ErrClock, ahead.Round(time.Second), left.Round(time.Minute))
		}
	}
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE nissa_clock SET tidied = $1", micros(now))
		return err
	})
	return now, err
}
