package runstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// Bounds of what is kept beside runs: who sends telemetry names itself, and its alarms.
const mostSources, mostAlarms = 1000, 1000

// silentSource is after how long a source that is silent makes room for others.
const silentSource = 15 * time.Minute

// Put takes messages in. It returns which of them the store had not seen before; when it
// returns they are on the disk. On an error none of them is.
func (s *Store) Put(ctx context.Context, messages []runs.Message) (fresh []bool, err error) {
	fresh, _, err = s.put(ctx, messages)
	return fresh, err
}

// put is Put, and tells the newest place.
func (s *Store) put(ctx context.Context, messages []runs.Message) (fresh []bool, head int64, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if fresh, err = s.mark(ctx, tx, messages); err != nil {
			return err
		}
		var unseen []runs.Message
		for i, is := range fresh {
			if is {
				unseen = append(unseen, messages[i])
			}
		}
		batch := runs.NewBatch(unseen)
		if err := s.load(ctx, tx, batch); err != nil {
			return err
		}
		batch.Apply(unseen)
		if head, err = s.save(ctx, tx, batch); err != nil {
			return err
		}
		return s.saveSources(ctx, tx, batch.Sources)
	})
	if err != nil {
		return nil, 0, err
	}
	s.advance(head)
	return fresh, head, nil
}

// mark notes the keys of messages, and returns which of them are new.
func (s *Store) mark(ctx context.Context, tx *sql.Tx, messages []runs.Message) ([]bool, error) {
	keys := make([]runs.Key, len(messages))
	for i := range messages {
		keys[i] = messages[i].Key()
	}
	sorted := slices.Clone(keys) // neighbours in the index are written together
	slices.SortFunc(sorted, runs.Key.Compare)
	sorted = slices.Compact(sorted)
	all, err := s.markNew(ctx, tx, sorted)
	if err != nil {
		return nil, err
	}
	unseen := make(map[runs.Key]bool, len(messages))
	if all {
		for _, key := range sorted {
			unseen[key] = true
		}
	} else {
		err = visit(ctx, tx, scanKey, func(key runs.Key) { unseen[key] = true }, insertSeen+s.each+onlyUnseen+" RETURNING made, hash",
			listOf(sorted), s.config.Now().UnixMicro())
	}
	if err != nil {
		return nil, err
	}
	fresh := make([]bool, len(messages))
	for i, key := range keys {
		fresh[i] = unseen[key]
		delete(unseen, key) // the same message twice in one batch counts once
	}
	return fresh, nil
}

// The statement that notes keys, around the list of them.
const (
	insertSeen = "INSERT INTO nissa_seen (made, hash, at) " +
		"SELECT CAST(value->>0 AS BIGINT), CAST(value->>1 AS BIGINT), CAST($2 AS BIGINT) FROM "
	onlyUnseen = " WHERE TRUE ON CONFLICT DO NOTHING"
)

// markNew notes the keys if all of them are new, which they nearly always are: then none of
// them need be read back. Otherwise it notes none.
func (s *Store) markNew(ctx context.Context, tx *sql.Tx, keys []runs.Key) (all bool, err error) {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT marks"); err != nil {
		return false, fmt.Errorf("mark messages: %w", err)
	}
	result, err := tx.ExecContext(ctx, insertSeen+s.each+onlyUnseen, listOf(keys), s.config.Now().UnixMicro())
	if err != nil {
		return false, fmt.Errorf("mark messages: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n == int64(len(keys)) {
		return err == nil, err
	}
	if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT marks"); err != nil {
		return false, fmt.Errorf("mark messages: %w", err)
	}
	return false, nil
}

func scanKey(row *sql.Rows) (key runs.Key, err error) {
	err = row.Scan(&key.Made, &key.Hash)
	return key, err
}

// listOf is a JSON list of keys.
func listOf(keys []runs.Key) string {
	text := []byte{'['}
	for i, key := range keys {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(strconv.AppendInt(append(text, '['), key.Made, 10), ',')
		text = append(strconv.AppendInt(text, key.Hash, 10), ']')
	}
	return string(append(text, ']'))
}

// load fills in what is known of the records that a batch names.
func (s *Store) load(ctx context.Context, tx *sql.Tx, b *runs.Batch) error {
	err := fill(ctx, tx, s.each, &runTable, b.Runs,
		func(key string) []any { return []any{key} }, func(r *runs.Run) string { return r.ID })
	if err == nil {
		err = fill(ctx, tx, s.each, &seedTable, b.Seeds,
			func(key runs.SeedKey) []any { return []any{key.Run, key.Seed} },
			func(r *runs.Seed) runs.SeedKey { return runs.SeedKey{Run: r.Run, Seed: r.ID} })
	}
	if err == nil {
		err = fill(ctx, tx, s.each, &alarmTable, b.Alarms,
			func(key runs.AlarmKey) []any { return []any{key.Name, key.Subject} },
			func(r *runs.Alarm) runs.AlarmKey { return runs.AlarmKey{Name: r.Name, Subject: r.Subject} })
	}
	return err
}

// fill reads the records with the keys of a map into it.
func fill[K comparable, R any](
	ctx context.Context, tx *sql.Tx, each string, t *table, into map[K]*R, row func(K) []any, key func(*R) K,
) error {
	if len(into) == 0 {
		return nil
	}
	var keys [][]any
	for k := range into {
		keys = append(keys, row(k))
	}
	text, err := json.Marshal(keys)
	if err != nil {
		return fmt.Errorf("keys of %s: %w", t.name, err)
	}
	of := "value->>0"
	if len(keys[0]) > 1 {
		of += ", value->>1"
	}
	return visit(ctx, tx, scanRecord[R], func(record R) { into[key(&record)] = &record },
		"SELECT record FROM "+t.name+" WHERE ("+t.key+") IN (SELECT "+of+" FROM "+each+")", string(text))
}

// save writes what a batch came to, and returns the newest place.
func (s *Store) save(ctx context.Context, tx *sql.Tx, b *runs.Batch) (head int64, err error) {
	if head, err = s.place(ctx, tx, b); err != nil {
		return 0, err
	}
	reportRows, pointRows, eventRows := rowsOf(b.Reports, reportRow), rowsOf(b.Points, pointRow), rowsOf(b.Events, eventRow)
	for _, write := range []struct {
		table *table
		rows  [][]any
	}{
		{&runTable, recordsOf(b.Runs, runRow)}, {&seedTable, recordsOf(b.Seeds, seedRow)}, {&alarmTable, recordsOf(b.Alarms, alarmRow)},
		{&reportTable, reportRows}, {&pointTable, pointRows}, {&eventTable, eventRows},
		{&decisionTable, rowsOf(b.Decisions, decisionRow)}, {&unjudgedTable, rowsOf(b.Unjudged, unjudgedRow)},
	} {
		if err := putRows(ctx, tx, write.table, s.each, write.rows); err != nil {
			return 0, err
		}
	}
	if len(b.Alarms) == 0 {
		return head, nil
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM nissa_alarms WHERE (name, subject) IN "+
		"(SELECT name, subject FROM nissa_alarms ORDER BY last_at DESC, name, subject LIMIT 1000000 OFFSET $1)", mostAlarms)
	if err != nil {
		return 0, fmt.Errorf("bound alarms: %w", err)
	}
	return head, nil
}

func rowsOf[R any](all []R, row func(*R) []any) [][]any {
	rows := make([][]any, len(all))
	for i := range all {
		rows[i] = row(&all[i])
	}
	return rows
}

// recordsOf leaves out those that were named and not heard of.
func recordsOf[K comparable, R any](all map[K]*R, row func(*R) []any) (rows [][]any) {
	for _, record := range all {
		if record != nil {
			rows = append(rows, row(record))
		}
	}
	return rows
}

// place gives the new events and reports, and what is to be judged, their places, in the order of their times.
func (s *Store) place(ctx context.Context, tx *sql.Tx, b *runs.Batch) (head int64, err error) {
	n := int64(len(b.Reports) + len(b.Events) + len(b.Unjudged))
	if n == 0 {
		return 0, nil
	}
	if err := tx.QueryRowContext(ctx, "UPDATE nissa_clock SET number = number + $1 RETURNING number", n).Scan(&head); err != nil {
		return 0, fmt.Errorf("places: %w", err)
	}
	next := head - n
	for i := range b.Events {
		next++
		b.Events[i].Seq = next
	}
	for i := range b.Reports {
		next++
		b.Reports[i].Seq = next
	}
	for i := range b.Unjudged {
		next++
		b.Unjudged[i].Seq = next
	}
	return head, nil
}

// saveSources adds what is new of sources. When there are too many those that were not known
// are left out.
func (s *Store) saveSources(ctx context.Context, tx *sql.Tx, sources map[string]*runs.Source) error {
	if len(sources) == 0 {
		return nil
	}
	var kept int
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM nissa_sources").Scan(&kept); err != nil {
		return fmt.Errorf("count sources: %w", err)
	}
	if kept+len(sources) > mostSources {
		removed, err := makeRoomForSources(ctx, tx, sources, kept+len(sources)-mostSources)
		if err != nil {
			return err
		}
		kept -= removed
	}
	if room := max(mostSources-kept, 0); len(sources) > room {
		known, err := list(ctx, tx, scanText, "SELECT name FROM nissa_sources")
		if err != nil {
			return err
		}
		maps.DeleteFunc(sources, func(source string, _ *runs.Source) bool {
			if slices.Contains(known, source) {
				return false
			}
			room--
			return room < 0
		})
	}
	if len(sources) == 0 {
		return nil
	}
	text, err := json.Marshal(recordsOf(sources, sourceRow))
	if err != nil {
		return fmt.Errorf("sources: %w", err)
	}
	if _, err := tx.ExecContext(ctx, insertSources+s.each+mergeSources, string(text)); err != nil {
		return fmt.Errorf("write sources: %w", err)
	}
	return nil
}

// makeRoomForSources removes those that were not heard of for long before the new ones, and returns how many.
func makeRoomForSources(ctx context.Context, tx *sql.Tx, sources map[string]*runs.Source, most int) (int, error) {
	var newest time.Time
	for _, source := range sources {
		if source.LastAt.After(newest) {
			newest = source.LastAt
		}
	}
	removed, err := tx.ExecContext(ctx, "DELETE FROM nissa_sources WHERE name IN "+
		"(SELECT name FROM nissa_sources WHERE last_at < $1 ORDER BY last_at LIMIT $2)", micros(newest.Add(-silentSource)), most)
	if err != nil {
		return 0, fmt.Errorf("make room for sources: %w", err)
	}
	n, err := removed.RowsAffected()
	return int(n), err
}

func scanText(row *sql.Rows) (text string, err error) {
	err = row.Scan(&text)
	return text, err
}
