package runstore

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// Runs are those that were heard of last, the last first, those heard of before a time, and
// of that time those behind a run, if it names one. A zero time is any.
func (s *Store) Runs(ctx context.Context, before time.Time, behind string, most int) ([]runs.Run, error) {
	limit := int64(1) << 62
	if !before.IsZero() {
		limit = before.UnixMicro()
	}
	return look(ctx, s, scanRecord[runs.Run],
		"SELECT record FROM nissa_runs WHERE run <> '' AND (last_at < $1 OR last_at = $1 AND $2 <> '' AND run > $2) "+
			"ORDER BY last_at DESC, run LIMIT $3", limit, behind, most)
}

// Run is one of them, or ErrNotFound.
func (s *Store) Run(ctx context.Context, id string) (runs.Run, error) {
	return first(look(ctx, s, scanRecord[runs.Run], "SELECT record FROM nissa_runs WHERE run = $1 AND run <> ''", id))
}

// Seeds are those of a run, in the order in which they were heard of first; of more than so many, those
// that were heard of last.
func (s *Store) Seeds(ctx context.Context, run string, most int) ([]runs.Seed, error) {
	seeds, err := look(ctx, s, scanRecord[runs.Seed],
		"SELECT record FROM nissa_seeds WHERE run = $1 AND "+shown+" ORDER BY "+s.heard+" DESC, seed LIMIT $2", run, most)
	slices.SortStableFunc(seeds, func(a, b runs.Seed) int { return a.FirstAt.Compare(b.FirstAt) })
	return seeds, err
}

// Seed is one of them, or ErrNotFound.
func (s *Store) Seed(ctx context.Context, run, id string) (runs.Seed, error) {
	return first(look(ctx, s, scanRecord[runs.Seed],
		"SELECT record FROM nissa_seeds WHERE run = $1 AND seed = $2 AND "+shown, run, id))
}

func first[T any](found []T, err error) (one T, _ error) {
	if err != nil {
		return one, err
	}
	if len(found) == 0 {
		return one, ErrNotFound
	}
	return found[0], nil
}

// Reports are those of a run in the order of their times, of many as many as show the
// curve of the loss; with most = 0 all.
func (s *Store) Reports(ctx context.Context, run string, since time.Time, most int) ([]runs.Report, error) {
	return thinned(ctx, s, &reportTable, "at, seq", scanReport, func(r *runs.Report) runs.Number { return r.Loss }, most,
		"run = $1 AND at > $2", run, micros(since))
}

// Points are those of a seed in the order of their times, of many as many as show its
// share.
func (s *Store) Points(ctx context.Context, run, seed string, most int) ([]runs.Point, error) {
	return thinned(ctx, s, &pointTable, "at", scanPoint, func(p *runs.Point) runs.Number { return p.Alpha }, most,
		"run = $1 AND seed = $2", run, seed)
}

func thinned[T any](
	ctx context.Context, s *Store, t *table, order string, scan scanner[T], value func(*T) runs.Number, most int, where string, args ...any,
) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	where += " AND " + shown
	var rows int64
	if most > 0 {
		counted, err := look(ctx, s, scanInteger, "SELECT COUNT(*) FROM "+t.name+" WHERE "+where, args...)
		if err != nil {
			return nil, err
		}
		rows = counted[0]
	}
	thinner := runs.NewThinner(rows, most, value)
	err := guarded(ctx, s, scan, thinner.Add, "SELECT "+t.names()+" FROM "+t.name+" WHERE "+where+" ORDER BY "+order, args...)
	if err != nil {
		return nil, err
	}
	return thinner.Rows(), nil
}

// Filter says which events are wanted. Empty fields are any.
type Filter struct {
	Run, Seed string
	Kind      runs.Kind
	Names     []string
	After     int64 // a place, from which the oldest come first; 0: the newest do
	Before    int64 // a place; 0: none
	Most      int
}

// Events are those that a filter lets through.
func (s *Store) Events(ctx context.Context, f Filter) ([]runs.Event, error) {
	var where []string
	var args []any
	add := func(condition string, value any) {
		args = append(args, value)
		where = append(where, condition+" $"+strconv.Itoa(len(args)))
	}
	for _, text := range []struct{ column, value string }{{"run", f.Run}, {"seed", f.Seed}, {"kind", string(f.Kind)}} {
		if text.value != "" {
			add(text.column+" =", text.value)
		}
	}
	if len(f.Names) > 0 {
		places := make([]string, len(f.Names))
		for i, name := range f.Names {
			args = append(args, name)
			places[i] = "$" + strconv.Itoa(len(args))
		}
		where = append(where, "name IN ("+strings.Join(places, ", ")+")")
	}
	order := " ORDER BY seq DESC"
	if f.After != 0 {
		add("seq >", f.After)
		order = " ORDER BY seq"
	}
	if f.Before > 0 {
		add("seq <", f.Before)
	}
	query := "SELECT " + eventTable.names() + " FROM nissa_events WHERE " + strings.Join(append(where, shown), " AND ")
	args = append(args, f.Most)
	return look(ctx, s, scanEvent, query+order+" LIMIT $"+strconv.Itoa(len(args)), args...)
}

// Changes are the events and the reports of all runs whose places are behind one, up to
// another.
func (s *Store) Changes(ctx context.Context, after, upTo int64) ([]runs.Event, []runs.Report, error) {
	const within = " WHERE seq > $1 AND seq <= $2 AND " + shown + " ORDER BY seq"
	events, err := look(ctx, s, scanEvent, "SELECT "+eventTable.names()+" FROM nissa_events"+within, after, upTo)
	if err != nil {
		return nil, nil, err
	}
	reports, err := look(ctx, s, scanReport, "SELECT "+reportTable.names()+" FROM nissa_reports"+within, after, upTo)
	return events, reports, err
}

// Alarms are those that were ever told of, the last first.
func (s *Store) Alarms(ctx context.Context) ([]runs.Alarm, error) {
	return look(ctx, s, scanRecord[runs.Alarm], "SELECT record FROM nissa_alarms ORDER BY last_at DESC, name, subject")
}

// Sources are those that send telemetry whose names come behind one, in the order of their names, at
// most so many, and whether there are more. With a prefix they are those that may have figures whose names begin so.
func (s *Store) Sources(ctx context.Context, after, prefix string, most int) (sources []runs.Source, more bool, err error) {
	const behind = " FROM nissa_sources WHERE name > $1 AND record LIKE $2"
	like := "%"
	if prefix != "" {
		like = `%"name":"` + prefix + "%"
	}
	sizes, err := look(ctx, s, scanExtent[string], "SELECT name, LENGTH(record)"+behind+" ORDER BY name LIMIT $3", after, like, most+1)
	if err != nil || len(sizes) == 0 {
		return []runs.Source{}, false, err
	}
	n := fitting(sizes, most)
	sources, err = look(ctx, s, scanSource, "SELECT name, first_at, last_at, packets, record"+behind+" AND name <= $3 ORDER BY name",
		after, like, sizes[n-1].key)
	return sources, n < len(sizes), err
}

// Size is what a store comes to.
type Size struct {
	Runs      int64         `json:"runs"`
	Marks     int64         `json:"marks"` // by which messages that come again are known
	Bytes     int64         `json:"bytes"` // about, of both
	MostBytes int64         `json:"max_bytes"`
	Retention time.Duration `json:"-"`
	Head      int64         `json:"head"` // the newest place
}

// Size is what the store comes to now.
func (s *Store) Size(ctx context.Context) (Size, error) {
	size := Size{MostBytes: s.config.MostBytes, Retention: s.config.Retention}
	for _, figure := range []struct {
		to    *int64
		query string
	}{
		{&size.Runs, "SELECT COUNT(*) FROM nissa_runs WHERE run <> ''"},
		{&size.Bytes, "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM nissa_runs"},
		{&size.Marks, "SELECT COUNT(*) FROM nissa_seen"},
		{&size.Head, "SELECT number FROM nissa_clock"},
	} {
		found, err := first(look(ctx, s, scanInteger, figure.query))
		if err != nil {
			return size, err
		}
		*figure.to = found
	}
	size.Bytes += size.Marks * markBytes
	return size, nil
}
