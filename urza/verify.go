package urza

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// examinations bounds how often a row and a file that keep changing are looked at
// again before the caller is told to come back later.
const examinations = 5

// Verify reads the artifact of one blueprint again and compares it with the row,
// whatever is remembered about it. A file that differs is quarantined.
// Errors: ErrNotFound, ErrArtifactMissing, ErrChecksumMismatch, ErrUnavailable.
func (l *Library) Verify(ctx context.Context, blueprintID string) error {
	if _, _, err := l.settle(ctx, blueprintID); err != nil {
		return fmt.Errorf("urza: verify %q: %w", blueprintID, err)
	}
	return nil
}

// verified returns the record of a blueprint and the checksum that its file has
// now. While nothing changed this costs one stat; errors as for Verify.
func (l *Library) verified(ctx context.Context, id string) (*entry, string, error) {
	e, err := l.entry(ctx, id)
	if err != nil {
		return nil, "", err
	}
	v := e.known()
	if v == nil {
		return l.settle(ctx, id)
	}
	if !v.good {
		return nil, "", ErrChecksumMismatch
	}
	return e, v.sum, nil
}

type settled struct {
	entry *entry
	sum   string
}

// settle reads the row and the file of one blueprint; callers that want the same
// at the same time share one reading.
func (l *Library) settle(ctx context.Context, id string) (*entry, string, error) {
	for {
		shared, err, _ := l.settling.Do(id, func() (any, error) { return l.examineUntilStable(ctx, id) })
		if err == nil {
			found := shared.(settled) //nolint:forcetypeassert // the function above returns nothing else
			return found.entry, found.sum, nil
		}
		// Whoever did the reading for us may have given up; we have not.
		if !isContextError(err) || ctx.Err() != nil {
			return nil, "", err
		}
	}
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func (l *Library) examineUntilStable(ctx context.Context, id string) (settled, error) {
	for range examinations {
		e, sum, err := l.examine(ctx, id)
		if !errors.Is(err, errChanged) {
			return settled{e, sum}, err
		}
	}
	return settled{}, fmt.Errorf("%w: artifact of %q keeps changing", ErrUnavailable, id)
}

// examine judges the file by the row as it is in the database now: what memory
// holds may be older than a save by another process.
func (l *Library) examine(ctx context.Context, id string) (*entry, string, error) {
	e, err := l.reload(ctx, id)
	if err != nil {
		return nil, "", err
	}
	file, sum, err := hashFile(ctx, e.record.ArtifactRef)
	switch {
	case errors.Is(err, fs.ErrNotExist) && e.row.quarantined:
		return nil, "", ErrChecksumMismatch
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", ErrArtifactMissing
	case errors.Is(err, errChanged) || (err != nil && isContextError(err)):
		return nil, "", err
	case err != nil:
		return nil, "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	good := e.record.Checksum == "" || e.record.Checksum == sum
	if !good {
		return nil, "", l.condemn(ctx, e, file, sum)
	}
	return e, sum, l.acquit(ctx, e, file, sum)
}

// acquit remembers that the file is what the row promises.
func (l *Library) acquit(ctx context.Context, e *entry, file identity, sum string) error {
	if e.row.quarantined {
		if err := l.catalogue.clearQuarantine(ctx, e.row); err != nil {
			return err
		}
	}
	if file.settled(time.Now()) {
		e.verdict.Store(&verdict{identity: file, sum: sum, good: true})
	}
	return nil
}

// condemn sets a damaged file aside. It looks at row and file once more inside the
// transaction: a save that happened meanwhile must not lose its good file.
func (l *Library) condemn(ctx context.Context, e *entry, file identity, sum string) error {
	movedTo := ""
	err := l.catalogue.write(ctx, func(tx *sql.Tx) error {
		if err := unchanged(ctx, tx, e, file); err != nil {
			return err
		}
		movedTo = l.moveAside(e.record.ArtifactRef, sum)
		return l.catalogue.recordQuarantine(ctx, tx, e.row, e.record.Checksum, sum, movedTo)
	})
	if err != nil {
		return err
	}
	l.counts.integrityFailures.Add(1)
	l.log.Error("artifact does not match its checksum", "blueprint_id", e.row.id,
		"artifact", e.record.ArtifactRef, "expected", e.record.Checksum, "actual", sum, "moved_to", movedTo)
	if movedTo == "" && file.settled(time.Now()) {
		e.verdict.Store(&verdict{identity: file, sum: sum})
	}
	return ErrChecksumMismatch
}

// unchanged is errChanged when row or file are no longer what was examined. Only
// the quarantine mark may differ: it does not change what the row promises.
func unchanged(ctx context.Context, tx *sql.Tx, e *entry, file identity) error {
	now, err := scanRow(tx.QueryRowContext(ctx, selectRow, e.row.id))
	if errors.Is(err, ErrNotFound) {
		return errChanged
	}
	if err != nil {
		return err
	}
	now.quarantined = e.row.quarantined
	if current, err := identify(e.record.ArtifactRef); now != e.row || err != nil || current != file {
		return errChanged
	}
	return nil
}

// moveAside moves a damaged file into the quarantine folder and returns where it
// is now, or "" when it stays: a file outside the library's own folders belongs to
// somebody else, and one on another file system cannot be moved in one step.
func (l *Library) moveAside(path, sum string) string {
	if !slices.Contains(l.folders, filepath.Dir(path)) {
		return ""
	}
	folder := filepath.Join(l.store.dir, quarantineFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		l.log.Warn("quarantine folder", "error", err)
		return ""
	}
	// Named after what it is, beside what it should have been.
	target := filepath.Join(folder, filepath.Base(path)+"."+sum)
	if err := l.store.files.rename(path, target); err != nil {
		l.log.Warn("damaged artifact left in place", "artifact", path, "error", err)
		return ""
	}
	return target
}
