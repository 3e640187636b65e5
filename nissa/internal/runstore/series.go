package runstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Series is the last value of one, as those that share a store tell each other.
type Series struct {
	Name  []string  `json:"n"` // of the series, and then of each label with its text
	Value string    `json:"v"` // a number, or what is none
	Said  time.Time `json:"-"` // by the sender
	Heard time.Time `json:"-"`
}

// Exchange is what one tells the others that share a store of the series that it has taken, and what they told.
type Exchange struct {
	Told  []Series // of what all told of a series, what was said last stands
	Round int64    // up to which it has heard what was told
	News  []Series // what was told since
}

// run has the others be told and the one hear them. Where there is nothing to tell it only reads.
func (e *Exchange) run(ctx context.Context, tx *sql.Tx, each string) (err error) {
	round := "SELECT rounds FROM nissa_clock"
	if len(e.Told) > 0 {
		round = "UPDATE nissa_clock SET rounds = rounds + 1 RETURNING rounds"
	}
	since := e.Round
	if err := tx.QueryRowContext(ctx, round).Scan(&e.Round); err != nil {
		return fmt.Errorf("share series: %w", err)
	}
	if len(e.Told) > 0 {
		if err := tell(ctx, tx, each, e.Told, e.Round); err != nil {
			return fmt.Errorf("share series: %w", err)
		}
	}
	e.News, err = list(ctx, tx, scanSeries, "SELECT record, said, heard FROM nissa_series WHERE round > $1", since)
	return err
}

func tell(ctx context.Context, tx *sql.Tx, each string, told []Series, round int64) error {
	rows := make([][]any, len(told))
	for i := range told {
		hash := sha256.Sum256([]byte(strings.Join(told[i].Name, "\x00")))
		rows[i] = []any{hex.EncodeToString(hash[:16]), micros(told[i].Said), micros(told[i].Heard), round, jsonText{told[i]}}
	}
	list, err := json.Marshal(rows)
	if err == nil {
		_, err = tx.ExecContext(ctx, insertSeries+each+newestSeries, string(list))
	}
	return err
}

// The statement that shares series, around the list of them.
const (
	insertSeries = "INSERT INTO nissa_series (hash, said, heard, round, record) SELECT value->>0, CAST(value->>1 AS BIGINT), " +
		"CAST(value->>2 AS BIGINT), CAST(value->>3 AS BIGINT), value->>4 FROM "
	newestSeries = " WHERE TRUE ON CONFLICT (hash) DO UPDATE SET said = excluded.said, heard = excluded.heard, " +
		"round = excluded.round, record = excluded.record WHERE excluded.said >= nissa_series.said"
)

func scanSeries(row *sql.Rows) (s Series, err error) {
	err = row.Scan(object{&s}, moment{&s.Said}, moment{&s.Heard})
	return s, err
}
