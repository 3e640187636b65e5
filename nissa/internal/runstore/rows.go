package runstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// Kinds of columns, as both databases call them.
const (
	integer  = "BIGINT"
	fraction = "DOUBLE PRECISION"
	words    = "TEXT"
)

// table is one of the database, with its columns in the order in which rows are written.
type table struct {
	name    string
	key     string // what rows replace each other by; empty: they do not
	columns []column
}

type column struct{ name, kind string }

var (
	runTable = table{"nissa_runs", "run",
		[]column{{"run", words}, {"kept_from", integer}, {"last_at", integer}, {"bytes", integer}, {"record", words}}}
	seedTable  = table{"nissa_seeds", "run, seed", []column{{"run", words}, {"seed", words}, {"record", words}}}
	alarmTable = table{"nissa_alarms", "name, subject",
		[]column{{"name", words}, {"subject", words}, {"last_at", integer}, {"record", words}}}
	reportTable = table{"nissa_reports", "", []column{
		{"seq", integer}, {"run", words}, {"at", integer}, {"trainer", words}, {"number", integer}, {"epoch", integer}, {"step", integer},
		{"loss", fraction}, {"accuracy", fraction}, {"train_loss", fraction}, {"host_loss", fraction}, {"host_accuracy", fraction},
		{"baseline_loss", fraction}, {"baseline_accuracy", fraction}, {"metrics", words}}}
	pointTable = table{"nissa_points", "", []column{
		{"run", words}, {"seed", words}, {"at", integer}, {"epoch", integer}, {"step", integer}, {"stage", words}, {"alpha", fraction},
		{"metrics", words}}}
	eventTable = table{"nissa_events", "", []column{
		{"seq", integer}, {"run", words}, {"seed", words}, {"at", integer}, {"kind", words}, {"name", words}, {"source", words},
		{"level", words}, {"details", words}}}
	decisionTable = table{"nissa_decisions", "", []column{{"run", words}, {"at", integer}, {"transcript", words}}}
	unjudgedTable = table{"nissa_unjudged", "", []column{{"seq", integer}, {"body", words}}}
)

// names are those of the columns.
func (t *table) names() string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}

// insert is the statement that writes the rows of a JSON list, each a list of its
// columns: one statement, whatever their number.
func (t *table) insert(each string) string {
	values := make([]string, len(t.columns))
	var replaced []string
	for i, c := range t.columns {
		values[i] = "CAST(value->>" + strconv.Itoa(i) + " AS " + c.kind + ")"
		replaced = append(replaced, c.name+" = excluded."+c.name)
	}
	statement := "INSERT INTO " + t.name + " (" + t.names() + ") SELECT " + strings.Join(values, ", ") + " FROM " + each + " WHERE TRUE"
	if t.key != "" {
		statement += " ON CONFLICT (" + t.key + ") DO UPDATE SET " + strings.Join(replaced, ", ")
	}
	return statement
}

// putRows writes rows; each are those of the JSON list that is the first argument.
func putRows(ctx context.Context, tx *sql.Tx, t *table, each string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	list, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("rows of %s: %w", t.name, err)
	}
	if _, err := tx.ExecContext(ctx, t.insert(each), string(list)); err != nil {
		return fmt.Errorf("write %s: %w", t.name, err)
	}
	return nil
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// jsonText is a record or a map as a text.
type jsonText struct{ of any }

func (t jsonText) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(t.of)
	if err != nil {
		return nil, err
	}
	return json.Marshal(string(text))
}

func runRow(r *runs.Run) []any {
	return []any{r.ID, micros(r.KeptFrom), micros(r.LastAt), r.Bytes, jsonText{r}}
}

func seedRow(s *runs.Seed) []any { return []any{s.Run, s.ID, jsonText{s}} }

func alarmRow(a *runs.Alarm) []any { return []any{a.Name, a.Subject, micros(a.LastAt), jsonText{a}} }

// The statement that adds to what is known of sources, around the list of them.
const (
	insertSources = "INSERT INTO nissa_sources (name, first_at, last_at, packets, figures_at, record) SELECT value->>0, " +
		"CAST(value->>1 AS BIGINT), CAST(value->>2 AS BIGINT), CAST(value->>3 AS BIGINT), CAST(value->>4 AS BIGINT), value->>5 FROM "
	mergeSources = " WHERE TRUE ON CONFLICT (name) DO UPDATE SET packets = nissa_sources.packets + excluded.packets, " +
		"record = CASE WHEN excluded.figures_at < nissa_sources.figures_at THEN nissa_sources.record ELSE excluded.record END, " +
		"figures_at = CASE WHEN excluded.figures_at < nissa_sources.figures_at " +
		"THEN nissa_sources.figures_at ELSE excluded.figures_at END, " +
		"last_at = CASE WHEN excluded.last_at < nissa_sources.last_at THEN nissa_sources.last_at ELSE excluded.last_at END"
)

func sourceRow(s *runs.Source) []any {
	return []any{s.Name, micros(s.FirstAt), micros(s.LastAt), s.Packets, micros(s.FiguresAt), jsonText{s.Shown}}
}

func scanSource(row *sql.Rows) (s runs.Source, err error) {
	err = row.Scan(&s.Name, moment{&s.FirstAt}, moment{&s.LastAt}, &s.Packets, object{&s.Shown})
	return s, err
}

func reportRow(r *runs.Report) []any {
	return []any{r.Seq, r.Run, micros(r.At), r.Trainer, r.Number, r.Epoch, r.Step, r.Loss, r.Accuracy, r.TrainLoss, r.HostLoss,
		r.HostAccuracy, r.BaselineLoss, r.BaselineAccuracy, jsonText{r.Metrics}}
}

func pointRow(p *runs.Point) []any {
	return []any{p.Run, p.Seed, micros(p.At), p.Epoch, p.Step, p.Stage, p.Alpha, jsonText{p.Metrics}}
}

func eventRow(e *runs.Event) []any {
	return []any{e.Seq, e.Run, e.Seed, micros(e.At), e.Kind, e.Name, e.Source, e.Level, jsonText{e.Details}}
}

func decisionRow(d *runs.Decision) []any { return []any{d.Run, micros(d.At), d.Transcript} }

func unjudgedRow(u *runs.Unjudged) []any { return []any{u.Seq, u.Body} }

func scanUnjudged(row *sql.Rows) (u runs.Unjudged, err error) {
	err = row.Scan(&u.Seq, &u.Body)
	return u, err
}

// number reads a column that may be empty.
type number struct{ to *runs.Number }

func (n number) Scan(value any) error {
	switch v := value.(type) {
	case nil:
		*n.to = runs.None()
	case float64:
		*n.to = runs.Number(v)
	case int64:
		*n.to = runs.Number(v)
	default:
		return fmt.Errorf("%T is no number", value)
	}
	return nil
}

// moment reads a time.
type moment struct{ to *time.Time }

func (m moment) Scan(value any) error {
	at, ok := value.(int64)
	if !ok {
		return fmt.Errorf("%T is no time", value)
	}
	*m.to = timeOf(at)
	return nil
}

// object reads a record or a map.
type object struct{ to any }

func (o object) Scan(value any) error {
	switch v := value.(type) {
	case string:
		return json.Unmarshal([]byte(v), o.to)
	case []byte:
		return json.Unmarshal(v, o.to)
	default:
		return fmt.Errorf("%T is no record", value)
	}
}

func scanReport(row *sql.Rows) (r runs.Report, err error) {
	err = row.Scan(&r.Seq, &r.Run, moment{&r.At}, &r.Trainer, &r.Number, &r.Epoch, &r.Step, number{&r.Loss}, number{&r.Accuracy},
		number{&r.TrainLoss}, number{&r.HostLoss}, number{&r.HostAccuracy}, number{&r.BaselineLoss}, number{&r.BaselineAccuracy},
		object{&r.Metrics})
	return r, err
}

func scanPoint(row *sql.Rows) (p runs.Point, err error) {
	err = row.Scan(&p.Run, &p.Seed, moment{&p.At}, &p.Epoch, &p.Step, &p.Stage, number{&p.Alpha}, object{&p.Metrics})
	return p, err
}

func scanEvent(row *sql.Rows) (e runs.Event, err error) {
	err = row.Scan(&e.Seq, &e.Run, &e.Seed, moment{&e.At}, &e.Kind, &e.Name, &e.Source, &e.Level, object{&e.Details})
	return e, err
}

func scanDecision(row *sql.Rows) (d runs.Decision, err error) {
	err = row.Scan(&d.Run, moment{&d.At}, &d.Transcript)
	return d, err
}

// scanRecord reads a record that is the only column, scanInteger a number.
func scanRecord[T any](row *sql.Rows) (record T, err error) {
	err = row.Scan(object{&record})
	return record, err
}

func scanInteger(row *sql.Rows) (value int64, err error) {
	err = row.Scan(&value)
	return value, err
}

// mostRead is about how many bytes are read at a time of what senders make as large as they please.
const mostRead = 4 << 20

// extent is how long a row is, and by what it is found.
type extent[K any] struct {
	key    K
	length int64
}

func scanExtent[K any](row *sql.Rows) (e extent[K], err error) {
	err = row.Scan(&e.key, &e.length)
	return e, err
}

// fitting is how many of some rows, and no more than a number of them, are read at a time.
func fitting[K any](rows []extent[K], most int) int {
	n, bytes := 0, int64(0)
	for n < min(len(rows), most) && (n == 0 || bytes+rows[n].length <= mostRead) {
		bytes += rows[n].length
		n++
	}
	return n
}

// scanner reads a row.
type scanner[T any] func(*sql.Rows) (T, error)

// querier is the database, or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// visit calls take for each row of a query.
func visit[T any](ctx context.Context, q querier, scan scanner[T], take func(T), query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read store of runs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return fmt.Errorf("read store of runs: %w", err)
		}
		take(row)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read store of runs: %w", err)
	}
	return nil
}

// list is visit into a slice that is never nil.
func list[T any](ctx context.Context, q querier, scan scanner[T], query string, args ...any) ([]T, error) {
	all := []T{}
	err := visit(ctx, q, scan, func(row T) { all = append(all, row) }, query, args...)
	return all, err
}

// readTimeout bounds a look into a database that hangs.
const readTimeout = 30 * time.Second

// look is list of the database itself.
func look[T any](ctx context.Context, s *Store, scan scanner[T], query string, args ...any) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	all := []T{}
	err := guarded(ctx, s, scan, func(row T) { all = append(all, row) }, query, args...)
	return all, err
}

// guarded is visit of the database itself, where it is still in its place: what a file that
// was moved away says is history.
func guarded[T any](ctx context.Context, s *Store, scan scanner[T], take func(T), query string, args ...any) error {
	if err := s.db.InPlace(); err != nil {
		return fmt.Errorf("store of runs: %w", err)
	}
	err := visit(ctx, s.db, scan, take, query, args...)
	s.db.Doubt(err)
	return err
}
