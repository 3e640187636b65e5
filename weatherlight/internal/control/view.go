package control

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
)

// View is what is known of a run, as /runs/<id> shows it.
type View struct {
	Run     string         `json:"run"`
	Kasmina *kasmina.View  `json:"kasmina,omitempty"`
	Tamiyo  *tamiyo.Record `json:"tamiyo,omitempty"`
}

// Runs returns up to limit names of runs that follow one, "" for the first.
func (r *Room) Runs(ctx context.Context, after string, limit int) ([]string, error) {
	return r.seeds.Runs(ctx, after, limit)
}

// View returns what is known of a run, or nil when nothing is.
func (r *Room) View(ctx context.Context, run string) (*View, error) {
	seeds, err := r.seeds.Peek(ctx, run)
	if err != nil {
		return nil, fmt.Errorf("view run %q: %w", run, err)
	}
	control, err := r.control.Peek(ctx, run)
	if err != nil {
		return nil, fmt.Errorf("view run %q: %w", run, err)
	}
	if seeds == nil && control == nil {
		return nil, nil
	}
	view := &View{Run: run, Tamiyo: control}
	if seeds != nil {
		view.Kasmina = kasmina.NewView(seeds)
	}
	return view, nil
}

// Each calls visit with the record of every run that has seeds to be decided on. One
// that cannot be read is told of and left out.
func (r *Room) Each(ctx context.Context, visit func(run string, record *kasmina.Record)) error {
	runs, err := r.seeds.Runs(ctx, "", math.MaxInt)
	if err != nil {
		return fmt.Errorf("list runs: %w", err)
	}
	for _, run := range runs {
		record, err := r.seeds.Peek(ctx, run)
		switch {
		case errors.Is(err, kasmina.ErrRecord):
			r.config.Logger.Error("what is stored of a run cannot be read; it is left out", "run", run, "error", err)
		case errors.Is(err, oona.ErrDamaged):
			r.noteDamage(run, err)
		case err != nil:
			return err
		case record != nil:
			visit(run, record)
		}
	}
	return nil
}
