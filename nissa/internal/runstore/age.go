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
	// old by it stays. Time in which nobody looks does not count.
	doubtFor = 24 * time.Hour
)

// clock is how what is kept was judged by its age.
type clock struct {
	tidied    int64 // by what time it was last
	doubted   time.Duration
	doubtedAt int64 // the last look at a time that is doubted
}

func scanClock(row *sql.Rows) (c clock, err error) {
	var doubted int64
	err = row.Scan(&c.tidied, &doubted, &c.doubtedAt)
	c.doubted = time.Duration(doubted) * time.Microsecond
	return c, err
}

// age is the time by which what is kept is too old: now, unless its clock has gone further ahead than
// clocks do. What is removed for that does not come back when the clock does.
func age(ctx context.Context, s *Store, now time.Time) (time.Time, error) {
	var passed time.Duration // since the last look of this process, whatever the clock says
	if !s.looked.IsZero() {
		passed = time.Since(s.looked)
	}
	s.looked = time.Now()
	var doubt error
	by := now
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		was, err := first(list(ctx, tx, scanClock, "SELECT tidied, doubted, doubted_at FROM nissa_clock"))
		if err != nil {
			return err
		}
		next := clock{tidied: micros(now)}
		ahead := now.Sub(timeOf(was.tidied))
		if was.tidied != 0 && ahead > s.config.Retention/jumpShare {
			if next = was.doubt(now, passed); next.doubted < doubtFor {
				by, doubt = timeOf(was.tidied), fmt.Errorf("%w: by %s since what is kept was last judged by its age; it is believed in %s",
					ErrClock, ahead.Round(time.Second), (doubtFor-next.doubted).Round(time.Minute))
			} else {
				next = clock{tidied: micros(now)}
			}
		}
		_, err = tx.ExecContext(ctx, "UPDATE nissa_clock SET tidied = $1, doubted = $2, doubted_at = $3",
			next.tidied, next.doubted.Microseconds(), next.doubtedAt)
		return err
	})
	if err != nil {
		return now, err
	}
	return by, doubt
}

// doubt counts the time that passed since anybody's last look, of which there may be several.
func (c clock) doubt(now time.Time, passed time.Duration) clock {
	if c.doubtedAt != 0 {
		c.doubted += max(0, min(passed, now.Sub(timeOf(c.doubtedAt))))
	}
	c.doubtedAt = micros(now)
	return c
}
