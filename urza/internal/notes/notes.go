// Package notes keeps what is known of blueprints beside their kernels, in the catalogue: of
// each a text of one kind by one name.
package notes

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

const (
	selectNotes = `SELECT blueprint_id, kind, name, content FROM urza_notes ORDER BY blueprint_id, kind, name`
	selectNote  = `SELECT content FROM urza_notes WHERE blueprint_id = $1 AND kind = $2 AND name = $3`
	countNotes  = `SELECT COUNT(*) FROM urza_notes`
	upsertNote  = `INSERT INTO urza_notes (blueprint_id, kind, name, content) VALUES ($1, $2, $3, $4)
		ON CONFLICT (blueprint_id, kind, name) DO UPDATE SET content = excluded.content`
)

// maxNotes bounds the notes on all blueprints: they are read at once.
const maxNotes = 4096

// ErrTooMany is told of a note that would be one too many.
var ErrTooMany = errors.New("too many notes on blueprints")

// Note is what is known of a blueprint, of one kind and by one name.
type Note struct{ ID, Kind, Name, Content string }

// Notes are those of a catalogue.
type Notes struct{ catalogue *catalogue.Catalogue }

// In are the notes in a catalogue.
func In(c *catalogue.Catalogue) Notes { return Notes{c} }

// All reads every note.
func (n Notes) All(ctx context.Context) ([]Note, error) {
	var notes []Note
	err := n.catalogue.Query(ctx, selectNotes, func(scan func(...any) error) error {
		var note Note
		if err := scan(&note.ID, &note.Kind, &note.Name, &note.Content); err != nil {
			return fmt.Errorf("%w: read note: %w", fault.ErrUnavailable, err)
		}
		notes = append(notes, note)
		return nil
	})
	return notes, err
}

// Amend replaces the content of a note by what change makes of it, "" being none; "" leaves
// it. Whoever else writes waits. Errors: ErrTooMany, ErrUnavailable and those of change.
func (n Notes) Amend(ctx context.Context, note Note, change func(content string) (string, error)) error {
	return n.catalogue.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var content string
		err := tx.QueryRowContext(ctx, selectNote, note.ID, note.Kind, note.Name).Scan(&content)
		fresh := errors.Is(err, sql.ErrNoRows)
		if err != nil && !fresh {
			return fmt.Errorf("%w: read note: %w", fault.ErrUnavailable, err)
		}
		if content, err = change(content); err != nil || content == "" {
			return err
		}
		if fresh {
			if err := roomForNote(ctx, tx); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, upsertNote, note.ID, note.Kind, note.Name, content); err != nil {
			return fmt.Errorf("%w: write note: %w", fault.ErrUnavailable, err)
		}
		return nil
	})
}

func roomForNote(ctx context.Context, tx *sql.Tx) error {
	count := 0
	if err := tx.QueryRowContext(ctx, countNotes).Scan(&count); err != nil {
		return fmt.Errorf("%w: count notes: %w", fault.ErrUnavailable, err)
	}
	if count >= maxNotes {
		return ErrTooMany
	}
	return nil
}
