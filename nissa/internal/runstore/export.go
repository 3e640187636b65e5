package runstore

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// line is one of an export: what it is, and what it says.
type line struct {
	Run      *runs.Run      `json:"run,omitempty"`
	Seed     *runs.Seed     `json:"seed,omitempty"`
	Report   *runs.Report   `json:"report,omitempty"`
	Point    *runs.Point    `json:"point,omitempty"`
	Event    *runs.Event    `json:"event,omitempty"`
	Decision *runs.Decision `json:"decision,omitempty"`
	End      *end           `json:"end,omitempty"`
}

// end is the last line of a run: without it, or with another number, some of it is missing.
type end struct {
	Run   string `json:"run"`
	Lines int    `json:"lines"` // those above it, from the record of the run on
}

// ErrCut is of an export that does not say that it is whole.
var ErrCut = errors.New("the export is cut off: make it anew, or ask for the parts that there are")

// maxLine bounds a line that is read.
const maxLine = 1 << 20

// Export writes a run as lines of JSON: its record first, and last how many lines there were.
// Import makes the same run of them elsewhere. It is the run as it was at one moment, whatever
// is told of it meanwhile.
func (s *Store) Export(ctx context.Context, id string, to io.Writer) (err error) {
	if err := s.db.InPlace(); err != nil {
		return fmt.Errorf("store of runs: %w", err)
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("store of runs: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	begin := "BEGIN DEFERRED" // a transaction of the driver's would keep others from writing
	if s.db.Postgres {
		begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
	}
	if _, err := conn.ExecContext(ctx, begin); err != nil {
		return fmt.Errorf("store of runs: %w", err)
	}
	defer func() {
		// Also when who asked has gone: the connection is used again.
		_, undone := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		err = errors.Join(err, undone)
	}()
	return export(ctx, conn, id, to)
}

func export(ctx context.Context, q querier, id string, to io.Writer) error {
	run, err := first(list(ctx, q, scanRecord[runs.Run], "SELECT record FROM nissa_runs WHERE run = $1 AND run <> ''", id))
	if err != nil {
		return err
	}
	out := &exporter{lines: json.NewEncoder(to)}
	out.write(line{Run: &run})
	err = visit(ctx, q, scanRecord[runs.Seed], func(s runs.Seed) { out.write(line{Seed: &s}) },
		"SELECT record FROM nissa_seeds WHERE run = $1 ORDER BY seed", id)
	if err == nil {
		err = visit(ctx, q, scanReport, func(r runs.Report) { r.Seq = 0; out.write(line{Report: &r}) },
			"SELECT "+reportTable.names()+" FROM nissa_reports WHERE run = $1 ORDER BY seq", id)
	}
	if err == nil {
		err = visit(ctx, q, scanPoint, func(p runs.Point) { out.write(line{Point: &p}) },
			"SELECT "+pointTable.names()+" FROM nissa_points WHERE run = $1 ORDER BY seed, at", id)
	}
	if err == nil {
		err = visit(ctx, q, scanEvent, func(e runs.Event) { e.Seq = 0; out.write(line{Event: &e}) },
			"SELECT "+eventTable.names()+" FROM nissa_events WHERE run = $1 ORDER BY seq", id)
	}
	if err == nil {
		err = visit(ctx, q, scanDecision, func(d runs.Decision) { out.write(line{Decision: &d}) },
			"SELECT "+decisionTable.names()+" FROM nissa_decisions WHERE run = $1 ORDER BY at, transcript", id)
	}
	if err == nil {
		out.write(line{End: &end{Run: id, Lines: out.written}})
	}
	return errors.Join(err, out.err)
}

// exporter writes until a line fails.
type exporter struct {
	lines   *json.Encoder
	written int
	err     error
}

func (e *exporter) write(l line) {
	if e.err == nil {
		e.written, e.err = e.written+1, e.lines.Encode(l)
	}
}

// reading is an export as far as it was read.
type reading struct {
	batches []*runs.Batch
	lines   int  // of the run that was begun last
	open    bool // it has not ended
}

// readExport reads lines: each run begins with its record, all else is its own, and it ends
// with how many there were. When parts are asked for, what comes after the last whole line is
// left out.
func readExport(from io.Reader, parts bool) ([]*runs.Batch, error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	var r reading
	for number := 1; lines.Scan(); number++ {
		var l line
		err := json.Unmarshal(lines.Bytes(), &l)
		if err != nil && !lines.Scan() && lines.Err() == nil { // the last one
			if parts && len(r.batches) > 0 {
				return r.batches, nil
			}
			err = fmt.Errorf("%w: %w", ErrCut, err)
		}
		if err == nil {
			err = r.take(l, parts)
		}
		if err != nil {
			return nil, fmt.Errorf("import: line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	if len(r.batches) == 0 || r.open && !parts {
		return nil, fmt.Errorf("import: %w: it has no end", ErrCut)
	}
	return r.batches, nil
}

func (r *reading) take(l line, parts bool) error {
	switch {
	case l.Run != nil && l.Run.ID != "":
		if r.open && !parts {
			return fmt.Errorf("%w: the run above has no end", ErrCut)
		}
		b := runs.NewBatch(nil)
		b.Runs[l.Run.ID] = l.Run
		r.batches, r.lines, r.open = append(r.batches, b), 1, true
		return nil
	case !r.open:
		return errors.New("no run begins above it")
	case l.End != nil:
		return r.end(l.End, parts)
	case !add(r.batches[len(r.batches)-1], l):
		return errors.New("not of the run that begins above it")
	}
	r.lines++
	return nil
}

func (r *reading) end(e *end, parts bool) error {
	r.open = false
	if r.batches[len(r.batches)-1].Runs[e.Run] == nil {
		return errors.New("not of the run that begins above it")
	}
	if r.lines != e.Lines && !parts {
		return fmt.Errorf("%w: of %d lines %d are here", ErrCut, e.Lines, r.lines)
	}
	return nil
}

// add puts a line into the batch of its run.
func add(b *runs.Batch, l line) bool {
	of := func(run string) bool { return b.Runs[run] != nil }
	switch {
	case l.Seed != nil && of(l.Seed.Run):
		b.Seeds[runs.SeedKey{Run: l.Seed.Run, Seed: l.Seed.ID}] = l.Seed
	case l.Report != nil && of(l.Report.Run):
		b.Reports = append(b.Reports, *l.Report)
	case l.Point != nil && of(l.Point.Run):
		b.Points = append(b.Points, *l.Point)
	case l.Event != nil && of(l.Event.Run):
		b.Events = append(b.Events, *l.Event)
	case l.Decision != nil && of(l.Decision.Run):
		b.Decisions = append(b.Decisions, *l.Decision)
	default:
		return false
	}
	return true
}
