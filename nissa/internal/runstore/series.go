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

// ShareSeries tells the others the last values that one has taken, of which the newest stands, and returns
// those that were told since a round, with the round up to which they are. What was not heard of since a
// time is forgotten, and of more than a number what was not for the longest.
func (j *Journal) ShareSeries(
	ctx context.Context, told []Series, since int64, stale time.Time, most int,
) (news []Series, round int64, err error) {
	err = j.store.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "UPDATE nissa_clock SET rounds = rounds + 1 RETURNING rounds").Scan(&round); err != nil {
			return fmt.Errorf("share series: %w", err)
		}
		rows := make([][]any, len(told))
		for i := range told {
			hash := sha256.Sum256([]byte(strings.Join(told[i].Name, "\x00")))
			rows[i] = []any{hex.EncodeToString(hash[:16]), micros(told[i].Said), micros(told[i].Heard), round, jsonText{told[i]}}
		}
		list, err := json.Marshal(rows)
		if err != nil {
			return fmt.Errorf("share series: %w", err)
		}
		if _, err := tx.ExecContext(ctx, insertSeries+j.store.each+newestSeries, string(list)); err != nil {
			return fmt.Errorf("share series: %w", err)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM nissa_series WHERE heard < $1", micros(stale)); err != nil {
			return fmt.Errorf("forget series: %w", err)
		}
		const beyond = "DELETE FROM nissa_series WHERE hash IN (SELECT hash FROM nissa_series ORDER BY heard DESC LIMIT 1000000 OFFSET $1)"
		if _, err := tx.ExecContext(ctx, beyond, most); err != nil {
			return fmt.Errorf("bound series: %w", err)
		}
		return visit(ctx, tx, scanSeries, func(s Series) { news = append(news, s) },
			"SELECT record, said, heard FROM nissa_series WHERE round > $1", since)
	})
	return news, round, err
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
